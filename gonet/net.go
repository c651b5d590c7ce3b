package gonet

import (
	"context"
	"net"
	"net/netip"

	"github.com/outband/outband/sockapi"
)

// A Host opens sockets: a *sockapi.API, or what has one.
type Host interface {
	Socket(domain, typ, proto int) (*sockapi.Socket, error)
}

// A Net opens connections over the out-of-band sockets of a host. Its methods are for any
// goroutines at once.
type Net struct {
	// Resolver resolves names of hosts and services; nil: net.DefaultResolver. Addresses
	// and port numbers ask nobody. Its Dial may be the Net's DialContext, so that it asks
	// out-of-band too. It is not changed once the Net is in use.
	Resolver *net.Resolver

	host Host
}

// New returns the connections of a host.
func New(h Host) *Net { return &Net{host: h} }

// ListenPacket opens a connection that is bound to an address, and has no peer. Networks are
// "udp" and "udp4" for a *[UDPConn] (see net.ListenPacket), "ip" or "ip4", with a colon and
// a protocol, for an *[IPConn].
func (n *Net) ListenPacket(network, address string) (net.PacketConn, error) {
	return (&ListenConfig{Net: n}).ListenPacket(context.Background(), network, address)
}

// ListenUDP is ListenPacket for an address that is known; nil is any address and port. See
// net.ListenUDP.
func (n *Net) ListenUDP(network string, laddr *net.UDPAddr) (*UDPConn, error) {
	if !isUDP(network) {
		return nil, opError("listen", network, nil, udpOrNil(laddr), net.UnknownNetworkError(network))
	}
	if laddr == nil {
		laddr = &net.UDPAddr{}
	}
	return (&ListenConfig{Net: n}).listenUDP(network, laddr)
}

// ListenMulticastUDP opens a connection that has joined a group at an interface, nil for that of
// the route to it, and is bound to the group's port at all addresses; others may
// be too. What it sends to groups is not heard by this host. See net.ListenMulticastUDP.
func (n *Net) ListenMulticastUDP(network string, ifi *net.Interface, gaddr *net.UDPAddr) (*UDPConn, error) {
	switch {
	case !isUDP(network):
		return nil, opError("listen", network, nil, udpOrNil(gaddr), net.UnknownNetworkError(network))
	case gaddr == nil || gaddr.IP == nil:
		return nil, opError("listen", network, nil, udpOrNil(gaddr), errMissingAddress)
	}
	c, err := (&ListenConfig{Net: n}).listenUDP(network, gaddr)
	if err != nil {
		return nil, err
	}
	if err := c.listenGroup(ifi, gaddr.IP); err != nil {
		_ = c.Close()
		return nil, opError("listen", network, nil, gaddr, err)
	}
	return c, nil
}

// listenGroup sets up a connection for one group.
func (c *UDPConn) listenGroup(ifi *net.Interface, group net.IP) error {
	if ifi != nil {
		if err := c.s.SetMulticastInterface(ifi.Index); err != nil {
			return syscallError("setsockopt", err)
		}
	}
	if err := c.s.SetMulticastLoopback(false); err != nil {
		return syscallError("setsockopt", err)
	}
	ip, _ := netip.AddrFromSlice(group)
	return syscallError("setsockopt", c.s.JoinGroup(indexOf(ifi), ip.Unmap()))
}

// indexOf returns an interface's index; 0 for none.
func indexOf(ifi *net.Interface) int {
	if ifi == nil {
		return 0
	}
	return ifi.Index
}

// Dial opens a connection to a peer. Networks are those of ListenPacket. See net.Dial.
func (n *Net) Dial(network, address string) (net.Conn, error) {
	return (&Dialer{Net: n}).Dial(network, address)
}

// DialContext is Dial, and ends the search for a name with ctx.
func (n *Net) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return (&Dialer{Net: n}).DialContext(ctx, network, address)
}

// DialUDP is Dial for addresses that are known; laddr may be nil. See net.DialUDP.
func (n *Net) DialUDP(network string, laddr, raddr *net.UDPAddr) (*UDPConn, error) {
	return (&Dialer{Net: n}).dialUDP(context.Background(), network, laddr, raddr)
}

func isUDP(network string) bool { return network == "udp" || network == "udp4" || network == "udp6" }

// udpOrNil returns an address, and nil itself for none.
func udpOrNil(a *net.UDPAddr) net.Addr {
	if a == nil {
		return nil
	}
	return a
}
