package link

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Pollable has a file descriptor that a [Poller] can sleep on. Links are Pollables.
type Pollable interface {
	// FD returns the descriptor that poll(2) reports readable when there is something
	// to do, or -1 if there is none, or none of use now.
	FD() int
	// PollError says that poll(2) reported POLLERR, POLLHUP or POLLNVAL for it. What
	// does not clear the condition returns -1 from FD from then on, or sleepers turn
	// in circles.
	PollError()
}

// A Descriptor is a Pollable that stays as it is and knows no errors, such as that of
// an epoll(7) or an eventfd(2).
type Descriptor int

// FD implements [Pollable].
func (d Descriptor) FD() int { return int(d) }

// PollError implements [Pollable].
func (Descriptor) PollError() {}

// A Poller sleeps until one of several links has frames, until it is woken, or
// until time is up.
//
// One goroutine at a time may be in Wait; Wake is for any goroutine. A Poller
// tells the sleeper of what arrives on links that have a file descriptor. Links
// without one must be told to call Wake, by [Link.SetNotify]; the Poller does
// not register itself.
//
// # How no wake-up is lost
//
// The state word says whether a wake-up is due, and how. A sleeper moves it from idle to asleep; it
// fails if a Wake came first, and then there is no sleep. Wake moves it to woken,
// and only if it was asleep before does it touch the channel or the eventfd. So
// Wake costs one atomic load while its predecessor has not been consumed, and one
// atomic exchange else; a system call is due only if a goroutine sleeps in poll(2).
//
// What Wake announces must have been published before by a lock or an atomic
// store, as every queue between goroutines does anyway.
type Poller struct {
	state  atomic.Uint32
	closed atomic.Bool
	woken  chan struct{} // ends a sleep on the channel; one token at most

	// waiting is held for as long as a goroutine is in Wait, and guards timer
	// and poll. Close takes it, to be the last.
	waiting sync.Mutex
	timer   *time.Timer
	poll    pollSet
	step    time.Duration // of the last sleep without an eventfd

	event eventFD
}

// States of a Poller. Only the goroutine in Wait leaves woken or enters one of
// the asleep states.
const (
	idle        uint32 = iota
	woken              // a Wake that no Wait has consumed yet
	asleepChan         // a goroutine sleeps, or is about to, on the channel
	asleepEvent        // a goroutine sleeps, or is about to, in poll(2)
)

// maxSleep bounds one sleep, so that every time-out can be told to the kernel
// on every architecture. Wait may return early at will.
const maxSleep = 24 * time.Hour

// nextStep returns how long to sleep where a Wake cannot end it.
func (p *Poller) nextStep() time.Duration {
	p.step = min(max(2*p.step, minStep), maxStep)
	return p.step
}

// minStep and maxStep are how long a sleep without an eventfd lasts: the first is
// short, lest a Wake come late, and later ones twice as long each, lest they cost.
const (
	minStep = time.Millisecond
	maxStep = 32 * time.Millisecond
)

// NewPoller returns a Poller that no goroutine waits in. It takes no file
// descriptor until the first Wait on a link that has one, so that a Poller over
// in-memory links works in a testing/synctest bubble and need not be closed.
func NewPoller() *Poller {
	return &Poller{woken: make(chan struct{}, 1), event: eventFD{fd: -1}}
}

// Reserve takes the descriptor that sleeping needs now, and not when there may be
// none left: EMFILE or ENFILE if there is none. Close gives it back.
func (p *Poller) Reserve() error {
	p.waiting.Lock()
	defer p.waiting.Unlock()
	if p.closed.Load() {
		return unix.EBADF
	}
	return p.event.open()
}

// Wait sleeps until one of those that have a file descriptor is readable, as a link
// is when frames wait, until Wake is called, or until timeout has passed; a timeout below 0 means for
// ever. A Wake before the call, not consumed by another Wait, ends it at once.
//
// It may return for no reason: the caller looks what there is to do, and waits
// again. If poll(2) reports an error for a descriptor, Wait calls its PollError
// before it returns. After Close it returns at once.
//
// Wait does not keep the slice, and allocates nothing after the first calls.
func (p *Poller) Wait(on []Pollable, timeout time.Duration) {
	p.waiting.Lock()
	defer p.waiting.Unlock()
	if p.closed.Load() {
		return
	}
	sleep := asleepChan
	if p.poll.set(on) {
		if p.event.open() == nil {
			sleep = asleepEvent
		} else {
			// No descriptor left for the process: without the eventfd a Wake
			// cannot end a poll(2), so poll in steps.
			timeout = clampTo(timeout, p.nextStep())
		}
	}
	if !p.state.CompareAndSwap(idle, sleep) {
		p.state.Store(idle)
		return
	}
	switch {
	case p.poll.any:
		if !p.poll.wait(on, &p.event, clampTo(timeout, maxSleep)) {
			time.Sleep(clampTo(timeout, p.nextStep()))
		} else if p.event.fd >= 0 {
			p.step = 0
		}
	case timeout < 0:
		<-p.woken
	case timeout > 0:
		p.waitTimer(timeout)
	}
	p.state.Store(idle)
}

// waitTimer sleeps on the channel for at most d.
func (p *Poller) waitTimer(d time.Duration) {
	if p.timer == nil {
		p.timer = time.NewTimer(d)
	} else {
		p.timer.Reset(d)
	}
	select {
	case <-p.woken:
		p.timer.Stop()
	case <-p.timer.C:
	}
}

// Wake ends the Wait that is under way, or the next one if there is none. Any
// number of calls between two Waits count as one. It never blocks.
func (p *Poller) Wake() {
	if p.state.Load() == woken {
		return
	}
	switch p.state.Swap(woken) {
	case asleepChan:
		select {
		case p.woken <- struct{}{}:
		default:
		}
	case asleepEvent:
		p.event.signal()
	}
}

// Arm has somebody else sleep in place of Wait, with what can sleep on a descriptor: it
// returns one that becomes readable by a Wake, by one of before that no Wait has consumed
// too. Disarm ends that, and no Wait may be called before. EMFILE or ENFILE: there is
// none left.
func (p *Poller) Arm() (fd int, err error) {
	p.waiting.Lock()
	defer p.waiting.Unlock()
	if p.closed.Load() {
		return -1, unix.EBADF
	}
	if err := p.event.open(); err != nil {
		return -1, err
	}
	if !p.state.CompareAndSwap(idle, asleepEvent) {
		p.event.signal()
	}
	return p.event.fd, nil
}

// Disarm ends what Arm began, and consumes a Wake.
func (p *Poller) Disarm() {
	p.waiting.Lock()
	defer p.waiting.Unlock()
	if p.state.Swap(idle) == woken && p.event.fd >= 0 {
		p.event.drain()
	}
}

// Close ends a Wait that is under way, waits until it has returned, and gives
// back the file descriptor. From then on Wait returns at once and Wake does
// nothing that can be seen. Close may be called more than once.
func (p *Poller) Close() error {
	p.closed.Store(true)
	p.Wake()
	p.waiting.Lock()
	defer p.waiting.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	return p.event.close()
}

// clampTo returns d, or limit if d is longer or for ever.
func clampTo(d, limit time.Duration) time.Duration {
	if d < 0 || d > limit {
		return limit
	}
	return d
}
