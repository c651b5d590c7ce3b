package clock

import (
	"math"
	"testing"
)

func TestAfter(t *testing.T) {
	for _, tt := range []struct{ t, d, want int64 }{
		{1, 2, 3}, {3, -2, 1}, {0, math.MaxInt64, Never}, {1, math.MaxInt64, Never}, {math.MaxInt64, 1, Never},
		{-1, math.MaxInt64, math.MaxInt64 - 1}, {-2, math.MinInt64, math.MinInt64}, {5, math.MinInt64, math.MinInt64 + 5},
		{math.MinInt64, -1, math.MinInt64}, {math.MinInt64, math.MaxInt64, -1},
	} {
		if got := After(tt.t, tt.d); got != tt.want {
			t.Errorf("After(%d, %d) = %d, want %d", tt.t, tt.d, got, tt.want)
		}
	}
}
