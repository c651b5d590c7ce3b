package sockapi

import (
	"math"
	"time"

	"github.com/outband/outband/internal/clock"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// The calls of EVL's libevl (evl/net/socket.h and evl/net/net.h), for programs
// that come from there. They differ from the BSD calls in this:
//
//   - A wait ends at a date, an absolute time of CLOCK_MONOTONIC, with ETIMEDOUT.
//     SO_RCVTIMEO and SO_SNDTIMEO do not count. [API.Date] makes one.
//   - Flags that a call does not know are EINVAL, and so is a destination whose
//     address or port is zero.
//   - Times of CLOCK_MONOTONIC come with what is received, and can be read in bulk
//     for what was sent: see SO_TIMESTAMP_OOB.
//
// # Unknown neighbours
//
// EVL hands a datagram whose neighbour it does not know to the kernel's stack,
// and tells by EINPROGRESS that it has left the out-of-band path. Here it never
// leaves that: it is queued, an ARP request goes out, and the answer sends it. So
// a send simply succeeds. With MSG_PROBE the call says so: the datagram is
// queued all the same, and the call returns EINPROGRESS. A program that waits in
// [Socket.Solicit] first does not see either.

const (
	// MSG_PROBE has OobSendmsg return EINPROGRESS if the datagram waits for its
	// neighbour. It is Linux' number, which x/sys/unix does not have.
	MSG_PROBE = 0x10
	// MSG_TIMESTAMP has OobRecvmsg read the times of what was sent.
	MSG_TIMESTAMP = unix.MSG_ERRQUEUE

	// EVL_NEIGH_PERMANENT has Solicit make the neighbour permanent.
	EVL_NEIGH_PERMANENT = int(stack.SolicitPermanent)
	// EVL_NEIGH_MAYROUTE has Solicit accept a path over a gateway.
	EVL_NEIGH_MAYROUTE = int(stack.SolicitMayRoute)
)

// Flags of the calls; others are EINVAL.
const (
	oobRecvFlags = unix.MSG_DONTWAIT | unix.MSG_PEEK | MSG_TIMESTAMP
	oobSendFlags = unix.MSG_DONTWAIT | unix.MSG_DONTROUTE | unix.MSG_CONFIRM | unix.MSG_NOSIGNAL | MSG_PROBE
)

// Date returns the time of CLOCK_MONOTONIC in d from now, for OobRecvmsg and
// OobSendmsg.
func (a *API) Date(d time.Duration) *unix.Timespec {
	ts := unix.NsecToTimespec(clock.After(a.st.Monotonic(), int64(d))) // the furthest is without end
	return &ts
}

// deadlineAt returns a date as a deadline of the stack's; nil: never.
func (a *API) deadlineAt(date *unix.Timespec) (int64, error) {
	switch {
	case date == nil:
		return stack.NoDeadline, nil
	case date.Sec < 0 || date.Nsec < 0 || int64(date.Nsec) >= int64(time.Second):
		return 0, unix.EINVAL
	case int64(date.Sec) >= math.MaxInt64/int64(time.Second)-1:
		return stack.NoDeadline, nil
	}
	return a.st.DeadlineAt(date.Nano()), nil
}

// OobRecvmsg receives one datagram, scattered over m.Iov (EVL's oob_recvmsg). It
// waits until deadline, a time of CLOCK_MONOTONIC (see [API.Date]); nil: without
// end. Flags: MSG_DONTWAIT, MSG_PEEK, and MSG_TIMESTAMP, which see at
// [SO_TIMESTAMP_OOB]; others are EINVAL.
//
// m.Name and m.Flags are set as by Recvmsg. If the socket has EVL_SOF_TIMESTAMP_RX
// and there is a Control, the datagram's [IOTimes] are stored there; EINVAL if they
// do not fit. Without, Control gets what Recvmsg would store.
//
// Errors: ETIMEDOUT: the deadline is there. EAGAIN: nothing is there, with
// MSG_DONTWAIT or O_NONBLOCK. Others as for Recvmsg. Hot path: no allocation.
func (s *Socket) OobRecvmsg(m *Msghdr, deadline *unix.Timespec, flags int) (int, error) {
	if flags&^oobRecvFlags != 0 {
		return 0, s.orClosed(unix.EINVAL)
	}
	end, err := s.api.deadlineAt(deadline)
	if err != nil {
		return 0, s.orClosed(err)
	}
	r, err := s.oobRecvmsg(m.Iov, m.Control, flags, end)
	if err != nil {
		return 0, err
	}
	return r.store(m), nil
}

// OobSendmsg sends one datagram gathered from m.Iov to m.Name, or to the peer
// (EVL's oob_sendmsg). It waits for room in the send buffer and the device until
// deadline, a time of CLOCK_MONOTONIC; nil: without end. Flags: MSG_DONTWAIT,
// MSG_DONTROUTE, MSG_CONFIRM, MSG_NOSIGNAL, MSG_PROBE; others are EINVAL. An empty
// datagram is sent, as by Sendmsg; EVL sends none.
//
// Errors: ETIMEDOUT: the deadline is there. EAGAIN: there is no room, with
// MSG_DONTWAIT or O_NONBLOCK. EINPROGRESS: the datagram waits for its neighbour, and
// MSG_PROBE was given. EMULTIHOP: the path leads over a gateway, and MSG_DONTROUTE
// was given. EDESTADDRREQ: there is neither a name nor a peer. EINVAL: the name's
// address or port is zero. Others as for Sendmsg. Hot path: no allocation.
func (s *Socket) OobSendmsg(m *Msghdr, deadline *unix.Timespec, flags int) (int, error) {
	if flags&^oobSendFlags != 0 || s.nowhere(&m.Name) {
		return 0, s.orClosed(unix.EINVAL)
	}
	end, err := s.api.deadlineAt(deadline)
	if err != nil {
		return 0, s.orClosed(err)
	}
	return s.oobSendmsg(m.Name, m.Iov, m.Control, flags, end)
}

// nowhere reports whether a name is one that EVL does not send to.
func (s *Socket) nowhere(name *Sockaddr) bool {
	k := s.Is()
	return name.Family == unix.AF_INET && k.Domain == unix.AF_INET &&
		(name.IP4() == [4]byte{} || name.Port == 0 && k.Proto == unix.IPPROTO_UDP)
}

// OobRead receives one datagram into p, without end of time (EVL's oob_read).
func (s *Socket) OobRead(p []byte) (int, error) {
	iov := [1][]byte{p}
	m := Msghdr{Iov: iov[:]}
	return s.OobRecvmsg(&m, nil, 0)
}

// OobWrite sends p to the peer as one datagram (EVL's oob_write).
func (s *Socket) OobWrite(p []byte) (int, error) {
	iov := [1][]byte{p}
	m := Msghdr{Iov: iov[:]}
	return s.OobSendmsg(&m, nil, 0)
}

// Solicit resolves the neighbour on the way to peer now, by the device that the
// socket is bound to if it is, and waits for its answer up to 5 s (EVL's
// evl_net_solicit). Flags: EVL_NEIGH_PERMANENT, EVL_NEIGH_MAYROUTE. What has no
// neighbour, such as a broadcast, succeeds at once.
//
// Errors: ETIMEDOUT: no answer in time. EHOSTUNREACH: no answer to any request,
// which takes less. EMULTIHOP: the way leads over a gateway, and
// EVL_NEIGH_MAYROUTE is not given. EINVAL: unknown flags. EAFNOSUPPORT: not IPv4.
// ENETUNREACH: no route. EOPNOTSUPP: an in-band socket, whose neighbours are the
// kernel's.
func (s *Socket) Solicit(peer Sockaddr, flags int) error { return s.solicit(peer, flags) }
