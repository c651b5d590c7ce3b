package gonet

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/outband/outband/sockapi"
)

// A Dialer is what Dial may be told beside an address. See net.Dialer: what is about TCP is not
// there.
type Dialer struct {
	// Net is whose connections are opened.
	Net *Net

	// Timeout and Deadline end the search for a name, as a context does; zero: neither.
	Timeout  time.Duration
	Deadline time.Time

	// LocalAddr is bound to, a *net.UDPAddr for UDP; nil chooses one.
	LocalAddr net.Addr

	// Control and ControlContext are as ListenConfig.Control, before the socket is bound
	// and connected. Control is not called if there is a ControlContext.
	Control        func(network, address string, s *sockapi.Socket) error
	ControlContext func(ctx context.Context, network, address string, s *sockapi.Socket) error
}

// Dial opens a connection to a peer.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext is Dial, and ends the search for a name with ctx. Of several addresses of a name
// the first that can be connected to is the peer.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	if _, _, ok, _ := ipNetwork(network); !ok && !isUDP(network) {
		return nil, opError("dial", network, nil, nil, net.UnknownNetworkError(network))
	}
	if address == "" {
		return nil, opError("dial", network, nil, nil, errMissingAddress)
	}
	if isUDP(network) {
		laddr, err := localAs[*net.UDPAddr](d.LocalAddr)
		var addrs []*net.UDPAddr
		if err == nil {
			addrs, err = d.Net.resolveUDP(ctx, network, address)
		}
		return firstOf(ctx, d, network, addrs, err, func(raddr *net.UDPAddr) (net.Conn, error) {
			return d.dialUDP(ctx, network, laddr, raddr)
		})
	}
	laddr, err := localAs[*net.IPAddr](d.LocalAddr)
	var addrs []*net.IPAddr
	if err == nil {
		addrs, err = d.Net.resolveIPAddr(ctx, network, address)
	}
	return firstOf(ctx, d, network, addrs, err, func(raddr *net.IPAddr) (net.Conn, error) {
		return d.dialIP(ctx, network, laddr, raddr)
	})
}

// DialUDP is Net.DialUDP for netip addresses, with what the Dialer says but for LocalAddr; a zero
// laddr is chosen. See net.Dialer.DialUDP.
func (d *Dialer) DialUDP(ctx context.Context, network string, laddr, raddr netip.AddrPort) (*UDPConn, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	return d.dialUDP(ctx, network, net.UDPAddrFromAddrPort(laddr), net.UDPAddrFromAddrPort(raddr))
}

// DialIP is Net.DialIP as DialUDP is Net.DialUDP.
func (d *Dialer) DialIP(ctx context.Context, network string, laddr, raddr netip.Addr) (*IPConn, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	return d.dialIP(ctx, network, &net.IPAddr{IP: laddr.AsSlice(), Zone: laddr.Zone()}, &net.IPAddr{IP: raddr.AsSlice(), Zone: raddr.Zone()})
}

// localAs returns an address to bind to as one of a network's type, nil for none.
func localAs[A net.Addr](local net.Addr) (a A, err error) {
	if local == nil {
		return a, nil
	}
	a, ok := local.(A)
	if !ok {
		return a, &net.AddrError{Err: "mismatched local address type", Addr: local.String()}
	}
	return a, nil
}

// firstOf returns the first connection that dial makes to one of some addresses, or the error
// with which they were looked for.
func firstOf[A net.Addr](ctx context.Context, d *Dialer, network string, addrs []A, err error, dial func(A) (net.Conn, error)) (net.Conn, error) {
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	for _, raddr := range addrs {
		if ctx.Err() != nil {
			return nil, opError("dial", network, d.LocalAddr, raddr, contextError(ctx.Err()))
		}
		c, e := dial(raddr)
		if e == nil {
			return c, nil
		}
		if err == nil {
			err = e // as in package net, the first says most
		}
	}
	return nil, err
}

// limit returns a context that ends when the Dialer's time is over too.
func (d *Dialer) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	end := d.Deadline
	if d.Timeout != 0 {
		if t := time.Now().Add(d.Timeout); end.IsZero() || t.Before(end) {
			end = t
		}
	}
	if end.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, end)
}

// dialUDP opens a connection to raddr.
func (d *Dialer) dialUDP(ctx context.Context, network string, laddr, raddr *net.UDPAddr) (*UDPConn, error) {
	var c *UDPConn
	err := error(net.UnknownNetworkError(network))
	switch {
	case !isUDP(network):
	case raddr == nil:
		err = errMissingAddress
	default:
		c, err = d.connectUDP(ctx, network, laddr, raddr)
	}
	if err != nil {
		return nil, opError("dial", network, udpOrNil(laddr), udpOrNil(raddr), err)
	}
	return c, nil
}

// connectUDP is dialUDP for arguments that are there.
func (d *Dialer) connectUDP(ctx context.Context, network string, laddr, raddr *net.UDPAddr) (*UDPConn, error) {
	family := raddr
	if laddr != nil && !hasIPv4(laddr.IP) {
		family = laddr
	}
	s, err := d.Net.openUDP(network, family, raddr.String(), d.control(ctx))
	if err != nil {
		return nil, err
	}
	if err = connectUDP(s, network, laddr, raddr); err != nil {
		_ = s.Close()
		return nil, err
	}
	c := new(UDPConn)
	var peer net.Addr = raddr
	if name, err := s.Getpeername(); err == nil {
		peer = new(udpFrom).set(&name)
	}
	c.init(s, network, udpName(s), peer, true)
	return c, nil
}

// connectUDP binds a socket to laddr, unless it is nil, and connects it to raddr.
func connectUDP(s *sockapi.Socket, network string, laddr, raddr *net.UDPAddr) error {
	if laddr != nil {
		if err := bindUDP(s, forStack(network, laddr)); err != nil {
			return err
		}
	}
	peer, err := udpSockaddr(forStack(network, raddr))
	if err == nil {
		err = s.Connect(peer)
	}
	return syscallError("connect", err)
}

// control returns what sets up a socket, nil if nothing does.
func (d *Dialer) control(ctx context.Context) controlFunc {
	if d.ControlContext == nil {
		return d.Control
	}
	return func(network, address string, s *sockapi.Socket) error {
		return d.ControlContext(ctx, network, address, s)
	}
}
