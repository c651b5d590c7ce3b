package stack

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// Who drives the links. Leader and followers:
//
//  1. A receiver with nothing queued tries the receive lock. Who gets it leads:
//     it takes a bounded batch from each link, hands everybody theirs, and
//     returns as soon as its own datagram is there. Who does not get it watches
//     its own queue.
//  2. Leader or not, a receiver spins for its budget, then sleeps. The first
//     sleeper sleeps on the links' descriptors, where the kernel wakes it
//     directly; the others sleep on a channel each.
//  3. When the sleeper on the descriptors has its datagram it passes its place
//     to another. A spinner does not: it is back in a moment, and a sleeper on
//     the descriptors would cost a wake-up for every frame meanwhile.
//  4. The housekeeper (housekeeper.go) takes the place when nobody has led for
//     about half a millisecond.

// clockEvery is how many idle rounds a spinner makes between two looks at the
// clock, and makeWayEvery how many before it lets other goroutines run.
const (
	clockEvery   = 64
	makeWayEvery = 16384
)

// A verdict is how a turn at the ring ended.
type verdict uint8

const (
	again     verdict = iota // try once more
	delivered                // the datagram is in the target
	ready                    // something is queued, or the socket's state changed
	expired                  // the deadline is there
	spent                    // the spin budget is spent: sleep
)

// spin looks for a datagram for k until there is one or the budget is spent.
// t is nil if a datagram may not go straight to the caller (MSG_PEEK).
func (s *Stack) spin(k *Endpoint, t *target, w *wait) verdict {
	flags := uint64(lockHeld)
	if w.budget > 0 {
		flags |= lockSpinning
	}
	for {
		if l := &s.lanes.first; s.mayLead(w) && l.lock.try(flags) {
			if v := l.lead(k, t, w); v != again {
				return v
			}
			s.makeWay(w)
		}
		if k.ready() {
			return ready
		}
		if v := s.idle(w, false); v != again {
			return v
		}
	}
}

// lead polls the links, and releases the lock.
func (l *lane) lead(k *Endpoint, t *target, w *wait) verdict {
	if t != nil {
		l.sinkSocket = k
		l.sink.one, l.sink.msgs, l.sink.count = t.one, t.msgs, 0
	}
	v := again
	cold := t != nil && w.budget > 0 && !w.warmed
	for v == again {
		more := l.pump()
		if t != nil && l.sink.count > 0 {
			t.count, t.n, t.info = l.sink.count, l.sink.n, l.sink.info
			v = delivered
			break
		}
		if k.ready() {
			v = ready
			break
		}
		if cold && !more {
			l.warm(k)
			cold, w.warmed = false, true
			continue
		}
		v = l.s.turned(w, more)
		if l.lock.wanted.Load() > 0 || !l.pending.empty() || w.rounds%makeWayEvery == 0 {
			break
		}
	}
	if t != nil {
		l.sinkSocket = nil
		l.sink.one, l.sink.msgs = nil, nil
	}
	l.end()
	return v
}

// A waiter is a goroutine that sleeps for a datagram.
type waiter struct {
	token chan struct{} // a wake-up; one is enough
	timer *time.Timer
	// pol is what it sleeps with if it sleeps on descriptors: the links', or, as
	// a follower, those of a Waiter's sources. nil: it sleeps on token.
	pol atomic.Pointer[link.Poller]
}

// wake ends the waiter's sleep, now or the next.
func (w *waiter) wake() {
	select {
	case w.token <- struct{}{}:
	default:
	}
	if p := w.pol.Load(); p != nil {
		p.Wake()
	}
}

// sleepers says who sleeps, and where.
type sleepers struct {
	mu        sync.Mutex
	onFD      *waiter
	turn      uint64 // counts who slept on the descriptors
	followers []*waiter
	n         atomic.Int32 // len(followers)
	pool      sync.Pool
}

// enter gives w a place to sleep: on the descriptors (true) if nobody is there
// and nobody spins, else among the followers.
func (s *Stack) enter(w *waiter) bool {
	p := &s.sleepers
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.onFD == nil && !s.lanes.first.lock.spinning() {
		p.onFD = w
		p.turn++
		w.pol.Store(s.poller)
		return true
	}
	p.followers = append(p.followers, w)
	p.n.Store(int32(len(p.followers)))
	return false
}

// exit takes w from the place that enter gave it.
func (s *Stack) exit(w *waiter) {
	p := &s.sleepers
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
func (s *Stack) wakeEverybody() {
	p := &s.sleepers
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
func (s *Stack) passLead() bool {
	p := &s.sleepers
	if p.n.Load() == 0 {
		return false
	}
	p.mu.Lock()
	var next *waiter
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

// sleep waits until k may have a datagram, its state changes, a timer of the
// stack is due, or the deadline is there. It returns true if it slept on the
// descriptors, and so has a lead to pass on.
func (s *Stack) sleep(k *Endpoint, deadline int64) (led bool) {
	w := s.sleepers.pool.Get().(*waiter)
	k.queue.addWaiter(w)
	led = s.enter(w)
	if !k.ready() {
		now := s.clock.Now()
		if led {
			s.sleepOnLinks(s.routes.Net().Links, now, deadline)
		} else {
			w.await(until(now, deadline))
		}
	}
	s.exit(w)
	k.queue.removeWaiter(w)
	s.recycle(w)
	return led
}

// sleepOnLinks sleeps on descriptors, those of the links among them, and runs
// the timers if they are due after that.
func (s *Stack) sleepOnLinks(links []link.Pollable, now, deadline int64) {
	if s.tellOnce.Load() {
		// Such a link tells of the first frame only, and who was told may have
		// found the receive lock taken. What is for the caller ends the Wait.
		l := &s.lanes.first
		l.begin()
		more := true
		for n := 0; more && n < maxBacklog; n++ {
			more = l.pump()
		}
		l.end()
		if more {
			return // whoever waits looks at the clock, and comes back
		}
	}
	s.poller.Wait(links, until(now, min(deadline, s.timers.next.Load())))
	if now = s.clock.Now(); now >= s.timers.next.Load() {
		l := &s.lanes.first
		l.begin()
		l.runTimers(now)
		l.end()
	}
}

// recycle gives back a waiter that nobody can wake any more.
func (s *Stack) recycle(w *waiter) {
	select {
	case <-w.token:
	default:
	}
	s.sleepers.pool.Put(w)
}

// await sleeps until w is woken or d has passed; negative: without end.
func (w *waiter) await(d time.Duration) {
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

func (s *Stack) newWaiter() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &waiter{token: make(chan struct{}, 1), timer: t}
}

// receive waits until deadline for a datagram for k and stores it in t.
func (s *Stack) receive(k *Endpoint, t *target, flags int, deadline int64) unix.Errno {
	peek := flags&unix.MSG_PEEK != 0
	direct := t
	if peek {
		direct = nil
	}
	w := wait{deadline: deadline}
	patient := flags&unix.MSG_DONTWAIT == 0
	if patient {
		if w.budget = k.spin.budget(s); w.budget > 0 {
			k.prepareWarmup()
		}
	}
	led, slept := false, false
	w.once = !patient
	for first := true; ; first = false {
		if st := k.state.Load(); st != 0 {
			if st&stateRecvExtras != 0 && flags&recvPlain == 0 && k.recvExtras.peeksAtOffset() {
				return s.receiveAtOffset(k, t, flags, deadline)
			}
			if e, done := k.interrupted(t, patient); done {
				s.received(k, &w, led, slept)
				return e
			}
		}
		if k.queue.n.Load() > 0 && k.queue.take(&s.pool, t, peek) {
			k.taken()
			s.received(k, &w, led, slept)
			return 0
		}
		if !patient && !first {
			return unix.EAGAIN
		}
		switch s.spin(k, direct, &w) {
		case delivered:
			s.received(k, &w, led, slept)
			return 0
		case expired:
			s.received(k, &w, led, slept)
			return unix.EAGAIN
		case spent:
			if !patient {
				continue
			}
			if s.late(&w) {
				s.received(k, &w, led, slept)
				return unix.EAGAIN
			}
			if w.began == 0 && k.spin.adapts(s) {
				w.began = s.clock.Now()
			}
			led = s.sleep(k, deadline) || led
			slept = true
			w.budget = 0 // the next turn looks once: the frame is there, or was not ours
		}
	}
}

// received ends a receive call: the lead is passed on, the spin budget learns.
func (s *Stack) received(k *Endpoint, w *wait, led, slept bool) {
	if led {
		s.passLead()
	}
	if slept && k.spin.adapts(s) {
		k.spin.learn(s.clock.Now() - w.began)
	}
}
