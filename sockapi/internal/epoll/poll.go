package epoll

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// PollEvents returns what poll(2) says of an Epoll.
func (e *Set) PollEvents() int16 {
	switch {
	case e.closed():
		return unix.POLLNVAL
	case e.readable():
		return int16(stack.EventsIn)
	default:
		return 0
	}
}

// A poller is a call of Poll's.
type poller interface {
	// Fire has it look again, and reports whether that woke it.
	Fire() bool
}

// AddPoller has c told whenever something may be ready; RemovePoller ends that.
func (e *Set) AddPoller(c poller) { e.polls.add(c) }

// RemovePoller takes out one entry of c's: a set may have an Epoll twice.
func (e *Set) RemovePoller(c poller) { e.polls.remove(c) }

// Descriptors returns the kernel's epolls that are open: a goroutine that waits sleeps on them too.
func (e *Set) Descriptors() []int { return e.kernel.descriptors() }

// pollers are the calls of Poll that have an Epoll in their sets.
type pollers struct {
	n     atomic.Int32 // len(calls)
	mu    sync.Mutex
	calls []poller
}

// tell has all of them look again.
func (p *pollers) tell() {
	if p.n.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		c.Fire()
	}
}

func (p *pollers) add(c poller) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	p.n.Store(int32(len(p.calls)))
}

// remove takes out one entry of c's: a set may have an Epoll twice.
func (p *pollers) remove(c poller) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.calls, c); i >= 0 {
		p.calls = slices.Delete(p.calls, i, i+1)
	}
	p.n.Store(int32(len(p.calls)))
}

// State returns how many sockets are watched, how many items are listed as ready,
// how many calls of Poll there are and how many goroutines sleep in Wait: for tests.
func (e *Set) State() (sockets, listed, polls, sleepers int) {
	e.ctl.Lock()
	defer e.ctl.Unlock()
	return len(e.sockets), int(e.ready.n.Load()), int(e.polls.n.Load()), int(e.waiter.Waiting())
}
