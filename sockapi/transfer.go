package sockapi

import (
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
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

// Flags that the calls know. Others are ignored, as Linux ignores them.
const (
	recvStackFlags = unix.MSG_DONTWAIT | unix.MSG_PEEK | unix.MSG_TRUNC
	sendStackFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL | unix.MSG_OOB | unix.MSG_MORE |
		unix.MSG_DONTROUTE | unix.MSG_CONFIRM
)

// Recv receives one datagram into p and returns the number of bytes stored, or
// with MSG_TRUNC the datagram's length. Further flags: MSG_DONTWAIT, MSG_PEEK.
// EAGAIN: none is there, or none came within SO_RCVTIMEO. A pending error, such
// as ECONNREFUSED, is returned once.
func (s *Socket) Recv(p []byte, flags int) (int, error) {
	if s.oob == nil {
		n, _, err := s.kernel.recvfrom(p, flags)
		return n, err
	}
	n, _, err := s.recv(p, flags)
	return n, err
}

// Recvfrom is Recv, and returns the source too.
func (s *Socket) Recvfrom(p []byte, flags int) (int, Sockaddr, error) {
	if s.oob == nil {
		return s.kernel.recvfrom(p, flags)
	}
	n, info, err := s.recv(p, flags)
	if err != nil {
		return 0, Sockaddr{}, err
	}
	return n, s.source(&info), nil
}

func (s *Socket) recv(p []byte, flags int) (int, stack.Info, error) {
	if flags&^recvStackFlags != 0 {
		if err := s.refuses(flags); err != nil {
			return 0, stack.Info{}, err
		}
	}
	if flags&unix.MSG_ERRQUEUE != 0 {
		m := Msghdr{Iov: [][]byte{p}}
		n, err := s.recvError(&m, flags)
		return n, stack.Info{From: m.Name.IP4(), FromPort: m.Name.Port, Interface: 1, Home: 1}, err
	}
	n, info, err := s.oob.Recv(p, flags&recvStackFlags|int(s.nonblock.Load()), s.deadline(&s.rcvTimeout))
	if err == nil {
		s.stamp.received(&info)
	}
	if s.tellsLength(flags) && info.Len > n {
		n = info.Len
	}
	return n, info, err
}

// tellsLength reports whether a call returns a datagram's whole length: Linux'
// ping sockets do not.
func (s *Socket) tellsLength(flags int) bool {
	return flags&unix.MSG_TRUNC != 0 && !s.ping()
}

// ping reports whether the socket is a ping socket.
func (s *Socket) ping() bool { return s.typ == unix.SOCK_DGRAM && s.proto == unix.IPPROTO_ICMP }

// source returns the address that a datagram came from; none if there was no
// datagram (a shut-down socket).
func (s *Socket) source(info *stack.Info) Sockaddr {
	if info.Interface == 0 {
		return Sockaddr{}
	}
	if s.isPacket() {
		return packetSource(info)
	}
	return Inet4(info.From, info.FromPort)
}

// Recvmsg receives one datagram, scattered over m.Iov, as Recv does, and stores
// its source in m.Name. m.Flags has MSG_TRUNC if it did not fit.
func (s *Socket) Recvmsg(m *Msghdr, flags int) (int, error) {
	if s.oob == nil {
		return s.kernel.recvmsg(m, flags)
	}
	if err := s.refuses(flags); err != nil {
		return 0, err
	}
	if flags&unix.MSG_ERRQUEUE != 0 {
		return s.recvError(m, flags)
	}
	if len(m.Iov) > maxBuffers {
		return 0, s.orClosed(unix.EMSGSIZE)
	}
	b := s.api.batch(1)
	defer s.api.release(b)
	b.in[0].Buffers = m.Iov
	if _, err := s.oob.RecvMessages(b.in[:1], flags&recvStackFlags|int(s.nonblock.Load()), s.deadline(&s.rcvTimeout)); err != nil {
		return 0, err
	}
	return s.storeMessage(m, &b.in[0], flags), nil
}

// storeMessage stores what a stack's message says in m, and returns its length.
func (s *Socket) storeMessage(m *Msghdr, in *stack.Message, flags int) int {
	m.Name, m.Flags, m.ControlLen = s.source(&in.Info), in.Flags|flags&unix.MSG_CMSG_CLOEXEC, 0
	s.stamp.received(&in.Info)
	if s.wants.Load() != 0 && in.Info.Interface != 0 {
		w := controlWriter{buf: m.Control}
		s.control(&w, &in.Info)
		m.ControlLen = w.n
		m.Flags |= w.flags
	}
	if s.tellsLength(flags) && in.Info.Len > in.N {
		return in.Info.Len
	}
	return in.N
}

// Recvmmsg receives up to len(msgs) datagrams and returns how many
// (recvmmsg(2)). It waits for all of them; with MSG_WAITFORONE for one only.
// timeout, if not negative, ends it after a datagram that came later than that.
// An error after the first datagram is returned by the next call.
func (s *Socket) Recvmmsg(msgs []Mmsghdr, flags int, timeout time.Duration) (int, error) {
	if s.oob == nil {
		return s.kernel.recvmmsg(msgs, flags, timeout)
	}
	if err := s.refuses(flags &^ unix.MSG_WAITFORONE); err != nil {
		return 0, err
	}
	if flags&unix.MSG_ERRQUEUE != 0 {
		return s.recvErrors(msgs, flags)
	}
	if len(msgs) == 0 { // as on Linux a pending error is told even so
		if e := s.oob.TakeError(); e != 0 {
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
	// Each call takes as many as are there, unless there is something to look
	// at after each datagram, or each is to see the first.
	each := len(msgs)
	if timeout >= 0 || flags&unix.MSG_PEEK != 0 {
		each = 1
	}
	stackFlags := flags&recvStackFlags | int(s.nonblock.Load())
	got := 0
	for got < len(msgs) {
		n, err := s.oob.RecvMessages(b.in[got:min(got+each, len(msgs))], stackFlags, s.deadline(&s.rcvTimeout))
		if err != nil {
			if got > 0 {
				s.oob.KeepError(err)
				return got, nil
			}
			return 0, err
		}
		for i := got; i < got+n; i++ {
			msgs[i].Len = s.storeMessage(&msgs[i].Hdr, &b.in[i], flags)
		}
		got += n
		if flags&unix.MSG_WAITFORONE != 0 {
			stackFlags |= unix.MSG_DONTWAIT
		}
		if timeout >= 0 && s.api.st.Deadline(0) >= end {
			break
		}
	}
	return got, nil
}

// recvErrors is Recvmmsg for the error queue.
func (s *Socket) recvErrors(msgs []Mmsghdr, flags int) (int, error) {
	for i := range msgs {
		n, err := s.recvError(&msgs[i].Hdr, flags)
		if err != nil {
			if i == 0 {
				return 0, err
			}
			return i, nil
		}
		msgs[i].Len = n
	}
	return len(msgs), nil
}

// maxBuffers is how many buffers a message has at most (UIO_MAXIOV).
const maxBuffers = 1024

// maxMessages is how many messages Sendmmsg takes at most (UIO_MAXIOV).
const maxMessages = 1024

// Send sends p to the peer as one datagram (send(2)) and returns len(p). Flags:
// MSG_DONTWAIT, MSG_NOSIGNAL, MSG_CONFIRM. Errors: EDESTADDRREQ, EMSGSIZE,
// ENETUNREACH, EPIPE, a pending error, and those of stack.Socket.Send.
func (s *Socket) Send(p []byte, flags int) (int, error) {
	if s.oob == nil {
		return s.kernel.sendto(p, flags, Sockaddr{})
	}
	err := s.oob.Send(p, flags&sendStackFlags|int(s.nonblock.Load()), s.deadline(&s.sndTimeout))
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Sendto is Send to an address; the zero one is the peer.
func (s *Socket) Sendto(p []byte, flags int, to Sockaddr) (int, error) {
	switch {
	case s.oob == nil:
		return s.kernel.sendto(p, flags, to)
	case to.IsZero():
		return s.Send(p, flags)
	case s.isPacket():
		return s.sendFrame(p, flags, to)
	case to.Family != unix.AF_INET:
		s.oob.Autobind()
		return 0, s.orClosed(to.notInet())
	}
	err := s.oob.SendTo(p, flags&sendStackFlags|int(s.nonblock.Load()), s.deadline(&s.sndTimeout), to.AddrPort())
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Sendmsg sends one datagram gathered from m.Iov to m.Name, or to the peer if
// that is zero (sendmsg(2)).
func (s *Socket) Sendmsg(m *Msghdr, flags int) (int, error) {
	if s.oob == nil {
		return s.kernel.sendmsg(m, flags)
	}
	b := s.api.batch(1)
	defer s.api.release(b)
	n, err := b.fill(s, 0, m)
	if err != nil {
		return 0, s.orClosed(err)
	}
	if _, err := s.oob.SendMessages(b.out[:1], flags&sendStackFlags|int(s.nonblock.Load()), s.deadline(&s.sndTimeout)); err != nil {
		return 0, err
	}
	return n, nil
}

// fill makes the stack's message i of m, and returns its length.
func (b *batch) fill(s *Socket, i int, m *Msghdr) (int, error) {
	out := &b.out[i]
	if len(m.Iov) > maxBuffers {
		return 0, unix.EMSGSIZE
	}
	if s.isPacket() {
		return m.len(), b.fillFrame(s, i, m)
	}
	if !m.Name.IsZero() && m.Name.Family != unix.AF_INET {
		s.oob.Autobind()
		return 0, m.Name.notInet()
	}
	out.Buffers, out.To, out.Options, out.Link = m.Iov, m.Name.AddrPort(), nil, nil
	if len(m.Control) > 0 {
		o := &b.opts[i]
		*o = stack.SendOptions{}
		if err := s.parseControl(m.Control, o); err != nil {
			s.oob.Autobind()
			return 0, err
		}
		out.Options = o
	}
	return m.len(), nil
}

// len returns the length of what is gathered.
func (m *Msghdr) len() int {
	n := 0
	for _, v := range m.Iov {
		n += len(v)
	}
	return n
}

// Sendmmsg sends several datagrams, with as few system calls as the link can,
// and returns how many were sent (sendmmsg(2)); the error is nil if any was.
func (s *Socket) Sendmmsg(msgs []Mmsghdr, flags int) (int, error) {
	if s.oob == nil {
		return s.kernel.sendmmsg(msgs, flags)
	}
	msgs = msgs[:min(len(msgs), maxMessages)]
	b := s.api.batch(len(msgs))
	defer s.api.release(b)
	fit := len(msgs)
	for i := range msgs {
		n, err := b.fill(s, i, &msgs[i].Hdr)
		if err != nil {
			if i == 0 {
				return 0, s.orClosed(err)
			}
			fit = i
			break
		}
		msgs[i].Len = n
	}
	return s.oob.SendMessages(b.out[:fit], flags&sendStackFlags|int(s.nonblock.Load()), s.deadline(&s.sndTimeout))
}

// batch is the stack's view of messages, reused from call to call.
type batch struct {
	in    []stack.Message
	out   []stack.OutMessage
	opts  []stack.SendOptions // of out
	links []stack.LinkAddr    // of out, if a packet socket has used it
}

func (a *API) batch(n int) *batch {
	b := a.msgs.Get().(*batch)
	if len(b.in) < n {
		b.in = make([]stack.Message, n)
		b.out = make([]stack.OutMessage, n)
		b.opts = make([]stack.SendOptions, n)
	}
	return b
}

// release gives a batch back, without the caller's buffers.
func (a *API) release(b *batch) {
	for i := range b.in {
		if b.in[i].Buffers == nil && b.out[i].Buffers == nil {
			break
		}
		b.in[i].Buffers, b.out[i].Buffers = nil, nil
	}
	a.msgs.Put(b)
}
