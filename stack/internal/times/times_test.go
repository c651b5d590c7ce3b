package times

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// A scriptClock shows the times of a list, and then the last one.
type scriptClock struct{ times []int64 }

func (c *scriptClock) Now() int64 {
	now := c.times[0]
	if len(c.times) > 1 {
		c.times = c.times[1:]
	}
	return now
}

// TestWallOffset loses the CPU between the readings of the two clocks, which would shift the
// device's stamps: such a reading is not taken, unless there is no better one.
func TestWallOffset(t *testing.T) {
	const second = int64(time.Second)
	tests := []struct {
		name  string
		times []int64 // of the stack's clock, two for each reading
		at    int64   // when the wall clock was read, by the stack's clock
	}{
		{"at once", []int64{5, 105}, 55},
		{"late the first time", []int64{0, second, second, second + 100}, second + 50},
		{"always late", []int64{0, 9e6, 9e6, 12e6, 12e6, 20e6, 20e6, 40e6}, 10.5e6},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) { // whose wall clock stands
			c := &Times{Clock: &scriptClock{tt.times}, wall: time.Now}
			if got := time.Now().UnixNano() - c.WallOffset(); got != tt.at {
				t.Errorf("%s: the offset is of %d ns, not of %d", tt.name, got, tt.at)
			}
		})
	}
}

// TestDeadlineBeyond has a clock that is ahead of CLOCK_MONOTONIC.
func TestDeadlineBeyond(t *testing.T) {
	c := &Times{base: -1000}
	if got := c.DeadlineAt(math.MaxInt64); got != Never {
		t.Errorf("a deadline beyond the clock: %d", got)
	}
}
