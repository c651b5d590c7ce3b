package sockapi

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/outband/outband/internal/clock"
	"github.com/outband/outband/sockapi/internal/option"
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

// SO_TIMESTAMP_OOB is EVL's option of SOL_SOCKET for times of CLOCK_MONOTONIC: an
// int of EVL_SOF_TIMESTAMP_*. EINVAL: other bits. Setting it drops the records of
// what was sent.
//
// With EVL_SOF_TIMESTAMP_RX, OobRecvmsg stores an [IOTimes] in Control. With
// EVL_SOF_TIMESTAMP_TX, each datagram that is sent leaves a record; OobRecvmsg with
// MSG_TIMESTAMP takes as many as fit in Iov, one after the other, and returns their
// bytes. It waits for the first as for a datagram, and EPOLLIN tells of them too.
// MSG_TRUNC in Flags: more were sent since the last time than the 256 that are
// kept. EINVAL: EVL_SOF_TIMESTAMP_TX is off. A datagram that had to wait for its
// neighbour leaves no record.
const SO_TIMESTAMP_OOB = option.TimestampOOB

// The bits of SO_TIMESTAMP_OOB. The time of delivery is always there; those of the
// device and of queuing are 0 unless asked for.
const (
	EVL_SOF_TIMESTAMP_RX      = option.OobReceive
	EVL_SOF_TIMESTAMP_TX      = option.OobTransmit
	EVL_SOF_TIMESTAMP_DEVICE  = option.OobDevice
	EVL_SOF_TIMESTAMP_QUEUING = option.OobQueuing

	EVL_SOF_TIMESTAMPS = option.OobAll
)

// IOTimesLen is the length of a struct evl_net_iotimes in bytes.
const IOTimesLen = 24

// IOTimes is when a datagram passed three points, in nanoseconds of
// CLOCK_MONOTONIC, 0 where it was not stamped (struct evl_net_iotimes).
type IOTimes struct {
	// Device: on receive, when the kernel had it from its device; on send, when
	// the link had accepted it.
	Device int64
	// Queuing: on receive, when it was read from the link; on send, when it was
	// handed to the link.
	Queuing int64
	// Delivery: on receive, when the socket was given it; on send, when the call
	// began.
	Delivery int64
}

// ParseIOTimes reads the first record in b; ok is false if there is none. What
// follows is b[IOTimesLen:].
func ParseIOTimes(b []byte) (t IOTimes, ok bool) {
	if len(b) < IOTimesLen {
		return IOTimes{}, false
	}
	return IOTimes{
		Device:   int64(binary.NativeEndian.Uint64(b)),
		Queuing:  int64(binary.NativeEndian.Uint64(b[8:])),
		Delivery: int64(binary.NativeEndian.Uint64(b[16:])),
	}, true
}

// putIOTimes stores a record, with what the flags ask for.
func putIOTimes(b []byte, t stack.IOTimes, flags uint32) {
	if flags&EVL_SOF_TIMESTAMP_DEVICE == 0 {
		t.Device = 0
	}
	if flags&EVL_SOF_TIMESTAMP_QUEUING == 0 {
		t.Queuing = 0
	}
	binary.NativeEndian.PutUint64(b, uint64(t.Device))
	binary.NativeEndian.PutUint64(b[8:], uint64(t.Queuing))
	binary.NativeEndian.PutUint64(b[16:], uint64(t.Delivery))
}

// putReceiveTimes stores a datagram's times, and returns how many bytes: none if it
// came before they were asked for.
func (s *stackSocket) putReceiveTimes(control []byte, in *stack.Info) int {
	if in.Delivered == 0 {
		return 0
	}
	putIOTimes(control, s.api.st.ReceiveTimes(in), s.OobTimes.Load())
	return IOTimesLen
}

// timesAtOnce is how many records are copied at once.
const timesAtOnce = 16

// recvTransmitTimes is OobRecvmsg with MSG_TIMESTAMP. A record that does not fit
// whole in a buffer is left for the next.
func (s *stackSocket) recvTransmitTimes(iov [][]byte, end int64, flags int) (received, error) {
	room := 0
	for _, b := range iov {
		room += len(b) / IOTimesLen
	}
	if room == 0 {
		return received{}, s.orClosed(unix.EINVAL)
	}
	r, asked := received{flags: MSG_TIMESTAMP}, s.OobTimes.Load()
	var times [timesAtOnce]stack.IOTimes
	for _, b := range iov {
		for len(b) >= IOTimesLen {
			n, lost, err := s.K.Times().TransmitTimes(times[:min(len(b)/IOTimesLen, timesAtOnce)], flags, end)
			if err != nil {
				if r.n > 0 {
					return r, nil
				}
				return received{}, s.api.expired(err, flags, end)
			}
			if n == 0 && !lost { // shut down
				return r, nil
			}
			if lost {
				r.flags |= unix.MSG_TRUNC
			}
			for _, t := range times[:n] {
				putIOTimes(b, t, asked)
				b = b[IOTimesLen:]
				r.n += IOTimesLen
			}
			flags |= unix.MSG_DONTWAIT
		}
	}
	return r, nil
}
