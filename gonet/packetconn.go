package gonet

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// A PacketConn has options, groups and control messages for a connection, with the methods of
// golang.org/x/net/ipv4's PacketConn, which knows the kernel's connections only:
// gonet.NewPacketConn(c) stands for ipv4.NewPacketConn(c). Types of that package are used as
// they are. Its methods are for any goroutines at once.
//
// Errors of what sets or asks for something are an *os.SyscallError around the errno; of
// what reads and writes as in package net.
type PacketConn struct {
	of       Conn
	c        *conn
	asked    atomic.Uint32                 // ipv4.ControlFlags
	leavesBy atomic.Pointer[net.Interface] // what SetMulticastInterface set
}

// A Conn is a *UDPConn or an *IPConn.
type Conn interface {
	net.Conn
	net.PacketConn
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
	base() *conn
}

// base returns what connections have in common.
func (c *conn) base() *conn { return c }

// NewPacketConn returns options, groups and control messages of a connection.
func NewPacketConn(c Conn) *PacketConn { return &PacketConn{of: c, c: c.base()} }

// controlRoom is enough for the control messages that SetControlMessage asks for: IP_TTL and
// IP_PKTINFO.
const controlRoom = 24 + 32

// SetControlMessage says what ReadFrom is to tell with each datagram.
func (p *PacketConn) SetControlMessage(cf ipv4.ControlFlags, on bool) error {
	v := 0
	if on {
		v = 1
	}
	const info = ipv4.FlagSrc | ipv4.FlagDst | ipv4.FlagInterface
	for _, o := range []struct {
		flags  ipv4.ControlFlags
		option int
	}{{ipv4.FlagTTL, unix.IP_RECVTTL}, {info, unix.IP_PKTINFO}} {
		if cf&o.flags == 0 {
			continue
		}
		if err := p.c.s.SetsockoptInt(unix.SOL_IP, o.option, v); err != nil {
			return syscallError("setsockopt", err)
		}
	}
	if on {
		p.asked.Or(uint32(cf))
	} else {
		p.asked.And(^uint32(cf))
	}
	return nil
}

// ReadFrom receives one datagram, and returns with it what SetControlMessage has asked for;
// nil if that is nothing. An IPConn's comes without its IP header.
func (p *PacketConn) ReadFrom(b []byte) (n int, cm *ipv4.ControlMessage, src net.Addr, err error) {
	m := newMessage(b, nil)
	defer m.free()
	if p.asked.Load() != 0 {
		m.hdr.Control = m.oob[:]
	}
	_, ip := p.of.(*IPConn)
	if ip {
		m.iov = [2][]byte{m.head[:minIPHeader], b}
		m.hdr.Iov = m.iov[:]
	}
	n, err = p.c.recvmsg(m)
	if err == nil && ip {
		n, err = m.stripHeader(n, b)
	}
	if err == nil && m.hdr.ControlLen > 0 {
		cm = new(ipv4.ControlMessage)
		err = cm.Parse(m.hdr.Control[:m.hdr.ControlLen])
	}
	if err != nil {
		return 0, nil, nil, p.error("read", nil, syscallError("recvmsg", err))
	}
	if cm != nil {
		from := m.hdr.Name.IP4()
		cm.Src = from[:]
	}
	if ip {
		return n, cm, ipSource(&m.hdr.Name), nil
	}
	return n, cm, udpSource(&m.hdr.Name), nil
}

// errHeaderTooShort has the text of package ipv4's.
var errHeaderTooShort = errors.New("header too short")

// stripHeader has b begin behind the IP header of a datagram of n bytes, whose first 20 are in
// m, and returns what is left of n.
func (m *message) stripHeader(n int, b []byte) (int, error) {
	l := ipHeaderLen(m.head[:])
	if l == 0 || n < l {
		return 0, errHeaderTooShort
	}
	copy(b, b[min(l-minIPHeader, len(b)):])
	return n - l, nil
}

// WriteTo sends b to dst, nil for the peer, from the source address and by the interface of cm,
// which may be nil.
func (p *PacketConn) WriteTo(b []byte, cm *ipv4.ControlMessage, dst net.Addr) (int, error) {
	to, err := batchSockaddr(dst)
	n := 0
	if err == nil {
		n, err = p.c.writeMsg(b, cm.Marshal(), to)
	}
	if err != nil {
		return 0, p.error("write", dst, syscallError("sendmsg", err))
	}
	return n, nil
}

// error returns an error as package ipv4 does, which knows the network by the address only.
func (p *PacketConn) error(op string, addr net.Addr, err error) error {
	return opError(op, p.c.laddr.Network(), p.c.laddr, addr, err)
}

// ReadBatch is the connection's.
func (p *PacketConn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	return p.of.ReadBatch(ms, flags)
}

// WriteBatch is the connection's.
func (p *PacketConn) WriteBatch(ms []ipv4.Message, flags int) (int, error) {
	return p.of.WriteBatch(ms, flags)
}

// LocalAddr is the connection's.
func (p *PacketConn) LocalAddr() net.Addr { return p.c.LocalAddr() }

// SetDeadline is the connection's.
func (p *PacketConn) SetDeadline(t time.Time) error { return p.c.SetDeadline(t) }

// SetReadDeadline is the connection's.
func (p *PacketConn) SetReadDeadline(t time.Time) error { return p.c.SetReadDeadline(t) }

// SetWriteDeadline is the connection's.
func (p *PacketConn) SetWriteDeadline(t time.Time) error { return p.c.SetWriteDeadline(t) }

// Close ends the connection.
func (p *PacketConn) Close() error { return p.c.Close() }
