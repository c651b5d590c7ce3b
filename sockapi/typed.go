package sockapi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Options by name, for out-of-band and in-band sockets of IPv4: each is Setsockopt or
// Getsockopt of the option that it names, with its errors.

// SetReadBuffer sets SO_RCVBUF (socket(7)), in bytes of payload: like Linux the socket
// takes twice as much, for what it costs to keep datagrams.
func (s *Socket) SetReadBuffer(n int) error {
	return s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_RCVBUF, n)
}

// SetWriteBuffer sets SO_SNDBUF, as SetReadBuffer does SO_RCVBUF.
func (s *Socket) SetWriteBuffer(n int) error {
	return s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_SNDBUF, n)
}

// SetBroadcast permits sending to broadcast addresses (SO_BROADCAST).
func (s *Socket) SetBroadcast(on bool) error {
	return s.setBool(unix.SOL_SOCKET, unix.SO_BROADCAST, on)
}

// SetReuseAddr lets others that set it too have the same port (SO_REUSEADDR).
func (s *Socket) SetReuseAddr(on bool) error {
	return s.setBool(unix.SOL_SOCKET, unix.SO_REUSEADDR, on)
}

// SetTTL sets the time to live of unicast datagrams, 1 to 255; -1 is the default (IP_TTL).
func (s *Socket) SetTTL(ttl int) error { return s.SetsockoptInt(unix.SOL_IP, unix.IP_TTL, ttl) }

// TTL returns the time to live of unicast datagrams.
func (s *Socket) TTL() (int, error) { return s.GetsockoptInt(unix.SOL_IP, unix.IP_TTL) }

// SetTOS sets the type-of-service octet: the DSCP and two bits of ECN (IP_TOS; RFC 2474,
// RFC 3168).
func (s *Socket) SetTOS(tos int) error { return s.SetsockoptInt(unix.SOL_IP, unix.IP_TOS, tos) }

// TOS returns the type-of-service octet.
func (s *Socket) TOS() (int, error) { return s.GetsockoptInt(unix.SOL_IP, unix.IP_TOS) }

// SetMulticastTTL sets the time to live of what goes to groups, 0 to 255, 1 by default
// (IP_MULTICAST_TTL).
func (s *Socket) SetMulticastTTL(ttl int) error {
	return s.SetsockoptInt(unix.SOL_IP, unix.IP_MULTICAST_TTL, ttl)
}

// MulticastTTL returns the time to live of what goes to groups.
func (s *Socket) MulticastTTL() (int, error) {
	return s.GetsockoptInt(unix.SOL_IP, unix.IP_MULTICAST_TTL)
}

// SetMulticastLoopback says whether what goes to groups is heard by this host's sockets too
// (IP_MULTICAST_LOOP).
func (s *Socket) SetMulticastLoopback(on bool) error {
	return s.setBool(unix.SOL_IP, unix.IP_MULTICAST_LOOP, on)
}

// MulticastLoopback returns what SetMulticastLoopback set.
func (s *Socket) MulticastLoopback() (bool, error) {
	v, err := s.GetsockoptInt(unix.SOL_IP, unix.IP_MULTICAST_LOOP)
	return v != 0, err
}

// SetMulticastInterface has what goes to groups leave by an interface; 0: as the routes say
// (IP_MULTICAST_IF). EADDRNOTAVAIL: no such interface.
func (s *Socket) SetMulticastInterface(ifindex int) error {
	var b [12]byte // struct ip_mreqn
	binary.NativeEndian.PutUint32(b[8:], uint32(ifindex))
	return s.Setsockopt(unix.SOL_IP, unix.IP_MULTICAST_IF, b[:])
}

func (s *Socket) setBool(level, name int, on bool) error {
	v := 0
	if on {
		v = 1
	}
	return s.SetsockoptInt(level, name, v)
}
