package output

import (
	"sync/atomic"

	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// ChargeFrame returns what a frame of n bytes weighs against SO_SNDBUF.
func ChargeFrame(n int) int64 { return queue.Charge(n - queue.Headroom) }

// chargeSend counts a frame that begins to wait.
func (s *Sender) chargeSend(frame int) {
	if s.Charged.Add(ChargeFrame(frame)) >= s.limit.Load() {
		s.markSendFull()
	}
}

// unchargeSend takes back what chargeSend counted: the frame has left, or never
// will. As in Linux' sock_def_write_space nobody is told before half is free.
func (s *Sender) unchargeSend(frame int) {
	s.Charged.Add(-ChargeFrame(frame))
	s.markSendFull()
	if s.Writable() {
		s.host.TellEvents(drive.Out)
	}
}

// markSendFull sets or clears stateSendFull by what is charged. Whoever changes
// what it depends on calls it after that, so that the last one is right.
func (s *Sender) markSendFull() {
	for {
		full := s.Charged.Load() >= s.limit.Load()
		MarkState(s.state, stateSendFull, full)
		if full == (s.Charged.Load() >= s.limit.Load()) {
			return
		}
	}
}

// MarkState sets or clears a bit of a socket's state.
func MarkState(state *atomic.Uint32, bit uint32, on bool) {
	if on {
		state.Or(bit)
	} else {
		state.And(^bit)
	}
}

// SendFull reports whether a send has to wait for space.
func (s *Sender) SendFull() bool { return s.state.Load()&stateSendFull != 0 }

// NoSpace is for a send that SendFull refuses.
func (s *Sender) NoSpace() unix.Errno {
	s.missed.Store(true)
	return unix.EAGAIN
}

// noRoom is for a send for which there was no room in a device.
func (s *Sender) noRoom(to *WayOut) {
	s.missed.Store(true)
	s.full.Store(to)
	if s.host.IsWatched() {
		s.Rooms.arm(s, to)
	}
}

// Writable reports what EPOLLOUT does: Linux' sock_writeable.
func (s *Sender) Writable() bool { return s.WritableHere() && s.stuckOn() == nil }

// WritableHere is writable as far as it is known without asking a device.
func (s *Sender) WritableHere() bool {
	return s.Charged.Load()+1 < s.limit.Load()>>1 && s.state.Load()&stateSendBehind == 0
}

// stuckOn returns a way out in whose device there is no room for the socket, nil if
// there is none.
func (s *Sender) stuckOn() *WayOut {
	for q := range s.Own.all {
		if !q.hasRoom() {
			s.full.Store(q)
			return q
		}
	}
	if list := s.Own.Shares.Load(); list != nil {
		for _, d := range *list {
			// Where others send too it does not matter: see moveAside.
			if d.Sharers.Load() < 2 && !d.Queue.hasRoom() {
				s.full.Store(d.Queue)
				return d.Queue
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

// Missing notes that somebody wants to hear of room.
func (s *Sender) Missing() {
	s.missed.Store(true)
	to := s.full.Load()
	if behind := s.BehindOn(); behind != nil {
		to = behind
	}
	if to != nil && s.host.IsWatched() {
		s.Rooms.arm(s, to)
	}
}

// TellSent is sent for a socket that is watched.
func (s *Sender) TellSent() {
	if s.WritableHere() && s.full.Load() == nil && s.Own.list.Load() == nil || s.Writable() {
		s.host.TellEvents(drive.Out) // who looks for itself, and asks the device
	} else {
		s.armFull()
	}
}

// armFull has those who watch the socket told when the device that is full has room.
func (s *Sender) armFull() {
	if to := s.stuckOn(); to != nil {
		s.Rooms.arm(s, to)
	} else if s.Writable() { // meanwhile
		s.host.TellEvents(drive.Out)
	}
}

// Pause waits until a send that found the send buffer full may be tried again. It
// returns false if the call ends instead.
func (s *Sender) Pause(flags int, deadline int64) bool {
	if flags&unix.MSG_DONTWAIT != 0 || s.state.Load()&stateSendEnds != 0 || s.over(deadline) {
		return false
	}
	if to := s.BehindOn(); to != nil {
		s.sleepForRoom(to, deadline)
		return true
	}
	if !s.SendFull() && !s.host.HasPort() {
		return false // no port was free
	}
	s.wait(func() bool { return !s.SendFull() || s.state.Load()&stateSendEnds != 0 }, nil, deadline)
	return true
}

// wait waits until ready, until there is room in what sources tell of, or until
// the call is over.
func (s *Sender) wait(ready func() bool, sources *drive.Sources, deadline int64) {
	c := drive.Call{Spin: &s.spin, Deadline: deadline, Until: &s.Until, Budget: s.spin.Budget(),
		Sources: sources, List: s.watches, Events: eventsSend}
	s.Drive.Wait(&drive.Goal{Ready: ready}, &c)
	s.Drive.Finish(&c)
}

// over reports whether a call that sends may not wait any longer.
func (s *Sender) over(deadline int64) bool {
	deadline = min(deadline, s.Until.At())
	return deadline != drive.Never && s.Clock.Now() >= deadline
}

// eventsSend is what wakes a call that waits for space to send.
const eventsSend = drive.Out | drive.Room | unix.EPOLLERR | unix.EPOLLHUP
