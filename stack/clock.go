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

// A WallClock is a Clock that tells the time of day too: that of time stamps, which
// other hosts and the kernel's stamps are compared with. A Clock that is none has the
// system's time of day beside it.
type WallClock interface {
	Clock
	Wall() time.Time
}

// never is the deadline that does not come.
const never = math.MaxInt64

// systemClock is the process's monotonic clock. Its base is taken when the
// stack is made, so that a stack made in a testing/synctest bubble lives in
// the bubble's time.
type systemClock struct{ base time.Time }

func (c systemClock) Now() int64 { return int64(time.Since(c.base)) + 1 }

// Wall implements [WallClock].
func (systemClock) Wall() time.Time { return time.Now() }

// wallOf returns what tells the time of day beside a clock.
func wallOf(c Clock) func() time.Time {
	if w, ok := c.(WallClock); ok {
		return w.Wall
	}
	return time.Now
}

// WallTime returns the time of day in nanoseconds since the Unix epoch, as the stack
// stamps with it: Config.Clock's if that is a WallClock.
func (s *Stack) WallTime() int64 { return s.wall().UnixNano() }
