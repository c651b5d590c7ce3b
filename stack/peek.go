package stack

import (
	"sync/atomic"

	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// Peeking at an offset (SO_PEEK_OFF in socket(7)). A socket that does has receive
// extras, and its calls leave the common way where they look at its state.

// recvPlain is a flag of receive's own, beside those of recvmsg(2): the peek offset
// does not matter to this call.
const recvPlain = 1 << 30

// receiveAtOffset is receive for a socket with a peek offset.
func (s *Stack) receiveAtOffset(k *Endpoint, t *queue.Target, flags int, deadline int64, h *Handle) unix.Errno {
	if flags&unix.MSG_PEEK == 0 {
		e := s.receive(k, t, flags|recvPlain, deadline, h)
		if e == 0 {
			k.receiving.MovePeek(-t.Returned(flags))
		}
		return e
	}
	e, done := k.peekOnce(t, flags)
	if done {
		return e
	}
	var fired atomic.Bool
	g := s.NewWaiter(fired.Load)
	w := Watch{Notify: func(uint32) bool { fired.Store(true); return g.Wake() }}
	if k.Watch(&w) != nil {
		return unix.EBADF
	}
	defer k.Unwatch(&w)
	g.Poll()
	patient := flags&unix.MSG_DONTWAIT == 0
	for v := drive.Ready; ; v = g.WaitFor(drive.Call{Deadline: deadline, Until: &k.readBy, Handle: h}) {
		fired.Store(false)
		if e, done := k.peekOnce(t, flags); done {
			return e
		}
		switch {
		case v == drive.Cut:
			return unix.EINTR
		case !patient || v != drive.Ready:
			return unix.EAGAIN
		case k.state.Load()&output.StateShutRead != 0:
			t.Count, t.N, t.Info = 0, 0, Info{}
			return 0
		}
	}
}

// peekOnce peeks if there is something at the offset, or an error.
func (k *Endpoint) peekOnce(t *queue.Target, flags int) (e unix.Errno, done bool) {
	if k.state.Load()&output.StateClosed != 0 {
		return unix.EBADF, true
	}
	if e := k.errors.Take(); e != 0 {
		return e, true
	}
	if !k.queue.PeekAt(t, max(int(k.receiving.PeekOffset()), 0)) {
		return 0, false
	}
	k.receiving.MovePeek(t.Returned(flags))
	return 0, true
}
