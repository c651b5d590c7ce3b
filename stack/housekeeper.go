package stack

import (
	"sync/atomic"
	"time"

	"github.com/outband/outband/link"
)

// housekeeper leads when nobody else has for a while, so that ARP, echo and
// timers go on while the application is elsewhere. It is in one of three places:
//
//   - watching: it looks every half millisecond whether anybody led.
//   - leading: asleep on the links' descriptors, with a poller of its own.
//   - parked: somebody has led without a break for a while, and will unpark it.
type housekeeper struct {
	poller *link.Poller
	parked atomic.Bool
	unpk   chan struct{}
	done   chan struct{}
}

const (
	// houseTick is how long nobody has led when the housekeeper takes over.
	houseTick = 500 * time.Microsecond
	// parkAfter is after how many ticks of one and the same leader it parks.
	parkAfter = 8
)

func (h *housekeeper) init() {
	h.poller = link.NewPoller()
	h.unpk = make(chan struct{}, 1)
	h.done = make(chan struct{})
}

// unpark wakes the housekeeper: the leader who let it park has left.
func (h *housekeeper) unpark() {
	if h.parked.CompareAndSwap(true, false) {
		select {
		case h.unpk <- struct{}{}:
		default:
		}
	}
}

// hurry has the housekeeper look at the outbox, wherever it is.
func (h *housekeeper) hurry() {
	h.unpark()
	h.poller.Wake()
}

// keepHouse is the housekeeper's goroutine. It ends when the stack closes.
func (s *Stack) keepHouse() {
	h := &s.housekeeper
	defer close(h.done)
	tick := time.NewTimer(houseTick)
	defer tick.Stop()
	same := 0
	for {
		before := s.lookLead()
		tick.Reset(houseTick)
		select {
		case <-s.closing:
			return
		case <-tick.C:
		}
		if s.outbox.waiting.Load() {
			s.sendOutbox()
		}
		now := s.lookLead()
		switch {
		case !now.led() && now == before:
			same = 0
			if !s.passLead() && !s.houseLead() {
				return
			}
		case now != before:
			same = 0
		default:
			if same++; same >= parkAfter {
				if !s.housePark(now) {
					return
				}
				same = 0
			}
		}
	}
}

// leadership is who led at a moment, to compare with another moment.
type leadership struct {
	word   uint64 // the receive lock's
	turn   uint64 // of the sleeper on the descriptors
	asleep bool   // there is one
}

// led reports whether somebody led at that moment.
func (l leadership) led() bool { return l.asleep || l.word&lockHeld != 0 }

func (s *Stack) lookLead() leadership {
	s.sleepers.mu.Lock()
	defer s.sleepers.mu.Unlock()
	return leadership{s.lanes.first.lock.word.Load(), s.sleepers.turn, s.sleepers.onFD != nil}
}

// housePark waits until the leader seen has left. It returns false when the
// stack closes.
func (s *Stack) housePark(seen leadership) bool {
	h := &s.housekeeper
	h.parked.Store(true)
	if s.lookLead() != seen {
		h.unpark()
	}
	select {
	case <-s.closing:
		return false
	case <-h.unpk:
		return true
	}
}

// houseLead leads until somebody else does. It returns false when the stack
// closes.
func (s *Stack) houseLead() bool {
	for {
		select {
		case <-s.closing:
			return false
		default:
		}
		if s.outbox.waiting.Load() {
			s.sendOutbox()
		}
		l := &s.lanes.first
		if !l.lock.try(lockHeld) {
			return true
		}
		l.runTimers(s.clock.Now())
		more := l.pump()
		l.end()
		if more {
			continue
		}
		before := s.lookLead()
		if before.led() {
			return true
		}
		if s.passLead() {
			return true
		}
		s.housekeeper.poller.Wait(s.routes.Net().Links, until(s.clock.Now(), s.timers.next.Load()))
		if now := s.lookLead(); now.led() || now != before && s.elsewhere.Load() == 0 {
			return true
		}
	}
}
