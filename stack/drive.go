package stack

import (
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// eventsReceive is what wakes a call that waits for a datagram.
const eventsReceive = EventsIn | drive.More | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLRDHUP

// eventsSend is what wakes a call that waits for space to send.
const eventsSend = EventsOut | drive.Room | unix.EPOLLERR | unix.EPOLLHUP

// glance has a look for a datagram of k's, if nobody leads the lane that brings it, before
// anything is made ready to wait: under load there is one.
func (s *Stack) glance(k *Endpoint, t *queue.Target) bool {
	l := &s.lanes.first
	if n := k.lane.Load(); n > 1 {
		l = (*s.lanes.all.Load())[n-1]
	}
	if l.drive.Lock.Wanted() || !l.drive.Lock.Try(drive.Held) {
		return false
	}
	cold := false
	found := l.pumpFor(k, t, &cold)
	l.end()
	return found&drive.Done != 0
}

// receive waits until deadline for a datagram for k and stores it in t. Who drives the
// links meanwhile is package drive's.
func (s *Stack) receive(k *Endpoint, t *queue.Target, flags int, deadline int64, h *Handle) unix.Errno {
	peek := flags&unix.MSG_PEEK != 0
	if !peek && k.state.Load() == 0 && k.queue.N.Load() == 0 && s.glance(k, t) {
		return 0
	}
	blocking := flags&unix.MSG_DONTWAIT == 0
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
	g := drive.Goal{Queued: &k.queue.N, State: &k.state, Bits: stateReceive}
	cold := c.Budget > 0
	if !peek {
		g.Pump = func(l drive.Pumper) drive.Outcome { return l.(*lane).pumpFor(k, t, &cold) }
	}
	for first := true; ; first = false {
		if st := k.state.Load(); st != 0 {
			if st&stateRecvExtras != 0 && flags&recvPlain == 0 && k.recvExtras.peeksAtOffset() {
				return s.receiveAtOffset(k, t, flags, deadline, h)
			}
			if e, done := k.interrupted(t, blocking); done {
				s.drive.Finish(&c)
				return e
			}
		}
		if k.queue.N.Load() > 0 {
			if ok, left := k.queue.Take(&s.pool, t, peek); ok {
				if left {
					k.watches.Tell(drive.More)
				}
				k.drained()
				s.drive.Finish(&c)
				return 0
			}
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
