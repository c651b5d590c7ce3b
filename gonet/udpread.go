package gonet

import (
	"net"
	"net/netip"

	"github.com/outband/outband/sockapi"
)

// A UDPConn is a UDP connection with the methods of *net.UDPConn but SyscallConn and File. It
// is a net.Conn and a net.PacketConn, whether it has a peer or not. Its methods are for any
// goroutines at once.
type UDPConn struct{ conn }

var (
	_ net.Conn       = (*UDPConn)(nil)
	_ net.PacketConn = (*UDPConn)(nil)
)

// udpFrom is an address with the bytes that it refers to, so that it is one allocation.
type udpFrom struct {
	addr net.UDPAddr
	ip   [4]byte
}

// set makes it that of a socket's, and returns it.
func (f *udpFrom) set(from *sockapi.Sockaddr) *net.UDPAddr {
	f.ip = from.IP4()
	f.addr = net.UDPAddr{IP: f.ip[:], Port: int(from.Port)}
	return &f.addr
}

// ReadFrom receives one datagram and returns how many bytes of it fit into b, and its source,
// a *net.UDPAddr. It allocates that.
func (c *UDPConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.ReadFromUDP(b)
	if addr == nil {
		return n, nil, err
	}
	return n, addr, err
}

// ReadFromUDP is ReadFrom with the type of the source.
func (c *UDPConn) ReadFromUDP(b []byte) (int, *net.UDPAddr, error) {
	if !c.ok() {
		return 0, nil, errInvalid
	}
	n, from, err := c.recvfrom(b)
	if err != nil {
		return 0, nil, c.readError("recvfrom", err)
	}
	return n, new(udpFrom).set(&from), nil
}

// ReadFromUDPAddrPort is ReadFrom without an allocation.
func (c *UDPConn) ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error) {
	if !c.ok() {
		return 0, netip.AddrPort{}, errInvalid
	}
	n, from, err := c.recvfrom(b)
	if err != nil {
		return 0, netip.AddrPort{}, c.readError("recvfrom", err)
	}
	return n, netip.AddrPortFrom(netip.AddrFrom4(from.IP4()), from.Port), nil
}

// ReadMsgUDP receives one datagram into b and its control messages into oob (cmsg(3)), and
// returns how many bytes of each were stored, the flags, such as unix.MSG_TRUNC, and
// the source.
func (c *UDPConn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, oobn, flags, ap, err := c.ReadMsgUDPAddrPort(b, oob)
	if ap.IsValid() {
		addr = net.UDPAddrFromAddrPort(ap)
	}
	return n, oobn, flags, addr, err
}

// ReadMsgUDPAddrPort is ReadMsgUDP without an allocation.
func (c *UDPConn) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	if !c.ok() {
		return 0, 0, 0, netip.AddrPort{}, errInvalid
	}
	m := newMessage(b, oob)
	defer m.free()
	n, err = c.recvmsg(m)
	if err != nil {
		return 0, 0, 0, unspecified, c.readError("recvmsg", err)
	}
	from := &m.hdr.Name
	return n, m.hdr.ControlLen, m.hdr.Flags, netip.AddrPortFrom(netip.AddrFrom4(from.IP4()), from.Port), nil
}

// unspecified is the source that package net's ReadMsgUDP returns with an error.
var unspecified = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
