package drive

import (
	"time"

	"github.com/outband/outband/link"
)

// A Waiter waits until something holds that is not one socket's next datagram:
// that one of many sockets is ready, or that there is room in a device. A goroutine
// that waits drives the links as a receiver does: it leads or follows, spins
// for its budget, then sleeps, on the links' descriptors if no other one does.
//
// Any number of goroutines may wait with one Waiter.
type Waiter struct {
	d       *Driver
	ready   func() bool
	spin    Spinner
	list    List
	sources Sources
	armed   armed
}

// NewWaiter returns a Waiter for what ready tells. ready is called often, by
// the goroutines that wait, maybe with the stack's locks held: it must be quick, and
// may take no lock of the stack's. What makes it true calls Wake or WakeAll after that.
func (d *Driver) NewWaiter(ready func() bool) *Waiter {
	g := &Waiter{d: d, ready: ready}
	g.spin.Init(d)
	return g
}

// holds reports whether a wait is over.
func (g *Waiter) holds() bool { return g.ready() || g.d.over.Load() }

// wakes says what wakes a call that waits.
func (g *Waiter) wakes(c *Call) {
	c.List, c.Events, c.Exclusive, c.Sources = &g.list, All, true, &g.sources
}

// Waiting returns how many goroutines are asleep in Wait, and have not been woken.
func (g *Waiter) Waiting() int { return g.list.Sleeping(All) }

// Wake wakes the sleeper that came first. It reports whether there was one.
func (g *Waiter) Wake() bool {
	return g.list.Wanted(All) && g.list.tell(In)
}

// WakeAll wakes every sleeper.
func (g *Waiter) WakeAll() { g.list.Tell(All) }

// Poll drives the links once, if nobody else does.
func (g *Waiter) Poll() {
	g.d.Poll(&Goal{Ready: g.holds})
}

// Wait waits until ready, or the sources' ready, returns true, or, which it
// reports by false, the deadline is there. It returns true too if the stack is
// closed.
func (g *Waiter) Wait(deadline int64) bool { return g.WaitFor(deadline, nil, nil) == Ready }

// WaitFor is Wait for a call that others may end too: until is another deadline, which may
// change meanwhile, and h what may cut the call short; nil: there is none.
func (g *Waiter) WaitFor(deadline int64, until *Deadline, h *Handle) Verdict {
	c := Call{Spin: &g.spin, Deadline: deadline, Until: until, Handle: h, Budget: g.spin.Budget()}
	g.wakes(&c)
	v := g.d.Wait(&Goal{Ready: g.holds}, &c)
	g.d.Finish(&c)
	return v
}

// SetSpin sets the Waiter's own spin budget, as a socket's.
func (g *Waiter) SetSpin(t time.Duration) { g.spin.Set(t) }

// SetSources has who waits sleep on descriptors too, and call ready now and then
// while it spins: true ends the wait. Who is asleep is woken, and takes the new ones.
func (g *Waiter) SetSources(on []link.Pollable, ready func() bool) {
	g.sources.Set(on, ready)
	g.WakeAll()
}

// Reserve takes the descriptor that one sleeper needs who sleeps with sources, and
// not when there may be none left: EMFILE or ENFILE if there is none.
func (g *Waiter) Reserve() error {
	t := g.sources.take()
	defer g.sources.give(t)
	return t.pol.Reserve()
}

// Close gives back what sleepers took. Nobody may be in Wait, and no event loop sleep.
func (g *Waiter) Close() {
	g.sources.Close()
	g.armed.close()
}
