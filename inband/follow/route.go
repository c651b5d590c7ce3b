package follow

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// A Query says what is to be sent, as far as the kernel's choice of a route depends on it.
// SO_DONTROUTE cannot be expressed in it.
type Query struct {
	Dst [4]byte
	// Src is the source that the socket is bound to, zero if the kernel is to choose. One
	// that the host has not is an error: EINVAL, of newer kernels ENETUNREACH.
	Src  [4]byte
	TOS  uint8
	Mark uint32 // SO_MARK
	UID  uint32 // of the socket's owner: always counts, 0 is root
	// Device is the index of the device that the socket is bound to, 0 for any.
	Device int32
	// SrcPort and DstPort are UDP's, 0 if they are not to count: rules may look at them,
	// and multipath does with net.ipv4.fib_multipath_hash_policy 1. The protocol is UDP
	// if either is there.
	SrcPort, DstPort uint16
}

// A Kind is how a datagram to a destination goes.
type Kind uint8

const (
	Unicast   Kind = unix.RTN_UNICAST
	Local     Kind = unix.RTN_LOCAL // to this host
	Broadcast Kind = unix.RTN_BROADCAST
	Multicast Kind = unix.RTN_MULTICAST
)

// askers is how many goroutines ask for routes at once; more of them wait for each other.
const askers = 4

// answerLen is room for one answer: route.c fills at most a page.
const answerLen = 8192

// Route asks the kernel how it would send a datagram (RTM_GETROUTE). It allocates
// nothing. The error is what sendto(2) would return on an in-band socket: ENETUNREACH
// without a route, EINVAL for a blackhole, EHOSTUNREACH and EACCES where a route says so,
// ENODEV without the device; ENETDOWN after Close.
func (k *Kernel) Route(q Query) (Answer, unix.Errno) {
	s := <-k.askers
	if s == nil {
		return Answer{}, unix.ENETDOWN
	}
	m, errno := s.ask(s.routeRequest(q))
	var a Answer
	if errno == 0 {
		a, errno = parseRoute(q, m)
	}
	k.askers <- s
	return a, errno
}

// routeRequest writes the request for a query.
func (s *socket) routeRequest(q Query) []byte {
	w, route := s.begin(unix.RTM_GETROUTE, 0, unix.SizeofRtMsg)
	route[0], route[1] = unix.AF_INET, 32 // rtm_family, rtm_dst_len
	route[3] = q.TOS &^ ecnMask           // rtm_tos
	copy(w.attribute(unix.RTA_DST, 4), q.Dst[:])
	if q.Src != [4]byte{} {
		route[2] = 32 // rtm_src_len
		copy(w.attribute(unix.RTA_SRC, 4), q.Src[:])
	}
	if q.Device != 0 {
		w.uint32(unix.RTA_OIF, uint32(q.Device))
	}
	if q.Mark != 0 {
		w.uint32(unix.RTA_MARK, q.Mark)
	}
	w.uint32(unix.RTA_UID, q.UID)
	if q.SrcPort|q.DstPort != 0 {
		w.attribute(unix.RTA_IP_PROTO, 1)[0] = unix.IPPROTO_UDP
		w.port(unix.RTA_SPORT, q.SrcPort)
		w.port(unix.RTA_DPORT, q.DstPort)
	}
	return w.end()
}

// ecnMask are the bits of the TOS that routes do not look at (RFC 3168).
const ecnMask = 3

// port adds a port, which netlink has in network byte order. 0 is refused there.
func (w *writer) port(kind uint16, port uint16) {
	if port != 0 {
		binary.BigEndian.PutUint16(w.attribute(kind, 2), port)
	}
}
