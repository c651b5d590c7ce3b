package drive

import "runtime"

// ClockEvery is how many idle rounds a spinner makes between two looks at the
// clock, and makeWayEvery how many before it lets other goroutines run.
const (
	ClockEvery   = 64
	makeWayEvery = 16384
)

// maxBacklog is how many full batches of others' a call looks through that does
// not wait: as many frames as most rings hold, so that it finds what has come
// before it.
const maxBacklog = 128

// A Call is one call that waits. Whether it has ended is decided in this file: after each
// turn that brought the call nothing, which turned and idle end, and before each sleep,
// by ended.
type Call struct {
	Spin     *Spinner
	Deadline int64     // Never: none
	Until    *Deadline // another one, which may change; nil: none
	Handle   *Handle   // what may cut the call short; nil: nothing
	// List is what wakes the call when it tells of Events; one call at a time if
	// Exclusive. Sources is what it sleeps on beside the links; it may be nil.
	List      *List
	Events    uint32
	Exclusive bool
	Sources   *Sources

	// Lane is the number of the lane to lead first; Bound says that what the call waits for
	// comes by that one, as a rule.
	Lane  int
	Bound bool

	Budget int64 // nanoseconds to spin; Never: without end
	Once   bool  // one look at what there is: MSG_DONTWAIT, or a deadline of the past

	began      int64 // when the spinning began, 0: the clock was not read yet
	rounds     uint32
	backlog    uint32 // full batches that were others'
	led, slept bool
}

// end returns the deadline in force.
func (c *Call) end() int64 {
	if c.Until != nil {
		return min(c.Deadline, c.Until.At())
	}
	return c.Deadline
}

// cut reports whether the handle ends the call.
func (c *Call) cut() bool { return c.Handle != nil && c.Handle.Cancelled() }

// awake reports whether the call gives up in place of sleeping.
func (c *Call) awake() bool { return c.Handle != nil && c.Handle.Awake }

// ended returns how a call ends that would sleep otherwise: again if it does not.
func (d *Driver) ended(c *Call) Verdict {
	if c.cut() {
		return Cut
	}
	if d.late(c) {
		return Expired
	}
	return again
}

// late reports whether the deadline is there.
func (d *Driver) late(c *Call) bool {
	end := c.end()
	return end != Never && d.clock.Now() >= end
}

// turned ends a leader's turn. more says that a link may have more frames: a
// backlog keeps nobody longer than his deadline.
func (d *Driver) turned(c *Call, at *Lane, more bool) Verdict {
	if !more {
		return d.idle(c, at)
	}
	c.backlog++
	v := d.ended(c)
	if c.backlog == 1 && v == Expired {
		c.Once = true
	}
	if c.Once && v != Cut {
		if v = again; c.backlog >= maxBacklog {
			v = Expired
		}
	}
	return v
}

// idle ends one turn that found nothing, and looks at the clock now and then. at is the
// lane that the call leads, nil for none.
func (d *Driver) idle(c *Call, at *Lane) Verdict {
	c.rounds++
	if c.rounds%ClockEvery != 0 {
		if c.Budget == 0 {
			return Spent
		}
		return again
	}
	var now int64
	if at != nil && at.rounds%ClockEvery == 0 {
		now = at.now
	} else {
		now = d.clock.Now()
	}
	switch {
	case c.cut():
		return Cut
	case now >= c.end():
		return Expired
	}
	if c.began == 0 {
		c.began = now
	}
	if c.Budget != Never && now-c.began >= c.Budget {
		return Spent
	}
	return again
}

// mayLead says whether to try for the lock: who only wants to lead leaves it
// to those who need it for something else, but for each sixteenth turn. Followers
// too let others run now and then.
func (l *Lane) mayLead(c *Call) bool {
	if l.Lock.Wanted() && c.rounds%16 != 0 {
		runtime.Gosched()
		return false
	}
	if c.rounds%makeWayEvery == makeWayEvery-1 {
		runtime.Gosched()
	}
	return true
}

// makeWay lets others run: those who wait for the lock, and now and then
// everybody. That may take long, so the clock is looked at next.
func (l *Lane) makeWay(c *Call) {
	if l.Lock.makeWay() {
		c.rounds |= ClockEvery - 1
	} else if c.rounds%makeWayEvery == 0 {
		runtime.Gosched()
	}
}
