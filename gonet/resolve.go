package gonet

import (
	"context"
	"net"
	"net/netip"
	"strings"
)

// resolver returns what resolves names.
func (n *Net) resolver() *net.Resolver {
	if n != nil && n.Resolver != nil {
		return n.Resolver
	}
	return net.DefaultResolver
}

// resolveUDP returns the addresses that a string of host and port stands for, in the order in
// which they are to be tried: at least one.
func (n *Net) resolveUDP(ctx context.Context, network, address string) ([]*net.UDPAddr, error) {
	host, port, err := "", "", error(nil)
	number := 0
	if address != "" {
		if host, port, err = net.SplitHostPort(address); err != nil {
			return nil, err
		}
		if number, err = n.resolver().LookupPort(ctx, network, port); err != nil {
			return nil, err
		}
	}
	ips, err := n.resolveIP(ctx, network, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]*net.UDPAddr, len(ips))
	for i, ip := range ips {
		addrs[i] = &net.UDPAddr{IP: ip.IP, Port: number, Zone: ip.Zone}
	}
	return addrs, nil
}

// resolveIP returns the addresses of a host: those that the network has, IPv4 first; one
// without an IP for an empty name.
func (n *Net) resolveIP(ctx context.Context, network, host string) ([]net.IPAddr, error) {
	if host == "" {
		return []net.IPAddr{{}}, nil
	}
	family := "ip4" // of names, since the stack has nothing else
	if strings.HasSuffix(network, "6") {
		family = "ip6"
	}
	var found []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		found = []netip.Addr{ip}
	} else if found, err = n.resolver().LookupNetIP(ctx, family, host); err != nil {
		return nil, err
	}
	var addrs []net.IPAddr
	for _, ip := range found {
		is4 := ip.Is4() || ip.Is4In6()
		switch {
		case strings.HasSuffix(network, "4") && !is4, family == "ip6" && is4:
		default:
			addrs = append(addrs, net.IPAddr{IP: ip.AsSlice(), Zone: ip.Zone()})
		}
	}
	if len(addrs) == 0 {
		return nil, &net.AddrError{Err: errNoSuitableAddress, Addr: host}
	}
	return addrs, nil
}

// ResolveUDPAddr returns the address that a string of host and port stands for, the first of
// several. See net.ResolveUDPAddr.
func (n *Net) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	if network == "" {
		network = "udp"
	}
	if !isUDP(network) {
		return nil, net.UnknownNetworkError(network)
	}
	addrs, err := n.resolveUDP(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return addrs[0], nil
}

// ResolveIPAddr is ResolveUDPAddr for a network of IP, with or without a protocol. See
// net.ResolveIPAddr.
func (n *Net) ResolveIPAddr(network, address string) (*net.IPAddr, error) {
	switch network {
	case "":
		network = "ip:0"
	case "ip", "ip4", "ip6":
		network += ":0"
	}
	addrs, err := n.resolveIPAddr(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return addrs[0], nil
}
