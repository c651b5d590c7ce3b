package sockapi

import (
	"time"

	"github.com/outband/outband/stack"
)

// Msghdr is a message for Sendmsg and Recvmsg (struct msghdr in recvmsg(2)).
type Msghdr struct {
	// Name is the destination, zero for the peer; Recvmsg stores the source.
	Name Sockaddr
	// Iov is gathered from, or scattered to, in order.
	Iov [][]byte
	// Control holds control messages (cmsg(3)); Recvmsg stores up to
	// len(Control) bytes of them and sets ControlLen.
	Control    []byte
	ControlLen int
	// Flags are what Recvmsg returns: MSG_TRUNC, MSG_CTRUNC, MSG_ERRQUEUE.
	Flags int
}

// Mmsghdr is one of several messages (struct mmsghdr in recvmmsg(2)).
type Mmsghdr struct {
	Hdr Msghdr
	// Len is how many bytes were sent or received.
	Len int
}

// Recv receives one datagram into p and returns the number of bytes stored, or
// with MSG_TRUNC the datagram's length. Further flags: MSG_DONTWAIT, MSG_PEEK.
// EAGAIN: none is there, or none came within SO_RCVTIMEO. A pending error, such
// as ECONNREFUSED, is returned once.
func (s *Socket) Recv(p []byte, flags int) (int, error) { return s.recv(p, flags) }

// Recvfrom is Recv, and returns the source too.
func (s *Socket) Recvfrom(p []byte, flags int) (int, Sockaddr, error) { return s.recvfrom(p, flags) }

// Recvmsg receives one datagram, scattered over m.Iov, as Recv does, and stores
// its source in m.Name. m.Flags has MSG_TRUNC if it did not fit.
func (s *Socket) Recvmsg(m *Msghdr, flags int) (int, error) {
	r, err := s.recvmsg(m.Iov, m.Control, flags)
	if err != nil {
		return 0, err
	}
	return r.store(m), nil
}

// Recvmmsg receives up to len(msgs) datagrams and returns how many
// (recvmmsg(2)). It waits for all of them; with MSG_WAITFORONE for one only.
// timeout, if not negative, ends it after a datagram that came later than that.
// An error after the first datagram is returned by the next call.
func (s *Socket) Recvmmsg(msgs []Mmsghdr, flags int, timeout time.Duration) (int, error) {
	return s.recvmmsg(msgs, flags, timeout)
}

// RecvmsgWith is Recvmsg for a call that h may cut short: EINTR. With h.Awake it does not
// sleep: EAGAIN when it has looked for the socket's budget. EOPNOTSUPP: an in-band socket,
// which waits in the kernel.
func (s *Socket) RecvmsgWith(h *stack.Handle, m *Msghdr, flags int) (int, error) {
	r, err := s.recvmsgWith(h, m.Iov, m.Control, flags)
	if err != nil {
		return 0, err
	}
	return r.store(m), nil
}

// RecvmmsgWith is RecvmsgWith for all datagrams that are there, up to len(msgs); it returns
// how many.
func (s *Socket) RecvmmsgWith(h *stack.Handle, msgs []Mmsghdr, flags int) (int, error) {
	return s.recvmmsgWith(h, msgs, flags)
}

// Send sends p to the peer as one datagram (send(2)) and returns len(p). Flags:
// MSG_DONTWAIT, MSG_NOSIGNAL, MSG_CONFIRM. Errors: EDESTADDRREQ, EMSGSIZE,
// ENETUNREACH, EPIPE, a pending error, and those of stack.Socket.Send.
func (s *Socket) Send(p []byte, flags int) (int, error) { return s.send(p, flags) }

// Sendto is Send to an address; the zero one is the peer.
func (s *Socket) Sendto(p []byte, flags int, to Sockaddr) (int, error) { return s.sendto(p, flags, to) }

// Sendmsg sends one datagram gathered from m.Iov to m.Name, or to the peer if
// that is zero (sendmsg(2)).
func (s *Socket) Sendmsg(m *Msghdr, flags int) (int, error) {
	return s.sendmsg(m.Name, m.Iov, m.Control, flags)
}

// Sendmmsg sends several datagrams, with as few system calls as the link can,
// and returns how many were sent (sendmmsg(2)); the error is nil if any was.
func (s *Socket) Sendmmsg(msgs []Mmsghdr, flags int) (int, error) { return s.sendmmsg(msgs, flags) }
