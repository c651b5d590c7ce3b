package stack

import "github.com/outband/outband/stack/internal/times"

// A Clock tells the time to a stack: nanoseconds since any fixed moment, never
// going back (CLOCK_MONOTONIC). It may be called by any goroutine.
type Clock = times.Clock

// A WallClock is a Clock that tells the time of day too: that of time stamps, which
// other hosts and the kernel's stamps are compared with. A Clock that is none has the
// system's time of day beside it.
type WallClock = times.WallClock

// never is the deadline that does not come.
const never = times.Never

// WallTime returns the time of day in nanoseconds since the Unix epoch, as the stack
// stamps with it: Config.Clock's if that is a WallClock.
func (s *Stack) WallTime() int64 { return s.clock.Wall() }

// Monotonic returns the time in nanoseconds of CLOCK_MONOTONIC, as the stack's
// clock has it.
func (s *Stack) Monotonic() int64 { return s.clock.Monotonic() }

// DeadlineAt returns the deadline, for the calls that take one, at a time of
// CLOCK_MONOTONIC.
func (s *Stack) DeadlineAt(monotonic int64) int64 { return s.clock.DeadlineAt(monotonic) }
