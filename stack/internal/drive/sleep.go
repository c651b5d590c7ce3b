package drive

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/link"
)

// A sleeper is a goroutine that sleeps, or the event loop that sleeps in its place.
type sleeper struct {
	token chan struct{} // a wake-up; one is enough
	timer *time.Timer
	// pol is what it sleeps with if it sleeps on descriptors: the links', or, as
	// a follower, those of its sources. nil: it sleeps on token.
	pol atomic.Pointer[link.Poller]
	// What wakes it: the goal's list, the changing deadline, and the handle.
	goal, until, handle Watch
}

func newSleeper() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	w := &sleeper{token: make(chan struct{}, 1), timer: t}
	for _, x := range []*Watch{&w.goal, &w.until, &w.handle} {
		x.sleeper, x.events = w, All
	}
	return w
}

// wake ends the sleep, now or the next.
func (w *sleeper) wake() {
	select {
	case w.token <- struct{}{}:
	default:
	}
	if p := w.pol.Load(); p != nil {
		p.Wake()
	}
}

// await sleeps until w is woken or d has passed; negative: without end.
func (w *sleeper) await(d time.Duration) {
	if d < 0 {
		<-w.token
		return
	}
	w.timer.Reset(d)
	select {
	case <-w.token:
	case <-w.timer.C:
	}
	w.timer.Stop()
}

// attach enters w in the lists of what wakes it.
func (w *sleeper) attach(c *Call) {
	if c.Until != nil {
		c.Until.asleep.Add(&w.until)
	}
	if c.Handle != nil {
		c.Handle.asleep.Add(&w.handle)
	}
	w.goal.events, w.goal.Exclusive = c.Events, c.Exclusive
	c.List.Add(&w.goal)
}

// detach takes w out again.
func (w *sleeper) detach(c *Call) {
	c.List.Remove(&w.goal)
	if c.Until != nil {
		c.Until.asleep.Remove(&w.until)
	}
	if c.Handle != nil {
		c.Handle.asleep.Remove(&w.handle)
	}
}

// sleepers says who sleeps, and where.
type sleepers struct {
	armed atomic.Pointer[link.Poller] // of the one on the descriptors, if that is an event loop's

	mu        sync.Mutex
	onFD      *sleeper
	turn      uint64 // counts who slept on the descriptors
	followers []*sleeper
	n         atomic.Int32 // len(followers)
	pool      sync.Pool
}

// enter gives w a place to sleep: on the descriptors (true) if nobody is there
// and nobody spins, else among the followers. pol is what it sleeps with there.
func (d *Driver) enter(w *sleeper, pol *link.Poller) bool {
	p := &d.sleepers
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.onFD == nil && !d.spinning() {
		p.onFD = w
		p.turn++
		w.pol.Store(pol)
		return true
	}
	p.followers = append(p.followers, w)
	p.n.Store(int32(len(p.followers)))
	return false
}

// exit takes w from the place that enter gave it.
func (d *Driver) exit(w *sleeper) {
	p := &d.sleepers
	p.mu.Lock()
	defer p.mu.Unlock()
	w.pol.Store(nil)
	if p.onFD == w {
		p.onFD = nil
		return
	}
	for i, f := range p.followers {
		if f == w {
			p.followers = append(p.followers[:i], p.followers[i+1:]...)
			p.n.Store(int32(len(p.followers)))
			return
		}
	}
}

// wakeEverybody wakes whoever sleeps: what they wait for will not be.
func (d *Driver) wakeEverybody() {
	p := &d.sleepers
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.onFD != nil {
		p.onFD.wake()
	}
	for _, w := range p.followers {
		w.wake()
	}
}

// passLead wakes a follower to sleep on the descriptors, if nobody does. It
// reports whether somebody sleeps there or was woken to.
func (d *Driver) passLead() bool {
	p := &d.sleepers
	if p.n.Load() == 0 {
		return false
	}
	p.mu.Lock()
	var next *sleeper
	taken := p.onFD != nil
	if !taken && len(p.followers) > 0 {
		next = p.followers[0]
		p.followers = append(p.followers[:0], p.followers[1:]...)
		p.n.Store(int32(len(p.followers)))
	}
	p.mu.Unlock()
	if next != nil {
		next.wake()
	}
	return taken || next != nil
}

// sleep waits until the goal may be reached, a timer of the stack is due, or the
// call may be over. It returns true if it slept on the links' descriptors, and
// so has a lead to pass on.
func (d *Driver) sleep(g *Goal, c *Call) (led bool) {
	src := c.Sources.set()
	w := d.sleepers.pool.Get().(*sleeper)
	var t *seat
	if src != nil {
		t = c.Sources.take()
		w.pol.Store(t.pol) // before anybody can wake w
	}
	w.attach(c)
	led = d.enter(w, d.poller)
	region := traceSleep(led)
	if !g.met() && !c.cut() && c.Sources.set() == src {
		now, end := d.clock.Now(), c.end()
		switch {
		case led && src == nil:
			d.sleepOnLinks(d.host.Links(), now, end)
		case led:
			t.polls = append(append(t.polls[:0], d.host.Links()...), src.polls...)
			d.sleepOnLinks(t.polls, now, end)
		case src == nil:
			w.await(Until(now, end))
		default:
			t.pol.Wait(src.polls, Until(now, end))
		}
	}
	region.end()
	d.exit(w)
	w.detach(c)
	if t != nil {
		c.Sources.give(t)
	}
	d.recycle(w)
	return led
}

// sleepOnLinks sleeps on descriptors, those of the links among them, and runs
// the timers if they are due after that.
func (d *Driver) sleepOnLinks(links []link.Pollable, now, deadline int64) {
	if d.lookAgain() {
		return // whoever waits looks at the clock, and comes back
	}
	d.poller.Wait(links, Until(now, min(deadline, d.Timers.next.Load())))
	d.runDueTimers()
}

// lookAgain empties links that tell of the first frame only: who was told may have
// found the lock taken. What is for the caller ends its sleep. It returns true if it gave
// up before it came to an end.
func (d *Driver) lookAgain() bool {
	if !d.tellOnce.Load() {
		return false
	}
	left := false
	for _, l := range *d.lanes.Load() {
		l.Lock.Take()
		full := true
		for n := 0; full && n < maxBacklog; n++ {
			full = l.work.Pump()&Full != 0
		}
		l.work.Release()
		left = left || full
	}
	return left
}

// runDueTimers runs the timers if they are due after a sleep.
func (d *Driver) runDueTimers() {
	if now := d.clock.Now(); now >= d.Timers.next.Load() {
		l := (*d.lanes.Load())[0]
		l.Lock.Take()
		l.RunTimers(now)
		l.work.Release()
	}
}

// recycle gives back a sleeper that nobody can wake any more.
func (d *Driver) recycle(w *sleeper) {
	select {
	case <-w.token:
	default:
	}
	d.sleepers.pool.Put(w)
}
