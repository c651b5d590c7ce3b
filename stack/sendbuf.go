package stack

import (
	"sync/atomic"

	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// chargeFrame returns what a frame of n bytes weighs against SO_SNDBUF.
func chargeFrame(n int) int64 { return queue.Charge(n - queue.Headroom) }

// chargeSend counts a frame that begins to wait.
func (s *sender) chargeSend(frame int) {
	if s.charged.Add(chargeFrame(frame)) >= s.limit.Load() {
		s.markSendFull()
	}
}

// unchargeSend takes back what chargeSend counted: the frame has left, or never
// will. As in Linux' sock_def_write_space nobody is told before half is free.
func (s *sender) unchargeSend(frame int) {
	s.charged.Add(-chargeFrame(frame))
	s.markSendFull()
	if s.writable() {
		s.host.changed(EventsOut)
	}
}

// markSendFull sets or clears stateSendFull by what is charged. Whoever changes
// what it depends on calls it after that, so that the last one is right.
func (s *sender) markSendFull() {
	for {
		full := s.charged.Load() >= s.limit.Load()
		markState(s.state, stateSendFull, full)
		if full == (s.charged.Load() >= s.limit.Load()) {
			return
		}
	}
}

// markState sets or clears a bit of a socket's state.
func markState(state *atomic.Uint32, bit uint32, on bool) {
	if on {
		state.Or(bit)
	} else {
		state.And(^bit)
	}
}

// sendFull reports whether a send has to wait for space.
func (s *sender) sendFull() bool { return s.state.Load()&stateSendFull != 0 }

// noSpace is for a send that sendFull refuses.
func (s *sender) noSpace() unix.Errno {
	s.missed.Store(true)
	return unix.EAGAIN
}

// noRoom is for a send for which there was no room in a device.
func (s *sender) noRoom(to *txQueue) {
	s.missed.Store(true)
	s.full.Store(to)
	if s.host.watched() {
		s.rooms.arm(s, to)
	}
}

// writable reports what EPOLLOUT does: Linux' sock_writeable.
func (s *sender) writable() bool { return s.writableHere() && s.stuckOn() == nil }

// writableHere is writable as far as it is known without asking a device.
func (s *sender) writableHere() bool {
	return s.charged.Load()+1 < s.limit.Load()>>1 && s.state.Load()&stateSendBehind == 0
}

// stuckOn returns a way out in whose device there is no room for the socket, nil if
// there is none.
func (s *sender) stuckOn() *txQueue {
	for q := range s.own.all {
		if !q.hasRoom() {
			s.full.Store(q)
			return q
		}
	}
	if list := s.own.shares.Load(); list != nil {
		for _, d := range *list {
			// Where others send too it does not matter: see moveAside.
			if d.sharers.Load() < 2 && !d.queue.hasRoom() {
				s.full.Store(d.queue)
				return d.queue
			}
		}
	}
	if to := s.full.Load(); to != nil {
		if !to.hasRoom() {
			return to
		}
		s.full.CompareAndSwap(to, nil)
	}
	return nil
}

// missing notes that somebody wants to hear of room.
func (s *sender) missing() {
	s.missed.Store(true)
	to := s.full.Load()
	if behind := s.behindOn(); behind != nil {
		to = behind
	}
	if to != nil && s.host.watched() {
		s.rooms.arm(s, to)
	}
}

// tellSent is sent for a socket that is watched.
func (s *sender) tellSent() {
	if s.writableHere() && s.full.Load() == nil && s.own.list.Load() == nil || s.writable() {
		s.host.tell(EventsOut) // who looks for itself, and asks the device
	} else {
		s.armFull()
	}
}

// armFull has those who watch the socket told when the device that is full has room.
func (s *sender) armFull() {
	if to := s.stuckOn(); to != nil {
		s.rooms.arm(s, to)
	} else if s.writable() { // meanwhile
		s.host.changed(EventsOut)
	}
}

// pause waits until a send that found the send buffer full may be tried again. It
// returns false if the call ends instead.
func (s *sender) pause(flags int, deadline int64) bool {
	if flags&unix.MSG_DONTWAIT != 0 || s.state.Load()&stateSendEnds != 0 || s.over(deadline) {
		return false
	}
	if to := s.behindOn(); to != nil {
		s.sleepForRoom(to, deadline)
		return true
	}
	if !s.sendFull() && !s.kind.ported() {
		return false // no port was free
	}
	s.wait(func() bool { return !s.sendFull() || s.state.Load()&stateSendEnds != 0 }, nil, deadline)
	return true
}

// wait waits until ready, until there is room in what sources tell of, or until
// the call is over.
func (s *sender) wait(ready func() bool, sources *drive.Sources, deadline int64) {
	c := drive.Call{Spin: &s.spin, Deadline: deadline, Until: &s.until, Budget: s.spin.Budget(),
		Sources: sources, List: s.watches, Events: eventsSend}
	s.drive.Wait(&drive.Goal{Ready: ready}, &c)
	s.drive.Finish(&c)
}

// over reports whether a call that sends may not wait any longer.
func (s *sender) over(deadline int64) bool {
	deadline = min(deadline, s.until.At())
	return deadline != never && s.clock.Now() >= deadline
}
