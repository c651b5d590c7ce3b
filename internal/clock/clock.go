// Package clock adds times of a clock of nanoseconds, for code that keeps deadlines.
package clock

import "math"

// Never is the deadline that does not come.
const Never = math.MaxInt64

// After returns the time d after t, in nanoseconds: Never if the clock cannot tell
// it. d may be negative; then what the clock cannot tell is its first moment.
func After(t, d int64) int64 {
	switch s := t + d; {
	case d > 0 && s < t:
		return Never
	case d < 0 && s > t:
		return math.MinInt64
	default:
		return s
	}
}
