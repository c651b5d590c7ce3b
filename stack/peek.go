package stack

import (
	"sync/atomic"

	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// Peeking at an offset (SO_PEEK_OFF in socket(7)). A socket that does has receive
// extras, and its calls leave the common way where they look at its state.

// recvPlain is a flag of receive's own, beside those of recvmsg(2): the peek offset
// does not matter to this call.
const recvPlain = 1 << 30

// SetPeekOffset has MSG_PEEK begin at an offset in bytes into what is queued,
// datagram after datagram, which each such call moves on by what it returns; a
// call that takes datagrams moves it back, to 0 at least. Negative: MSG_PEEK looks
// at the beginning, as ever.
func (k *Endpoint) SetPeekOffset(off int32) {
	k.recvExtras.peek.Store(int64(off) + 1)
	k.markReceiveExtras()
}

// PeekOffset returns where MSG_PEEK begins; -1 if SetPeekOffset was never called.
func (k *Endpoint) PeekOffset() int32 { return int32(k.recvExtras.peek.Load() - 1) }

// peeksAtOffset reports whether receive calls have to look at the offset.
func (x *receiveExtras) peeksAtOffset() bool { return x.peek.Load() > 0 }

// movePeek adds n bytes to the offset, as Linux' sk_peek_offset_bwd does.
func (k *Endpoint) movePeek(n int) {
	for {
		was := k.recvExtras.peek.Load()
		if was <= 0 || k.recvExtras.peek.CompareAndSwap(was, 1+int64(max(int32(was-1+int64(n)), 0))) {
			return
		}
	}
}

// receiveAtOffset is receive for a socket with a peek offset.
func (s *Stack) receiveAtOffset(k *Endpoint, t *queue.Target, flags int, deadline int64, h *Handle) unix.Errno {
	if flags&unix.MSG_PEEK == 0 {
		e := s.receive(k, t, flags|recvPlain, deadline, h)
		if e == 0 {
			k.movePeek(-t.Returned(flags))
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
		case k.state.Load()&stateShutRead != 0:
			t.Count, t.N, t.Info = 0, 0, Info{}
			return 0
		}
	}
}

// peekOnce peeks if there is something at the offset, or an error.
func (k *Endpoint) peekOnce(t *queue.Target, flags int) (e unix.Errno, done bool) {
	if k.state.Load()&stateClosed != 0 {
		return unix.EBADF, true
	}
	if e := k.TakeError(); e != 0 {
		return e, true
	}
	if !k.queue.PeekAt(t, max(int(k.PeekOffset()), 0)) {
		return 0, false
	}
	k.movePeek(t.Returned(flags))
	return 0, true
}
