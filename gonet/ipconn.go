package gonet

import (
	"net"

	"github.com/outband/outband/sockapi"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// An IPConn is a connection of a protocol above IP, such as ICMP ("ip4:icmp"), with the methods
// of *net.IPConn but SyscallConn and File. Its methods are for any goroutines at once.
type IPConn struct{ conn }

var (
	_ net.Conn       = (*IPConn)(nil)
	_ net.PacketConn = (*IPConn)(nil)
)

// ReadFrom receives one datagram, and returns how many bytes of what is behind its IP header
// fit into b, and its source, a *net.IPAddr. b has to have room for the header too. Read
// leaves the header there.
func (c *IPConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.ReadFromIP(b)
	if addr == nil {
		return n, nil, err
	}
	return n, addr, err
}

// ReadFromIP is ReadFrom with the type of the source.
func (c *IPConn) ReadFromIP(b []byte) (int, *net.IPAddr, error) {
	if !c.ok() {
		return 0, nil, errInvalid
	}
	n, from, err := c.recvfrom(b)
	if err != nil {
		return 0, nil, c.readError("recvfrom", err)
	}
	return stripHeader(n, b), new(ipFrom).set(&from), nil
}

// Sizes of an IPv4 header in bytes (RFC 791, section 3.1).
const (
	minIPHeader = 20
	maxIPHeader = 60
)

// stripHeader takes the IP header off the n bytes in b, if that is whole, and returns how many
// are left.
func stripHeader(n int, b []byte) int {
	l := ipHeaderLen(b)
	if l == 0 || l > len(b) {
		return n
	}
	copy(b, b[l:])
	return n - l
}

// ipHeaderLen returns the length of the IPv4 header in b; 0 if there is none.
func ipHeaderLen(b []byte) int {
	if len(b) < minIPHeader || b[0]>>4 != 4 || int(b[0]&15)*4 < minIPHeader {
		return 0
	}
	return int(b[0]&15) * 4
}

// ReadMsgIP receives one datagram with its IP header into b and its control messages into oob,
// as UDPConn.ReadMsgUDP does.
func (c *IPConn) ReadMsgIP(b, oob []byte) (n, oobn, flags int, addr *net.IPAddr, err error) {
	if !c.ok() {
		return 0, 0, 0, nil, errInvalid
	}
	m := newMessage(b, oob)
	defer m.free()
	if n, err = c.recvmsg(m); err != nil {
		return 0, 0, 0, nil, c.readError("recvmsg", err)
	}
	return n, m.hdr.ControlLen, m.hdr.Flags, new(ipFrom).set(&m.hdr.Name), nil
}

// WriteTo sends b, behind an IP header, to a *net.IPAddr. A connection with a peer takes
// Write: net.ErrWriteToConnected.
func (c *IPConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	a, ok := addr.(*net.IPAddr)
	if !ok {
		return 0, opError("write", c.network, c.laddr, addr, unix.EINVAL)
	}
	return c.WriteToIP(b, a)
}

// WriteToIP is WriteTo with the type of the destination.
func (c *IPConn) WriteToIP(b []byte, addr *net.IPAddr) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	to, err := c.destination(addr)
	n := 0
	if err == nil {
		n, err = c.sendto(b, to)
	}
	if err != nil {
		return 0, c.writeError("sendto", ipOrNil(addr), err)
	}
	return n, nil
}

// WriteMsgIP is WriteToIP with control messages.
func (c *IPConn) WriteMsgIP(b, oob []byte, addr *net.IPAddr) (n, oobn int, err error) {
	if !c.ok() {
		return 0, 0, errInvalid
	}
	to, err := c.destination(addr)
	if err == nil {
		n, err = c.writeMsg(b, oob, to)
	}
	if err != nil {
		return 0, 0, c.writeError("sendmsg", ipOrNil(addr), err)
	}
	return n, len(oob), nil
}

// ReadBatch is UDPConn.ReadBatch: IP headers are there, and sources are *net.IPAddr.
func (c *IPConn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	return c.readBatch(ms, flags, ipSource)
}

// WriteBatch is UDPConn.WriteBatch: destinations are *net.IPAddr.
func (c *IPConn) WriteBatch(ms []ipv4.Message, flags int) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	return c.writeBatch(ms, flags)
}

// destination returns where to send what goes to an address.
func (c *IPConn) destination(addr *net.IPAddr) (sockapi.Sockaddr, error) {
	switch {
	case c.connected:
		return sockapi.Sockaddr{}, net.ErrWriteToConnected
	case addr == nil:
		return sockapi.Sockaddr{}, errMissingAddress
	}
	return ipSockaddr(addr)
}

// ipSockaddr returns an address as the socket takes it.
func ipSockaddr(addr *net.IPAddr) (sockapi.Sockaddr, error) {
	ip, err := ip4Of(addr.IP)
	if err != nil {
		return sockapi.Sockaddr{}, err
	}
	return sockapi.Inet4(ip, 0), nil
}

// ipFrom is an address with the bytes that it refers to, so that it is one allocation.
type ipFrom struct {
	addr net.IPAddr
	ip   [4]byte
}

// set makes it that of a socket's, and returns it.
func (f *ipFrom) set(from *sockapi.Sockaddr) *net.IPAddr {
	f.ip = from.IP4()
	f.addr.IP = f.ip[:]
	return &f.addr
}

// ipSource returns where a datagram came from.
func ipSource(from *sockapi.Sockaddr) net.Addr { return new(ipFrom).set(from) }

// ipOrNil returns an address, and nil itself for none.
func ipOrNil(a *net.IPAddr) net.Addr {
	if a == nil {
		return nil
	}
	return a
}
