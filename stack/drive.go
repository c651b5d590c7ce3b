package stack

import (
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// eventsReceive is what wakes a call that waits for a datagram.
const eventsReceive = EventsIn | drive.More | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLRDHUP

// glance has a look for a datagram of k's, if nobody leads the lane that brings it, before
// anything is made ready to wait: under load there is one. It returns empty if there is
// nothing more to find either, in any lane.
func (s *Stack) glance(k *Endpoint, t *queue.Target) (done, empty bool) {
	l, lanes := &s.lanes.first, *s.lanes.all.Load()
	if n := k.lane.Load(); n > 1 {
		l = lanes[n-1]
	}
	if l.drive.Lock.Wanted() || !l.drive.Lock.Try(drive.Held) {
		return false, false
	}
	cold := false
	found := l.pumpFor(k, t, &cold)
	l.end()
	if found&drive.Done != 0 {
		return true, false
	}
	return false, found&drive.Full == 0 && len(lanes) == 1 && !k.ready()
}

// takeQueued takes what is queued, or looks at it. It returns false if nothing is.
func (k *Endpoint) takeQueued(t *queue.Target, peek bool) bool {
	ok, left := k.queue.Take(&k.s.pool, t, peek)
	if left {
		k.watches.Tell(drive.More)
	}
	if ok {
		k.watches.Drained()
	}
	return ok
}

// receive waits until deadline for a datagram for k and stores it in t.
func (s *Stack) receive(k *Endpoint, t *queue.Target, flags int, deadline int64, h *Handle) unix.Errno {
	peek := flags&unix.MSG_PEEK != 0
	switch {
	case k.state.Load() != 0:
	case k.queue.N.Load() > 0:
		if k.takeQueued(t, peek) {
			return 0
		}
	case !peek:
		switch done, empty := s.glance(k, t); {
		case done:
			return 0
		case empty && flags&unix.MSG_DONTWAIT != 0:
			return unix.EAGAIN
		}
	}
	return s.receiveSlow(k, t, flags, deadline, h)
}

// receiveSlow is receive for a call that has to wait, and for sockets whose state matters.
// Who drives the links meanwhile is package drive's.
func (s *Stack) receiveSlow(k *Endpoint, t *queue.Target, flags int, deadline int64, h *Handle) unix.Errno {
	peek, blocking := flags&unix.MSG_PEEK != 0, flags&unix.MSG_DONTWAIT == 0
	c := drive.Call{Spin: &k.spin, Deadline: deadline, Until: &k.readBy, Handle: h, Once: !blocking,
		List: &k.watches, Events: eventsReceive, Exclusive: true}
	if lane := k.lane.Load(); lane != 0 {
		c.Lane, c.Bound = int(lane)-1, true
	}
	if blocking {
		if c.Budget = k.spin.Budget(); c.Budget > 0 {
			k.prepareWarmup()
		}
	}
	g := drive.Goal{Queued: &k.queue.N, State: &k.state, Bits: output.StateReceive}
	cold := c.Budget > 0
	if !peek {
		g.Pump = func(l drive.Pumper) drive.Outcome { return l.(*lane).pumpFor(k, t, &cold) }
	}
	for first := true; ; first = false {
		if st := k.state.Load(); st != 0 {
			if st&output.StateRecvExtras != 0 && flags&recvPlain == 0 && k.recvExtras.Has(option.PeeksAtOffset) {
				return s.receiveAtOffset(k, t, flags, deadline, h)
			}
			if e, done := k.interrupted(t, blocking); done {
				s.drive.Finish(&c)
				return e
			}
		}
		if k.queue.N.Load() > 0 && k.takeQueued(t, peek) {
			s.drive.Finish(&c)
			return 0
		}
		if !blocking && !first {
			return unix.EAGAIN
		}
		switch s.drive.Wait(&g, &c) {
		case drive.Delivered:
			s.drive.Finish(&c)
			return 0
		case drive.Expired:
			s.drive.Finish(&c)
			return unix.EAGAIN
		case drive.Cut:
			s.drive.Finish(&c)
			return unix.EINTR
		}
	}
}
