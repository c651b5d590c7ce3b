package stack

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
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

// batchSize is how many frames a leader takes from a link at once: enough to
// spread the costs of a batch, few enough to return soon.
const batchSize = 32

// clockEvery is how many idle rounds a spinner makes between two looks at the
// clock, and makeWayEvery how many before it lets other goroutines run.
const (
	clockEvery   = 64
	makeWayEvery = 16384
)

// receiver is the state that the receive lock guards.
type receiver struct {
	lock   receiveLock
	batch  [batchSize]link.Frame
	count  *counter.Set // &counters but while warming
	now    int64        // the clock when a leader looked last
	rounds uint32       // calls of pump
	led    bool         // pump was called since the lock was taken

	counters     counter.Set
	warmCounters counter.Set // what does not count: see warm.go
	warming      bool
	chosen       bool     // whom a datagram is for: SO_REUSEPORT's programs are not asked
	steering     bpf.View // what such a program runs on

	// sink is where datagrams for sinkSocket go while nothing is queued.
	sinkSocket *Endpoint
	sink       target

	pending *flush // what is to do once the lock is released

	header   ipv4.Header // of the datagram at hand
	metadata metadata    // what it was sent with, if it is our own
	match    []*Endpoint // for datagrams to several sockets
	raws     *rawTable   // nil: there are no raw sockets
	timed    int         // sockets that want to know when a datagram was taken
	taken    int64       // when that was, of CLOCK_MONOTONIC
}

// flush is what a batch leaves to do after the lock is released: sleepers to
// wake and packets to send.
type flush struct {
	wake   []*Endpoint
	out    []outPacket
	posted bool // something is in the outbox
}

func (f *flush) empty() bool { return len(f.wake)+len(f.out) == 0 && !f.posted }

// lockReceive takes the receive lock for something else than leading.
func (s *Stack) lockReceive() { s.rx.lock.lock() }

// unlockReceive releases the receive lock and does what was left to do.
func (s *Stack) unlockReceive() {
	r := &s.rx
	led := r.led
	r.led = false
	if r.pending.empty() {
		r.lock.release(led)
	} else {
		f := r.pending
		r.pending = s.flushes.Get().(*flush)
		if len(f.out) > 0 {
			r.count[counter.IPOutDiscards] += uint64(s.postPackets(f.out))
			clear(f.out)
			f.out, f.posted = f.out[:0], true
		}
		r.lock.release(led)
		s.runFlush(f)
	}
	if s.housekeeper.parked.Load() {
		s.housekeeper.unpark()
	}
}

// runFlush wakes and sends. No lock is held.
func (s *Stack) runFlush(f *flush) {
	for i, k := range f.wake {
		k.queue.wakeOne()
		k.changed(EventsIn)
		f.wake[i] = nil
	}
	f.wake = f.wake[:0]
	if f.posted {
		f.posted = false
		s.sendOutbox()
	}
	s.flushes.Put(f)
}

// pump takes a batch from every link and processes it, and now and then runs
// the timers that are due. It returns true if a link may have more: whoever
// wants to sleep looks again first, since a link without a descriptor tells only
// of the first frame. The receive lock is held.
func (s *Stack) pump() (more bool) {
	r := &s.rx
	r.led = true
	if r.rounds++; r.rounds%clockEvery == 0 {
		s.runTimers(s.clock.Now())
	}
	for _, ifc := range s.net.Load().interfaces {
		n := ifc.link.Receive(r.batch[:])
		if n == 0 {
			continue
		}
		s.stampTaken()
		if ifc.loopback {
			s.inputOwn(ifc, r.batch[:n])
		} else {
			for i := range n {
				s.input(ifc, &r.batch[i])
			}
		}
		ifc.link.Release()
		more = more || n == batchSize
	}
	return more
}

// runTimers runs the timers that are due. The receive lock is held.
func (s *Stack) runTimers(now int64) {
	s.rx.now = now
	s.timers.run(now)
}

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
		if s.mayLead(w) && s.rx.lock.try(flags) {
			if v := s.lead(k, t, w); v != again {
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

// lead polls the links with the receive lock held, and releases it.
func (s *Stack) lead(k *Endpoint, t *target, w *wait) verdict {
	r := &s.rx
	if t != nil {
		r.sinkSocket = k
		r.sink.one, r.sink.msgs, r.sink.count = t.one, t.msgs, 0
	}
	v := again
	cold := t != nil && w.budget > 0 && !w.warmed
	for v == again {
		more := s.pump()
		if t != nil && r.sink.count > 0 {
			t.count, t.n, t.info = r.sink.count, r.sink.n, r.sink.info
			v = delivered
			break
		}
		if k.ready() {
			v = ready
			break
		}
		if cold && !more {
			s.warm(k)
			cold, w.warmed = false, true
			continue
		}
		v = s.turned(w, more)
		if r.lock.wanted.Load() > 0 || !r.pending.empty() || w.rounds%makeWayEvery == 0 {
			break
		}
	}
	if t != nil {
		r.sinkSocket = nil
		r.sink.one, r.sink.msgs = nil, nil
	}
	s.unlockReceive()
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
	if p.onFD == nil && !s.rx.lock.spinning() {
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
			s.sleepOnLinks(s.net.Load().links, now, deadline)
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
		s.lockReceive()
		more := true
		for n := 0; more && n < maxBacklog; n++ {
			more = s.pump()
		}
		s.unlockReceive()
		if more {
			return // whoever waits looks at the clock, and comes back
		}
	}
	s.poller.Wait(links, until(now, min(deadline, s.timers.next.Load())))
	if now = s.clock.Now(); now >= s.timers.next.Load() {
		s.lockReceive()
		s.runTimers(now)
		s.unlockReceive()
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
