package drive

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/link"
)

// Sources are descriptors that calls sleep on beside the stack's links.
type Sources struct {
	now atomic.Pointer[sourceSet] // nil: none

	mu      sync.Mutex // a leaf
	free    *seat
	pollers []*link.Poller // of all seats
	closed  bool
}

// A sourceSet is what Sources are at a time. It is never changed, only replaced.
type sourceSet struct {
	polls []link.Pollable
	ready func() bool
}

// A seat is what one goroutine that sleeps with sources needs.
type seat struct {
	pol   *link.Poller    // for its time as a follower
	polls []link.Pollable // the stack's links and the sources
	next  *seat
}

// Set sets what calls sleep on, and what they ask whether it is ready. Those that are
// asleep have to be woken.
func (s *Sources) Set(on []link.Pollable, ready func() bool) {
	if len(on) == 0 {
		s.now.Store(nil)
		return
	}
	s.now.Store(&sourceSet{slices.Clone(on), ready})
}

func (s *Sources) set() *sourceSet {
	if s == nil {
		return nil
	}
	return s.now.Load()
}

// ready asks the sources, which takes a system call.
func (s *Sources) ready() bool {
	set := s.set()
	return set != nil && set.ready()
}

func (s *Sources) take() *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.free; t != nil {
		s.free = t.next
		return t
	}
	t := &seat{pol: link.NewPoller()}
	s.pollers = append(s.pollers, t.pol)
	return t
}

func (s *Sources) give(t *seat) {
	clear(t.polls)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		t.next, s.free = s.free, t
	}
}

// Close gives back what sleepers took. Nobody may sleep.
func (s *Sources) Close() {
	s.mu.Lock()
	pollers := s.pollers
	s.pollers, s.free, s.closed = nil, nil, true
	s.mu.Unlock()
	for _, p := range pollers {
		p.Close()
	}
}
