package drive

import (
	"runtime"
	"sync/atomic"
)

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
	// Pump is called in place of a lane's, for one who has something delivered to
	// itself: Done says that it was. It may be nil.
	Pump func(p Pumper) Outcome
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
	if c.Once {
		d.Prompt()
	}
	for {
		v := d.spinFor(g, c)
		if v != Spent || c.Once {
			return v
		}
		if v = d.ended(c); v != again {
			return v
		}
		if c.awake() {
			return Spent
		}
		if c.began == 0 && c.Spin.Adapts() {
			c.began = d.clock.Now()
		}
		if c.Spin.yields.Load() && !c.slept {
			runtime.Gosched()
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
	if c.slept && c.Spin.Adapts() {
		c.Spin.Learn(d.clock.Now() - c.began)
	}
}

// Poll drives the links once, where nobody else does.
func (d *Driver) Poll(g *Goal) {
	d.Prompt()
	c := Call{Deadline: Never, Once: true}
	all := *d.lanes.Load()
	for _, l := range all {
		for l.Lock.Try(Held) {
			if v, more := l.lead(g, &c, len(all) == 1); v != again {
				return
			} else if !more && len(all) > 1 {
				break
			}
		}
	}
}

// othersEvery is of how many rounds a call makes one at the lanes that bring others
// theirs: who bound to a device knows by which lane its datagrams come, as a rule.
const othersEvery = 16

// spinFor looks for what the call waits for until it is there or the budget is spent.
func (d *Driver) spinFor(g *Goal, c *Call) Verdict {
	flags := uint64(Held)
	if c.Budget > 0 {
		flags |= Spinning
	}
	counted := false
	v := again
	for v == again {
		all := *d.lanes.Load()
		more := false
		if v, more = d.turns(all, g, c, flags); v != again {
			break
		}
		if g.met() || c.timeForSources() && c.Sources.ready() {
			v = Ready
			break
		}
		if more {
			continue
		}
		if v = d.idle(c, nil); v == again && !counted && len(all) > 1 {
			counted = true // now that it has found nothing: others are not to pay for those that have
			d.spinners.Add(1)
		}
	}
	if counted {
		d.spinners.Add(-1)
	}
	return v
}

// turns leads each lane that nobody else leads: one lane for as long as the call lasts,
// several by turns. more says that a link has more.
func (d *Driver) turns(all []*Lane, g *Goal, c *Call, flags uint64) (v Verdict, more bool) {
	home := min(c.Lane, len(all)-1)
	for at := range all {
		if at > 0 && c.Bound && c.Budget > 0 && c.rounds%othersEvery != othersEvery-1 {
			break
		}
		n := home + at
		if n >= len(all) {
			n -= len(all)
		}
		l := all[n]
		if !l.mayLead(c) || !l.Lock.Try(flags) {
			continue
		}
		v, full := l.lead(g, c, len(all) == 1)
		if v != again {
			return v, false
		}
		more = more || full
		l.makeWay(c)
	}
	return again, more
}

// timeForSources says when to ask the sources, which take a system call.
func (c *Call) timeForSources() bool {
	return c.rounds%ClockEvery == 0 && c.rounds > 0 && c.Sources.set() != nil
}

// lead polls the links with the lock held, and releases it. What a batch leaves to do, of
// which somebody may be told that the call waits for, is done after the release, so it
// ends the turn. It is one turn only unless the lane is alone. full says that a link has
// more.
func (l *Lane) lead(g *Goal, c *Call, alone bool) (v Verdict, full bool) {
	for v == again {
		var found Outcome
		if g.Pump != nil {
			found = g.Pump(l.work)
		} else {
			found = l.work.Pump()
		}
		if found&Done != 0 {
			v = Delivered
			break
		}
		if g.met() {
			v = Ready
			break
		}
		if full = found&Full != 0; !alone {
			if full {
				v = l.d.turned(c, l, true)
			}
			break
		}
		v = l.d.turned(c, l, full)
		if found&Pending != 0 {
			if v == Spent {
				v = again
			}
			break
		}
		if l.Lock.Wanted() || c.rounds%makeWayEvery == 0 || c.timeForSources() {
			break
		}
	}
	l.work.Release()
	return v, full
}
