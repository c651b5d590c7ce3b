// Package times tells a stack the time: that of its clock, for deadlines, that of the
// kernel's CLOCK_MONOTONIC, and the time of day.
package times

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
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

// Never is the deadline that does not come.
const Never = math.MaxInt64

// Times tells the time by a Clock. Its methods may be called by any goroutine.
type Times struct {
	Clock
	wall func() time.Time // the time of day
	base int64            // makes the clock's time CLOCK_MONOTONIC's
}

// Of returns the Times of a clock; nil is the process's monotonic clock.
func Of(c Clock) Times {
	if c == nil {
		c = systemClock{time.Now()}
	}
	t := Times{Clock: c, wall: time.Now}
	if w, ok := c.(WallClock); ok {
		t.wall = w.Wall
	}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) == nil {
		t.base = ts.Nano() - c.Now()
	}
	return t
}

// systemClock is the process's monotonic clock. Its base is taken when the
// stack is made, so that a stack made in a testing/synctest bubble lives in
// the bubble's time.
type systemClock struct{ base time.Time }

func (c systemClock) Now() int64 { return int64(time.Since(c.base)) + 1 }

// Wall implements [WallClock].
func (systemClock) Wall() time.Time { return time.Now() }

// Base returns what to add to the clock's time to get CLOCK_MONOTONIC's.
func (t *Times) Base() int64 { return t.base }

// Monotonic returns the time in nanoseconds of CLOCK_MONOTONIC, as the clock has it.
func (t *Times) Monotonic() int64 { return t.Now() + t.base }

// DeadlineAt returns the time of the clock at a time of CLOCK_MONOTONIC.
func (t *Times) DeadlineAt(monotonic int64) int64 {
	d := monotonic - t.base
	if t.base < 0 && d < monotonic {
		return Never // beyond what the clock can tell
	}
	return d
}

// Wall returns the time of day in nanoseconds since the Unix epoch: the clock's if that
// is a WallClock.
func (t *Times) Wall() int64 { return t.wall().UnixNano() }

// OfDay returns milliseconds since midnight UT (RFC 792, "Timestamp").
func (t *Times) OfDay() uint32 {
	now := t.wall().UTC()
	return uint32(now.Sub(now.Truncate(24 * time.Hour)).Milliseconds())
}

// WallOffset returns what the wall clock is ahead of CLOCK_MONOTONIC. A thread that loses
// its CPU between two clocks would shift it, and the device's time beyond that of the
// receiver: such a reading is made again.
func (t *Times) WallOffset() (offset int64) {
	const near = int64(2 * time.Microsecond)
	best := int64(Never)
	for range 4 {
		before := t.Monotonic()
		wall := t.Wall()
		took := t.Monotonic() - before
		if took < best {
			best, offset = took, wall-before-took/2
		}
		if best <= near {
			break
		}
	}
	return offset
}
