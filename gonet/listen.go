package gonet

import (
	"context"
	"net"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// A ListenConfig is what ListenPacket may be told beside an address. See net.ListenConfig.
type ListenConfig struct {
	// Net is whose connections are opened.
	Net *Net

	// Control, if it is not nil, is called when the socket is open, and before it is bound:
	// for SO_REUSEPORT, say, or SetYield(false) where a thread of its own reads. There is no descriptor of the kernel's, so it gets the socket
	// itself, which remains the connection's: it may set options, and is not to bind,
	// connect or close it. The network is "udp4" or "ip4", with the protocol. An error ends
	// the call.
	Control func(network, address string, s *sockapi.Socket) error
}

// ListenPacket is Net's, and ends the search for a name with ctx.
func (l *ListenConfig) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if !isUDP(network) {
		return l.listenPacketIP(ctx, network, address)
	}
	addrs, err := l.Net.resolveUDP(ctx, network, address)
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	c, err := l.listenUDP(network, addrs[0])
	if err != nil {
		return nil, err // not c, which would be no nil interface
	}
	return c, nil
}

// listenPacketIP is ListenPacket for a network of IP.
func (l *ListenConfig) listenPacketIP(ctx context.Context, network, address string) (net.PacketConn, error) {
	addrs, err := l.Net.resolveIPAddr(ctx, network, address)
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	c, err := l.listenIP(network, addrs[0])
	if err != nil {
		return nil, err
	}
	return c, nil
}

// listenUDP opens a connection that is bound to an address.
func (l *ListenConfig) listenUDP(network string, laddr *net.UDPAddr) (*UDPConn, error) {
	local := forStack(network, laddr)
	group := local.IP.IsMulticast()
	if group { // all addresses, so that it may join others
		local = &net.UDPAddr{IP: net.IPv4zero, Port: laddr.Port}
	}
	s, err := l.Net.openUDP(network, laddr, local.String(), func(network, address string, s *sockapi.Socket) error {
		return l.prepare(network, address, group, s)
	})
	if err == nil {
		if err = bindUDP(s, local); err == nil {
			c := new(UDPConn)
			c.init(s, network, udpName(s), nil, false)
			return c, nil
		}
		_ = s.Close()
	}
	return nil, opError("listen", network, nil, laddr, err)
}

// prepare sets a socket up before it is bound: if it is for a group others may have the
// port too.
func (l *ListenConfig) prepare(network, address string, group bool, s *sockapi.Socket) error {
	if group {
		if err := s.SetReuseAddr(true); err != nil {
			return syscallError("setsockopt", err)
		}
	}
	if l.Control == nil {
		return nil
	}
	return l.Control(network, address, s)
}

// A controlFunc sets up a socket that is open and not bound yet; nil does nothing.
type controlFunc = func(network, address string, s *sockapi.Socket) error

// openUDP opens a socket for a network and an address of it, with what package net sets.
func (n *Net) openUDP(network string, a *net.UDPAddr, address string, control controlFunc) (*sockapi.Socket, error) {
	if network == "udp6" || network == "udp" && !hasIPv4(a.IP) {
		return nil, syscallError("socket", unix.EAFNOSUPPORT)
	}
	return n.open(unix.SOCK_DGRAM, 0, "udp4", address, control)
}

// open opens a socket and has control set it up.
func (n *Net) open(typ, proto int, network, address string, control controlFunc) (*sockapi.Socket, error) {
	if n == nil || n.host == nil {
		return nil, unix.EINVAL
	}
	s, err := n.host.Socket(unix.AF_INET, typ|sockapi.SOCK_OOB, proto)
	if err != nil {
		return nil, syscallError("socket", err)
	}
	_ = s.SetYield(true) // what a connection of the kernel's does by itself
	if err = s.SetBroadcast(true); err != nil {
		err = syscallError("setsockopt", err)
	} else if control != nil {
		err = control(network, address, s)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// hasIPv4 reports whether an address is one that the stack may have: the unspecified one of
// IPv6 stands for all.
func hasIPv4(ip net.IP) bool { return len(ip) == 0 || ip.To4() != nil || ip.IsUnspecified() }

// anyOf returns an address as the stack has it: with the network that is of both families the
// unspecified one of IPv6 stands for that of IPv4.
func anyOf(network, both string, ip net.IP) net.IP {
	if network == both && ip.To4() == nil && ip.IsUnspecified() {
		return net.IPv4zero
	}
	return ip
}

// forStack is anyOf for an address of UDP.
func forStack(network string, a *net.UDPAddr) *net.UDPAddr {
	return &net.UDPAddr{IP: anyOf(network, "udp", a.IP), Port: a.Port}
}

// bindUDP binds a socket.
func bindUDP(s *sockapi.Socket, laddr *net.UDPAddr) error {
	local, err := udpSockaddr(laddr)
	if err == nil {
		err = s.Bind(local)
	}
	return syscallError("bind", err)
}

// udpName returns what a socket is bound to, nil if it was closed meanwhile.
func udpName(s *sockapi.Socket) net.Addr {
	name, err := s.Getsockname()
	if err != nil {
		return nil
	}
	return new(udpFrom).set(&name)
}
