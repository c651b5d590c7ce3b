package sockapi

import (
	"sync/atomic"
	"time"

	"github.com/outband/outband/sockapi/internal/epoll"
	"github.com/outband/outband/sockapi/internal/ioctl"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/sockapi/internal/readiness"
	"github.com/outband/outband/stack"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A stackSocket is an out-of-band socket: the stack's, with what BSD's calls say of
// a socket beside that.
type stackSocket struct {
	option.State
	api *API

	outside  readiness.Outside
	nonblock atomic.Int32 // unix.MSG_DONTWAIT or 0
	status   atomic.Int32 // flags of F_SETFL that are only kept
	stamp    ioctl.Stamp
}

func (s *stackSocket) outOfBand() bool { return true }

func (s *stackSocket) closed() bool { return s.K.Closed() }

// orClosed is that of Socket.
func (s *stackSocket) orClosed(err error) error {
	if s.K.Closed() {
		return unix.EBADF
	}
	return err
}

func (s *stackSocket) setNonblock(on bool) error {
	if s.K.Closed() {
		return unix.EBADF
	}
	v := int32(0)
	if on {
		v = unix.MSG_DONTWAIT
	}
	s.nonblock.Store(v)
	return nil
}

func (s *stackSocket) bind(local Sockaddr) error {
	switch {
	case s.IsPacket():
		return s.bindPacket(local)
	case s.IsRaw():
		return s.bindRaw(local)
	case local.Family == unix.AF_INET:
	case local.Family == unix.AF_UNSPEC && local.IP4() == [4]byte{}:
		// Linux' inet_bind takes AF_UNSPEC for AF_INET with the zero address.
		local = Inet4([4]byte{}, local.Port)
	default:
		return s.orClosed(local.notInet())
	}
	return s.Socket.Bind(local.AddrPort())
}

// bindRaw is bind for a raw socket: like Linux it looks at the length of the
// address, and not at its family.
func (s *stackSocket) bindRaw(local Sockaddr) error {
	var buf [addrSize]byte
	if n := local.encode(&buf); n < inet4Len {
		return s.orClosed(unix.EINVAL)
	}
	return s.Socket.Bind(Inet4([4]byte(buf[4:8]), 0).AddrPort())
}

func (s *stackSocket) connect(peer Sockaddr) error {
	if s.IsPacket() {
		return s.orClosed(unix.EOPNOTSUPP)
	}
	switch peer.Family {
	case unix.AF_UNSPEC:
		return s.Socket.Disconnect()
	case unix.AF_INET:
		return s.Socket.Connect(peer.AddrPort())
	default:
		return s.orClosed(peer.notInet())
	}
}

func (s *stackSocket) getsockname() (Sockaddr, error) {
	if s.K.Closed() {
		return Sockaddr{}, unix.EBADF
	}
	if s.IsPacket() {
		return s.packetName(), nil
	}
	return InetAddrPort(s.Socket.LocalAddr()), nil
}

func (s *stackSocket) getpeername() (Sockaddr, error) {
	if s.IsPacket() {
		return Sockaddr{}, s.orClosed(unix.EOPNOTSUPP)
	}
	if s.K.Closed() {
		return Sockaddr{}, unix.EBADF
	}
	peer, ok := s.Socket.RemoteAddr()
	if !ok {
		return Sockaddr{}, unix.ENOTCONN
	}
	return InetAddrPort(peer), nil
}

func (s *stackSocket) listen(int) error { return s.orClosed(unix.EOPNOTSUPP) }

func (s *stackSocket) accept(int) (*Socket, Sockaddr, error) {
	return nil, Sockaddr{}, s.orClosed(unix.EOPNOTSUPP)
}

func (s *stackSocket) shutdown(how int) error {
	if s.IsPacket() {
		return s.orClosed(unix.EOPNOTSUPP)
	}
	return s.Socket.Shutdown(how)
}

func (s *stackSocket) close() error {
	defer s.outside.CloseFD()
	return s.K.Close()
}

// deadline returns when a call with this time-out ends.
func (s *stackSocket) deadline(timeout *atomic.Int64) int64 {
	if t := timeout.Load(); t != 0 {
		return s.api.st.Deadline(time.Duration(t))
	}
	return stack.NoDeadline
}

func (s *stackSocket) epollCtl(e *epoll.Set, op int, ev epoll.Event) error {
	return e.Ctl(op, s, ev)
}

// Of, Closed, EventsOf, Watch and Unwatch are for Epolls.
func (s *stackSocket) Of(st *stack.Stack) bool { return s.Stack == st }

func (s *stackSocket) Closed() bool { return s.K.Closed() }

func (s *stackSocket) EventsOf(want uint32) uint32 { return s.K.EventsOf(want) }

func (s *stackSocket) Watch(w *stack.Watch) error { return s.K.Watch(w) }

func (s *stackSocket) Unwatch(w *stack.Watch) { s.K.Unwatch(w) }

func (s *stackSocket) ChangeWatch(w *stack.Watch, change func(w *stack.Watch)) {
	s.K.ChangeWatch(w, change)
}

func (s *stackSocket) pollFD() (int, error) { return s.outside.FD() }

func (s *stackSocket) waited(took int64) { stack.Waited(s.K, took) }

func (s *stackSocket) setPollEdges(on bool) error {
	s.outside.SetEdges(on)
	return s.orClosed(nil)
}

// holdFD returns no descriptor: events and watch tell.
func (s *stackSocket) holdFD() (int, error) {
	if s.K.Closed() {
		return -1, unix.EBADF
	}
	return -1, nil
}

func (s *stackSocket) releaseFD() {}

func (s *stackSocket) events(want uint32) uint32 { return s.K.EventsOf(want) }

func (s *stackSocket) watch(w *stack.Watch) bool { return s.K.Watch(w) == nil }

func (s *stackSocket) unwatch(w *stack.Watch) { s.K.Unwatch(w) }

func (s *stackSocket) setsockopt(level, name int, value []byte) error {
	return s.State.Set(level, name, value)
}

func (s *stackSocket) getsockopt(level, name int, value []byte) (int, error) {
	return s.State.Get(level, name, value)
}

func (s *stackSocket) attachFilter(program []bpf.RawInstruction) error {
	return s.State.AttachFilter(program)
}

func (s *stackSocket) attachReusePort(program []bpf.RawInstruction) error {
	return s.State.AttachReusePort(program)
}

func (s *stackSocket) holder() (int, error) {
	if s.K.Closed() {
		return -1, unix.EBADF
	}
	if s.UDP != nil {
		if fd, ok := s.UDP.HolderFD(); ok {
			return fd, nil
		}
	}
	return -1, unix.ENOENT
}
