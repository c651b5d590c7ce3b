package sockapi

import (
	"github.com/outband/outband/sockapi/internal/ancillary"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"golang.org/x/sys/unix"
)

// recvError receives from the error queue (MSG_ERRQUEUE in recvmsg(2)): the
// payload of the datagram that the error is about, its destination as the
// name, and a struct sock_extended_err with the offender in a control message.
// EAGAIN if the queue is empty.
func (s *stackSocket) recvError(iov [][]byte, control []byte, flags int) (received, error) {
	if s.K.Closed() {
		return received{}, unix.EBADF
	}
	e, ok := s.K.TakeQueuedError()
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
