package sockapi

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// poll returns what poll(2) says of an Epoll.
func (e *Epoll) poll() int16 {
	switch {
	case e.closed():
		return unix.POLLNVAL
	case e.readable():
		return int16(stack.EventsIn)
	default:
		return 0
	}
}

// pollers are the calls of Poll that have an Epoll in their sets.
type pollers struct {
	n     atomic.Int32 // len(calls)
	mu    sync.Mutex
	calls []*pollCall
}

// tell has all of them look again.
func (p *pollers) tell() {
	if p.n.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		c.fire()
	}
}

func (p *pollers) add(c *pollCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	p.n.Store(int32(len(p.calls)))
}

// remove takes out one entry of c's: a set may have an Epoll twice.
func (p *pollers) remove(c *pollCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.calls, c); i >= 0 {
		p.calls = slices.Delete(p.calls, i, i+1)
	}
	p.n.Store(int32(len(p.calls)))
}
