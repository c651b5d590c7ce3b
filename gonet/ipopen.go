package gonet

import (
	"context"
	"net"
	"strconv"
	"strings"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// protocols are those that a network names, as in package net.
var protocols = map[string]int{"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "ipv6-icmp": 58}

// ipNetwork takes a network such as "ip4:icmp" or "ip:99" apart. ok is false for one that is
// not of IP.
func ipNetwork(network string) (family string, proto int, ok bool, err error) {
	family, name, colon := strings.Cut(network, ":")
	if !colon || family != "ip" && family != "ip4" && family != "ip6" {
		return "", 0, false, nil
	}
	if proto, err = strconv.Atoi(name); err == nil && proto >= 0 {
		return family, proto, true, nil
	}
	proto, known := protocols[strings.ToLower(name)]
	if !known {
		return family, 0, true, &net.AddrError{Err: "unknown IP protocol specified", Addr: name}
	}
	return family, proto, true, nil
}

// ListenIP opens a connection of a protocol above IP, such as "ip4:icmp", that is bound to an
// address; nil is any. See net.ListenIP.
func (n *Net) ListenIP(network string, laddr *net.IPAddr) (*IPConn, error) {
	if laddr == nil {
		laddr = &net.IPAddr{}
	}
	return (&ListenConfig{Net: n}).listenIP(network, laddr)
}

// DialIP is ListenIP for a connection with a peer. See net.DialIP.
func (n *Net) DialIP(network string, laddr, raddr *net.IPAddr) (*IPConn, error) {
	return (&Dialer{Net: n}).dialIP(context.Background(), network, laddr, raddr)
}

// resolveIPAddr returns the addresses of a host for a network of IP.
func (n *Net) resolveIPAddr(ctx context.Context, network, host string) ([]*net.IPAddr, error) {
	family, _, ok, err := ipNetwork(network)
	if !ok {
		return nil, net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, err
	}
	ips, err := n.resolveIP(ctx, family, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]*net.IPAddr, len(ips))
	for i := range ips {
		addrs[i] = &ips[i]
	}
	return addrs, nil
}

// openIP opens a socket for a network of IP, an address of which is a.
func (n *Net) openIP(network string, a *net.IPAddr, control controlFunc) (*sockapi.Socket, string, error) {
	family, proto, ok, err := ipNetwork(network)
	switch {
	case !ok:
		return nil, "", net.UnknownNetworkError(network)
	case err != nil:
		return nil, "", err
	case family == "ip6", family == "ip" && !hasIPv4(a.IP):
		return nil, "", syscallError("socket", unix.EAFNOSUPPORT)
	}
	s, err := n.open(unix.SOCK_RAW, proto, "ip4", a.String(), control)
	return s, family, err
}

func (l *ListenConfig) listenIP(network string, laddr *net.IPAddr) (*IPConn, error) {
	s, family, err := l.Net.openIP(network, laddr, l.Control)
	if err == nil {
		if err = bindIP(s, family, laddr); err == nil {
			c := new(IPConn)
			c.init(s, family, ipName(s), nil, false)
			return c, nil
		}
		_ = s.Close()
	}
	return nil, opError("listen", network, nil, laddr, err)
}

// bindIP binds a socket.
func bindIP(s *sockapi.Socket, family string, laddr *net.IPAddr) error {
	local, err := ipSockaddr(&net.IPAddr{IP: anyOf(family, "ip", laddr.IP)})
	if err == nil {
		err = s.Bind(local)
	}
	return syscallError("bind", err)
}

// ipName returns what a socket is bound to, nil if it was closed meanwhile.
func ipName(s *sockapi.Socket) net.Addr {
	name, err := s.Getsockname()
	if err != nil {
		return nil
	}
	return ipSource(&name)
}

func (d *Dialer) dialIP(ctx context.Context, network string, laddr, raddr *net.IPAddr) (*IPConn, error) {
	var c *IPConn
	err := errMissingAddress
	if raddr != nil {
		c, err = d.connectIP(ctx, network, laddr, raddr)
	}
	if err != nil {
		return nil, opError("dial", network, ipOrNil(laddr), ipOrNil(raddr), err)
	}
	return c, nil
}

func (d *Dialer) connectIP(ctx context.Context, network string, laddr, raddr *net.IPAddr) (*IPConn, error) {
	s, family, err := d.Net.openIP(network, raddr, d.control(ctx))
	if err != nil {
		return nil, err
	}
	if laddr != nil {
		err = bindIP(s, family, laddr)
	}
	if err == nil {
		var peer sockapi.Sockaddr
		if peer, err = ipSockaddr(&net.IPAddr{IP: anyOf(family, "ip", raddr.IP)}); err == nil {
			err = s.Connect(peer)
		}
		err = syscallError("connect", err)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	c := new(IPConn)
	c.init(s, family, ipName(s), raddr, true)
	return c, nil
}
