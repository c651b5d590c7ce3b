package gonet

import (
	"net"
	"net/netip"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// WriteTo sends b as one datagram to a *net.UDPAddr. A connection with a peer takes Write:
// net.ErrWriteToConnected.
func (c *UDPConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	a, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, opError("write", c.network, c.laddr, addr, unix.EINVAL)
	}
	return c.WriteToUDP(b, a)
}

// WriteToUDP is WriteTo with the type of the destination.
func (c *UDPConn) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	to, err := c.destination(addr)
	n := 0
	if err == nil {
		n, err = c.sendto(b, to)
	}
	if err != nil {
		return 0, c.writeError("sendto", udpOrNil(addr), err)
	}
	return n, nil
}

// destination returns where to send what goes to an address.
func (c *UDPConn) destination(addr *net.UDPAddr) (sockapi.Sockaddr, error) {
	switch {
	case c.connected:
		return sockapi.Sockaddr{}, net.ErrWriteToConnected
	case addr == nil:
		return sockapi.Sockaddr{}, errMissingAddress
	}
	return udpSockaddr(addr)
}

// udpSockaddr returns an address as the socket takes it.
func udpSockaddr(addr *net.UDPAddr) (sockapi.Sockaddr, error) {
	ip, err := ip4Of(addr.IP)
	switch {
	case err != nil:
		return sockapi.Sockaddr{}, err
	case addr.Port < 0 || addr.Port > 0xffff:
		return sockapi.Sockaddr{}, unix.EINVAL
	}
	return sockapi.Inet4(ip, uint16(addr.Port)), nil
}

// ip4Of returns the bytes of an IPv4 address; an empty one is the unspecified one.
func ip4Of(ip net.IP) (b [4]byte, err error) {
	if len(ip) == 0 {
		return b, nil
	}
	ip4 := ip.To4()
	if ip4 == nil {
		return b, notIPv4(ip.String())
	}
	return [4]byte(ip4), nil
}

// WriteToUDPAddrPort is WriteTo for a netip.AddrPort.
func (c *UDPConn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	to, err := c.destinationAddrPort(addr)
	n := 0
	if err == nil {
		n, err = c.sendto(b, to)
	}
	if err != nil {
		return 0, c.writeError("sendto", addrPortAddr{addr}, err)
	}
	return n, nil
}

// destinationAddrPort is destination for a netip.AddrPort.
func (c *UDPConn) destinationAddrPort(addr netip.AddrPort) (sockapi.Sockaddr, error) {
	switch {
	case c.connected:
		return sockapi.Sockaddr{}, net.ErrWriteToConnected
	case !addr.IsValid():
		return sockapi.Sockaddr{}, errMissingAddress
	case !addr.Addr().Is4() && !addr.Addr().Is4In6():
		return sockapi.Sockaddr{}, notIPv4(addr.Addr().String())
	}
	return sockapi.Inet4(addr.Addr().As4(), addr.Port()), nil
}

// WriteMsgUDP sends b as one datagram with control messages (cmsg(3)) to addr, or, which is
// nil then, to the connection's peer. It returns how many bytes of each were sent. A
// UDP_SEGMENT has b leave as several datagrams.
func (c *UDPConn) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if !c.ok() {
		return 0, 0, errInvalid
	}
	var to sockapi.Sockaddr
	if !c.connected || addr != nil {
		to, err = c.destination(addr)
	}
	if err == nil {
		n, err = c.writeMsg(b, oob, to)
	}
	if err != nil {
		return 0, 0, c.writeError("sendmsg", udpOrNil(addr), err)
	}
	return n, len(oob), nil
}

// WriteMsgUDPAddrPort is WriteMsgUDP for a netip.AddrPort; the zero one is the peer.
func (c *UDPConn) WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error) {
	if !c.ok() {
		return 0, 0, errInvalid
	}
	var to sockapi.Sockaddr
	if !c.connected || addr.IsValid() {
		to, err = c.destinationAddrPort(addr)
	}
	if err == nil {
		n, err = c.writeMsg(b, oob, to)
	}
	if err != nil {
		return 0, 0, c.writeError("sendmsg", addrPortAddr{addr}, err)
	}
	return n, len(oob), nil
}

func (c *conn) writeMsg(b, oob []byte, to sockapi.Sockaddr) (int, error) {
	m := newMessage(b, oob)
	defer m.free()
	m.hdr.Name = to
	return c.sendmsg(m)
}
