package sockapi

import (
	"time"

	"github.com/outband/outband/sockapi/internal/ancillary"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// recvStackFlags are the flags of receiving calls that the stack knows. Others are
// ignored, as Linux ignores them.
const recvStackFlags = unix.MSG_DONTWAIT | unix.MSG_PEEK | unix.MSG_TRUNC

func (s *stackSocket) recv(p []byte, flags int) (int, error) {
	n, _, err := s.recvInfo(p, flags)
	return n, err
}

func (s *stackSocket) recvfrom(p []byte, flags int) (int, Sockaddr, error) {
	n, info, err := s.recvInfo(p, flags)
	if err != nil {
		return 0, Sockaddr{}, err
	}
	return n, s.source(&info), nil
}

// recvInfo receives into p. Hot path: no allocation.
func (s *stackSocket) recvInfo(p []byte, flags int) (int, stack.Info, error) {
	if flags&^recvStackFlags != 0 {
		if err := s.refuses(flags); err != nil {
			return 0, stack.Info{}, err
		}
	}
	if flags&unix.MSG_ERRQUEUE != 0 {
		r, err := s.recvError([][]byte{p}, nil, flags)
		return r.n, stack.Info{From: r.name.IP4(), FromPort: r.name.Port, Interface: 1, Home: 1}, err
	}
	n, info, err := s.K.Recv(p, flags&recvStackFlags|int(s.nonblock.Load()), s.deadline(&s.RcvTimeout))
	if err == nil {
		s.stamp.Received(&info)
	}
	if s.tellsLength(flags) && info.Len > n {
		n = info.Len
	}
	return n, info, err
}

// tellsLength reports whether a call returns a datagram's whole length: Linux'
// ping sockets do not.
func (s *stackSocket) tellsLength(flags int) bool {
	return flags&unix.MSG_TRUNC != 0 && !s.IsPing()
}

// source returns the address that a datagram came from; none if there was no
// datagram (a shut-down socket).
func (s *stackSocket) source(info *stack.Info) Sockaddr {
	if info.Interface == 0 {
		return Sockaddr{}
	}
	if s.IsPacket() {
		return packetSource(info)
	}
	return Inet4(info.From, info.FromPort)
}

func (s *stackSocket) recvmsg(iov [][]byte, control []byte, flags int) (received, error) {
	return s.recvmsgWith(nil, iov, control, flags)
}

// recvmsgWith is a hot path: no allocation, and what is received is written once.
func (s *stackSocket) recvmsgWith(h *stack.Handle, iov [][]byte, control []byte, flags int) (r received, err error) {
	if err := s.refuses(flags); err != nil {
		return r, err
	}
	if flags&unix.MSG_ERRQUEUE != 0 {
		return s.recvError(iov, control, flags)
	}
	if len(iov) > maxBuffers {
		return r, s.orClosed(unix.EMSGSIZE)
	}
	b := s.api.batch(1)
	b.in[0].Buffers = iov
	_, err = s.K.RecvMessagesWith(h, b.in[:1], flags&recvStackFlags|int(s.nonblock.Load()), s.deadline(&s.RcvTimeout))
	if err == nil {
		s.tell(&r, &b.in[0], control, flags)
	}
	s.api.release(b)
	return r, err
}

// tell stores in r what the stack says of a message, and its control messages in
// control. r is zero.
func (s *stackSocket) tell(r *received, in *stack.Message, control []byte, flags int) {
	r.n, r.flags = in.N, in.Flags|flags&unix.MSG_CMSG_CLOEXEC
	switch {
	case in.Info.Interface == 0: // no datagram, but a shut-down socket
	case s.IsPacket():
		r.name = packetSource(&in.Info)
	default:
		r.name.Family, r.name.Port = unix.AF_INET, in.Info.FromPort
		copy(r.name.addr[:], in.Info.From[:])
	}
	s.stamp.Received(&in.Info)
	if s.Wants.Load() != 0 && in.Info.Interface != 0 {
		w := cmsg.Writer{Buf: control}
		ancillary.Put(&s.State, &w, &in.Info)
		r.controlLen = w.N
		r.flags |= w.Flags
	}
	if s.tellsLength(flags) && in.Info.Len > in.N {
		r.n = in.Info.Len
	}
}

func (s *stackSocket) recvmmsg(msgs []Mmsghdr, flags int, timeout time.Duration) (int, error) {
	return s.recvMany(nil, msgs, flags, timeout)
}

func (s *stackSocket) recvmmsgWith(h *stack.Handle, msgs []Mmsghdr, flags int) (int, error) {
	return s.recvMany(h, msgs, flags|unix.MSG_WAITFORONE, -1)
}

func (s *stackSocket) recvMany(h *stack.Handle, msgs []Mmsghdr, flags int, timeout time.Duration) (int, error) {
	if err := s.refuses(flags &^ unix.MSG_WAITFORONE); err != nil {
		return 0, err
	}
	if flags&unix.MSG_ERRQUEUE != 0 {
		return s.recvErrors(msgs, flags)
	}
	if len(msgs) == 0 { // as on Linux a pending error is told even so
		if e := s.K.Errors().Take(); e != 0 {
			return 0, e
		}
		return 0, s.orClosed(nil)
	}
	end := s.api.st.Deadline(timeout)
	b := s.api.batch(len(msgs))
	defer s.api.release(b)
	for i := range msgs {
		if len(msgs[i].Hdr.Iov) > maxBuffers {
			if i == 0 {
				return 0, s.orClosed(unix.EMSGSIZE)
			}
			msgs = msgs[:i]
			break
		}
		b.in[i].Buffers = msgs[i].Hdr.Iov
	}
	return s.recvBatch(h, b, msgs, flags, timeout >= 0, end)
}

// recvBatch fills msgs, whose buffers are in b. If it is timed, end ends that.
func (s *stackSocket) recvBatch(h *stack.Handle, b *batch, msgs []Mmsghdr, flags int, timed bool, end int64) (int, error) {
	// Each call takes as many as are there, unless there is something to look
	// at after each datagram, or each is to see the first.
	each := len(msgs)
	if timed || flags&unix.MSG_PEEK != 0 {
		each = 1
	}
	stackFlags := flags&recvStackFlags | int(s.nonblock.Load())
	got := 0
	for got < len(msgs) {
		n, err := s.K.RecvMessagesWith(h, b.in[got:min(got+each, len(msgs))], stackFlags, s.deadline(&s.RcvTimeout))
		if err != nil {
			if got > 0 {
				s.K.Errors().Keep(err)
				return got, nil
			}
			return 0, err
		}
		for i := got; i < got+n; i++ {
			var r received
			s.tell(&r, &b.in[i], msgs[i].Hdr.Control, flags)
			msgs[i].Len = r.store(&msgs[i].Hdr)
		}
		got += n
		if flags&unix.MSG_WAITFORONE != 0 {
			stackFlags |= unix.MSG_DONTWAIT
		}
		if timed && s.api.st.Deadline(0) >= end {
			break
		}
	}
	return got, nil
}

// recvErrors is recvmmsg for the error queue.
func (s *stackSocket) recvErrors(msgs []Mmsghdr, flags int) (int, error) {
	for i := range msgs {
		m := &msgs[i].Hdr
		r, err := s.recvError(m.Iov, m.Control, flags)
		if err != nil {
			if i == 0 {
				return 0, err
			}
			return i, nil
		}
		msgs[i].Len = r.store(m)
	}
	return len(msgs), nil
}

// recvError receives from the error queue (MSG_ERRQUEUE in recvmsg(2)): the
// payload of the datagram that the error is about, its destination as the
// name, and a struct sock_extended_err with the offender in a control message.
// EAGAIN if the queue is empty.
func (s *stackSocket) recvError(iov [][]byte, control []byte, flags int) (received, error) {
	if s.K.Closed() {
		return received{}, unix.EBADF
	}
	e, ok := s.K.Errors().TakeQueued()
	if !ok {
		return received{}, unix.EAGAIN
	}
	r := received{flags: unix.MSG_ERRQUEUE | flags&unix.MSG_CMSG_CLOEXEC}
	for _, b := range iov {
		r.n += copy(b, e.Payload[r.n:])
	}
	if r.n < len(e.Payload) {
		r.flags |= unix.MSG_TRUNC
	}
	if e.Origin != unix.SO_EE_ORIGIN_TIMESTAMPING && e.Origin != unix.SO_EE_ORIGIN_TXTIME {
		r.name = Inet4(e.Dst, e.DstPort)
	}
	w := cmsg.Writer{Buf: control}
	ancillary.PutError(&s.State, &w, &e)
	r.controlLen = w.N
	r.flags |= w.Flags
	return r, nil // its length is what was copied, with MSG_TRUNC too
}
