package stack

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/link"
)

// A Waiter waits until something holds that is not one socket's next datagram:
// that one of many sockets is ready, or that there is space to send. Who waits
// drives the links as a receiver does (see drive.go): it leads or follows, spins
// for its budget, then sleeps, on the links' descriptors if nobody else does.
//
// Any number of goroutines may wait with one Waiter.
type Waiter struct {
	s     *Stack
	ready func() bool
	spin  spinner

	sources atomic.Pointer[sources]

	mu      sync.Mutex
	asleep  []*waiter
	n       atomic.Int32 // len(asleep)
	free    *turn
	pollers []*link.Poller // of all turns
	closed  bool
}

// sources are what a Waiter sleeps on beside the stack's links.
type sources struct {
	polls []link.Pollable
	ready func() bool
}

// A turn is what one goroutine that sleeps with sources needs.
type turn struct {
	pol   *link.Poller    // for its time as a follower
	polls []link.Pollable // the stack's links and the sources
	next  *turn
}

// NewWaiter returns a Waiter for what ready tells. ready is called often, by
// whoever waits, maybe with the receive lock held: it must be quick, and may
// take no lock of the stack's. Who makes it true calls Wake or WakeAll after
// that.
func (s *Stack) NewWaiter(ready func() bool) *Waiter {
	g := &Waiter{s: s, ready: ready}
	g.spin.adaptive.Store(spinStart)
	return g
}

// holds reports whether a wait is over.
func (g *Waiter) holds() bool { return g.ready() || g.s.over.Load() }

// Reserve takes the descriptor that one sleeper needs who sleeps with sources, and
// not when there may be none left: EMFILE or ENFILE if there is none.
func (g *Waiter) Reserve() error {
	t := g.takeTurn()
	defer g.giveTurn(t)
	return t.pol.Reserve()
}

// SetSources has who waits sleep on descriptors too, and call ready now and then
// while it spins: true ends the wait. Who is asleep is woken, and takes the new ones.
func (g *Waiter) SetSources(on []link.Pollable, ready func() bool) {
	if len(on) == 0 {
		g.sources.Store(nil)
	} else {
		g.sources.Store(&sources{slices.Clone(on), ready})
	}
	g.WakeAll()
}

// Close gives back what sleepers took. Nobody may be in Wait.
func (g *Waiter) Close() {
	g.mu.Lock()
	pollers := g.pollers
	g.pollers, g.free, g.closed = nil, nil, true
	g.mu.Unlock()
	for _, p := range pollers {
		p.Close()
	}
}

// Waiting returns how many goroutines are asleep in Wait.
func (g *Waiter) Waiting() int { return int(g.n.Load()) }

// Wake wakes the sleeper that came first. It reports whether there was one.
func (g *Waiter) Wake() bool {
	if g.n.Load() == 0 {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.asleep) == 0 {
		return false
	}
	w := g.asleep[0]
	g.asleep = slices.Delete(g.asleep, 0, 1)
	g.n.Store(int32(len(g.asleep)))
	w.wake()
	return true
}

// WakeAll wakes every sleeper.
func (g *Waiter) WakeAll() {
	if g.n.Load() == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.asleep {
		w.wake()
	}
	clear(g.asleep)
	g.asleep = g.asleep[:0]
	g.n.Store(0)
}

// Poll drives the links once, if nobody else does.
func (g *Waiter) Poll() {
	s := g.s
	w := wait{deadline: never, once: true}
	for s.lanes.first.lock.try(lockHeld) {
		if g.lead(&w) != again {
			return
		}
	}
}

// Wait waits until ready, or the sources' ready, returns true, or, which it
// reports by false, the deadline is there. It returns true too if the stack is
// closed.
func (g *Waiter) Wait(deadline int64) bool {
	s := g.s
	w := wait{deadline: deadline, budget: g.spin.budget(s)}
	led, slept, ok := false, false, false
	for {
		v := g.spinUntil(&w)
		if ok = v == ready; ok || v == expired {
			break
		}
		if s.late(&w) {
			break
		}
		if w.began == 0 && g.spin.adapts(s) {
			w.began = s.clock.Now()
		}
		led = g.sleep(deadline) || led
		slept = true
		w.budget = 0 // the next turn looks once
		if src := g.sources.Load(); src != nil && src.ready() {
			ok = true
			break
		}
	}
	if led {
		s.passLead()
	}
	if slept && g.spin.adapts(s) {
		g.spin.learn(s.clock.Now() - w.began)
	}
	return ok
}

// SetSpin sets the Waiter's own spin budget, as Endpoint.SetSpin does.
func (g *Waiter) SetSpin(d time.Duration) {
	g.spin.fixed.Store(int64(d))
	g.spin.own.Store(true)
}

// spinUntil drives the links, or watches others do, until the Waiter is ready
// or the budget is spent.
func (g *Waiter) spinUntil(w *wait) verdict {
	s := g.s
	flags := uint64(lockHeld)
	if w.budget > 0 {
		flags |= lockSpinning
	}
	for {
		if s.mayLead(w) && s.lanes.first.lock.try(flags) {
			if v := g.lead(w); v != again {
				return v
			}
			s.makeWay(w)
		}
		if g.holds() {
			return ready
		}
		if g.timeForSources(w) {
			if src := g.sources.Load(); src != nil && src.ready() {
				return ready
			}
		}
		if v := s.idle(w, false); v != again {
			return v
		}
	}
}

// timeForSources says when to ask the sources, which take a system call.
func (g *Waiter) timeForSources(w *wait) bool {
	return w.rounds%clockEvery == 0 && w.rounds > 0 && g.sources.Load() != nil
}

// lead polls the links with the receive lock held, and releases it. What a
// batch brings is told to watchers after the release, so it ends the turn.
func (g *Waiter) lead(w *wait) verdict {
	s := g.s
	l := &s.lanes.first
	v := again
	for v == again {
		more := l.pump()
		if g.holds() {
			v = ready
			break
		}
		v = s.turned(w, more)
		if !l.pending.empty() {
			if v == spent {
				v = again
			}
			break
		}
		if l.lock.wanted.Load() > 0 || w.rounds%makeWayEvery == 0 || g.timeForSources(w) {
			break
		}
	}
	l.end()
	return v
}

// sleep waits until the Waiter may be ready, a timer of the stack is due, or the
// deadline is there. It returns true if it slept on the links' descriptors, and
// so has a lead to pass on.
func (g *Waiter) sleep(deadline int64) (led bool) {
	s := g.s
	src := g.sources.Load()
	w := s.sleepers.pool.Get().(*waiter)
	var t *turn
	if src != nil {
		t = g.takeTurn()
		w.pol.Store(t.pol) // before anybody can wake w
	}
	g.add(w)
	led = s.enter(w)
	if !g.holds() && g.sources.Load() == src {
		now := s.clock.Now()
		switch links := s.routes.Net().Links; {
		case led && src == nil:
			s.sleepOnLinks(links, now, deadline)
		case led:
			t.polls = append(append(t.polls[:0], links...), src.polls...)
			s.sleepOnLinks(t.polls, now, deadline)
		case src == nil:
			w.await(until(now, deadline))
		default:
			t.pol.Wait(src.polls, until(now, deadline))
		}
	}
	s.exit(w)
	g.remove(w)
	if t != nil {
		g.giveTurn(t)
	}
	s.recycle(w)
	return led
}

func (g *Waiter) add(w *waiter) {
	g.mu.Lock()
	g.asleep = append(g.asleep, w)
	g.n.Store(int32(len(g.asleep)))
	g.mu.Unlock()
}

// remove takes w out if nobody has woken it.
func (g *Waiter) remove(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.asleep, w); i >= 0 {
		g.asleep = slices.Delete(g.asleep, i, i+1)
		g.n.Store(int32(len(g.asleep)))
	}
}

func (g *Waiter) takeTurn() *turn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.free; t != nil {
		g.free = t.next
		return t
	}
	t := &turn{pol: link.NewPoller()}
	g.pollers = append(g.pollers, t.pol)
	return t
}

func (g *Waiter) giveTurn(t *turn) {
	clear(t.polls)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		t.next, g.free = g.free, t
	}
}
