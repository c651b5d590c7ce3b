package stack

import (
	"math"
	"time"
)

// A Clock tells the time to a stack: nanoseconds since any fixed moment, never
// going back (CLOCK_MONOTONIC). It may be called by any goroutine.
type Clock interface {
	Now() int64
}

// never is the deadline that does not come.
const never = math.MaxInt64

// systemClock is the process's monotonic clock. Its base is taken when the
// stack is made, so that a stack made in a testing/synctest bubble lives in
// the bubble's time.
type systemClock struct{ base time.Time }

func (c systemClock) Now() int64 { return int64(time.Since(c.base)) + 1 }

// until returns how long it is from now to the deadline: -1 for never.
func until(now, deadline int64) time.Duration {
	switch {
	case deadline == never:
		return -1
	case deadline <= now:
		return 0
	default:
		return time.Duration(deadline - now)
	}
}
