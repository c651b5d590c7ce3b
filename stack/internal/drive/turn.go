package drive

import "sync/atomic"

// A Goal is what a call waits for. Nothing of it is kept: what
// its functions refer to may stay on the caller's stack.
type Goal struct {
	// Queued, if it is not nil, ends the wait when it is above 0, and State when it has
	// a bit of Bits. Ready, if it is not nil, ends it when it returns true: it is called
	// often, maybe with the lock held, and may take no lock of the stack's.
	Queued *atomic.Int32
	State  *atomic.Uint32
	Bits   uint32
	Ready  func() bool
	// Pump is called in place of the host's, for one who has something delivered to
	// itself: Done says that it was. It may be nil.
	Pump func() Outcome
}

// A Verdict is how a wait, or a turn at the links, ended.
type Verdict uint8

const (
	again     Verdict = iota // try once more
	Delivered                // Pump has said so
	Ready                    // the goal is reached
	Expired                  // the deadline is there
	Cut                      // the handle was cancelled
	Spent                    // the spin budget is spent, and the call does not sleep
)

// met reports whether what the call waits for is there. It is asked each round.
func (g *Goal) met() bool {
	return g.Queued != nil && g.Queued.Load() > 0 || g.State != nil && g.State.Load()&g.Bits != 0 || g.Ready != nil && g.Ready()
}

// Wait drives the links, or watches others do, until the goal is reached or the call is
// over: it leads or follows, spins for its budget, then sleeps. Spent: it may not sleep,
// and has had its look. Finish follows, after any number of Waits of the call.
func (d *Driver) Wait(g *Goal, c *Call) Verdict {
	for {
		v := d.spinFor(g, c)
		if v != Spent || c.Once {
			return v
		}
		if v = d.ended(c); v != again {
			return v
		}
		if c.began == 0 && c.Spin.adapts() {
			c.began = d.clock.Now()
		}
		c.led = d.sleep(g, c) || c.led
		c.slept = true
		c.Budget = 0 // the next turn looks once: the frame is there, or was not ours
		if g.met() || c.Sources.ready() {
			return Ready
		}
	}
}

// Finish ends a call: the lead is passed on, the spin budget learns.
func (d *Driver) Finish(c *Call) {
	if c.led {
		d.passLead()
	}
	if c.slept && c.Spin.adapts() {
		c.Spin.learn(d.clock.Now() - c.began)
	}
}

// Poll drives the links once, if nobody else does.
func (d *Driver) Poll(g *Goal) {
	c := Call{Deadline: Never, Once: true}
	for d.Lock.Try(Held) {
		if d.lead(g, &c) != again {
			return
		}
	}
}

// spinFor looks for what the call waits for until it is there or the budget is spent.
func (d *Driver) spinFor(g *Goal, c *Call) Verdict {
	flags := uint64(Held)
	if c.Budget > 0 {
		flags |= Spinning
	}
	for {
		if d.mayLead(c) && d.Lock.Try(flags) {
			if v := d.lead(g, c); v != again {
				return v
			}
			d.makeWay(c)
		}
		if g.met() || c.timeForSources() && c.Sources.ready() {
			return Ready
		}
		if v := d.idle(c, false); v != again {
			return v
		}
	}
}

// timeForSources says when to ask the sources, which take a system call.
func (c *Call) timeForSources() bool {
	return c.rounds%ClockEvery == 0 && c.rounds > 0 && c.Sources.set() != nil
}

// lead polls the links with the lock held, and releases it. What a batch leaves to do, of
// which somebody may be told that the call waits for, is done after the release, so it
// ends the turn.
func (d *Driver) lead(g *Goal, c *Call) Verdict {
	v := again
	for v == again {
		var found Outcome
		if g.Pump != nil {
			found = g.Pump()
		} else {
			found = d.host.Pump()
		}
		if found&Done != 0 {
			v = Delivered
			break
		}
		if g.met() {
			v = Ready
			break
		}
		v = d.turned(c, found&Full != 0)
		if found&Pending != 0 {
			if v == Spent {
				v = again
			}
			break
		}
		if d.Lock.Wanted() || c.rounds%makeWayEvery == 0 || c.timeForSources() {
			break
		}
	}
	d.host.Release()
	return v
}
