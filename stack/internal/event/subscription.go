package event

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A Subscription brings a stack's events from the moment when it was made.
type Subscription struct {
	// C brings the events, oldest first. It is closed by Close, and when the stack
	// is closed, after the last event.
	C <-chan Event

	of   *Subscriptions
	c    chan Event
	lost atomic.Uint64
}

// Default is how many events wait in a Subscription if Subscribe is not told.
const Default = 256

// Subscriptions are all those to one stack's events. Their methods may be called by any
// goroutines at once.
type Subscriptions struct {
	changed func()

	mu   sync.Mutex // a leaf: a goroutine that sends to a channel, or closes it, holds it
	all  []*Subscription
	any  atomic.Bool // there is one
	lost atomic.Uint64
	shut bool // the stack is closed
}

// Init makes ready. changed is called, with no lock held, when there may be somebody who
// listens now, or nobody any more.
func (s *Subscriptions) Init(changed func()) { s.changed = changed }

// Subscribe returns a new subscription, in which up to n events wait, Default if n is not
// positive. Events for which there is no room are lost to it, and counted.
func (s *Subscriptions) Subscribe(n int) *Subscription {
	if n <= 0 {
		n = Default
	}
	c := make(chan Event, n)
	u := &Subscription{C: c, of: s, c: c}
	s.mu.Lock()
	if s.shut {
		close(c)
	} else {
		s.all = append(s.all, u)
		s.any.Store(true)
	}
	s.mu.Unlock()
	s.changed()
	return u
}

// Lost returns how many events found no room.
func (u *Subscription) Lost() uint64 { return u.lost.Load() }

// Close ends the subscription. What waits in the channel can still be fetched.
// Calls after the first, or after the stack's Close, do nothing.
func (u *Subscription) Close() {
	s := u.of
	s.mu.Lock()
	if at := slices.Index(s.all, u); at >= 0 {
		s.all = slices.Delete(s.all, at, at+1)
		s.any.Store(len(s.all) > 0)
		close(u.c)
	}
	s.mu.Unlock()
	s.changed()
}

// Any reports whether anybody listens.
func (s *Subscriptions) Any() bool { return s.any.Load() }

// Lost returns how many events found no room, in all subscriptions that there were.
func (s *Subscriptions) Lost() uint64 { return s.lost.Load() }

// Tell gives an event to all who listen. It never waits; any lock may be held.
func (s *Subscriptions) Tell(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.all {
		select {
		case u.c <- e:
		default:
			u.lost.Add(1)
			s.lost.Add(1)
		}
	}
}

// Close ends all subscriptions, and those that are made from now on: the stack is closed.
func (s *Subscriptions) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.all {
		close(u.c)
	}
	s.all, s.shut = nil, true
	s.any.Store(false)
}
