package ipv4

import "net/netip"

// An Address is one that an interface has.
type Address struct {
	// Prefix is the address with its host bits, and the length of its
	// subnet: 10.0.0.1/24.
	Prefix netip.Prefix
	// Broadcast is a broadcast address besides the subnet's directed one, or
	// 0.0.0.0 for none.
	Broadcast Addr
	// Iface is the number of the interface.
	Iface int
	// Scope is how far the address is valid, one of the Scope constants.
	Scope uint8
	// Secondary says that the interface has another address of the same
	// subnet, which is preferred as source and brings the subnet's routes.
	Secondary bool
}

// IP returns the address itself.
func (a *Address) IP() Addr { return a.Prefix.Addr().As4() }

// NewAddress returns the address with the scope that it has by nature: host for
// 127/8, link for 169.254/16 (RFC 3927, section 2.7), else universe. It is
// secondary if one of those that are there already has the same interface and
// subnet, as Linux' inet_insert_ifa decides.
func NewAddress(p netip.Prefix, iface int, there []Address) Address {
	a := Address{Prefix: p, Iface: iface}
	switch ip := a.IP(); {
	case ip.IsLoopback():
		a.Scope = ScopeHost
	case ip.IsLinkLocal():
		a.Scope = ScopeLink
	}
	for i := range there {
		o := &there[i]
		if o.Iface == iface && !o.Secondary && o.Prefix.Bits() == p.Bits() && within(o.IP(), p) {
			a.Secondary = true
		}
	}
	return a
}

// Routes returns the routes that the address brings along, as Linux'
// fib_add_ifaddr makes them: the address itself (Local), the limited and the
// subnet's broadcast address, if it has one, and the subnet, unless the address
// is secondary or a subnet by itself. The subnet of a loopback address is Local
// as a whole.
//
// Several addresses can bring the same route: Insert's EEXIST is nothing to
// worry about then.
func (a Address) Routes() []Route {
	if !a.Prefix.IsValid() || !a.Prefix.Addr().Is4() {
		return nil
	}
	ip := a.IP()
	routes := []Route{a.route(netip.PrefixFrom(a.Prefix.Addr(), 32), Local, ScopeHost)}
	if !a.Broadcast.IsUnspecified() && !a.Broadcast.IsLimitedBroadcast() {
		routes = append(routes, a.broadcast(a.Broadcast))
	}
	subnet := a.Prefix.Masked()
	if a.Secondary || Addr(subnet.Addr().As4()).IsUnspecified() || subnet.Bits() == 32 {
		return routes
	}
	if ip.IsLoopback() {
		routes = append(routes, a.route(subnet, Local, ScopeHost))
	} else {
		routes = append(routes, a.route(subnet, Unicast, ScopeLink))
	}
	if b, ok := DirectedBroadcast(subnet); ok && b != a.Broadcast && b != ip {
		routes = append(routes, a.broadcast(b))
	}
	return routes
}

func (a *Address) broadcast(ip Addr) Route {
	return a.route(netip.PrefixFrom(netip.AddrFrom4(ip), 32), Broadcast, ScopeLink)
}

func (a *Address) route(p netip.Prefix, t RouteType, scope uint8) Route {
	return Route{Prefix: p, Type: t, Scope: scope, Source: a.IP(), Iface: a.Iface}
}

// SelectSource chooses the source address for datagrams to dst that leave by
// iface towards gateway, 0.0.0.0 if dst is on the link (RFC 1122, section
// 3.3.4.3; Linux' inet_select_addr). It is the first primary address of the
// interface whose subnet holds the gateway, or dst if there is none; else the
// interface's first primary address; else that of any other interface. None
// counts that does not reach as far as the datagram: an address of this host
// does not leave it, and one of the link crosses no gateway. An iface of 0 leaves
// all interfaces to choose from. addrs is in order of preference.
func SelectSource(addrs []Address, dst, gateway Addr, iface int) (src Addr, ok bool) {
	scope, next := scopeOf(dst, gateway), gateway
	if gateway.IsUnspecified() {
		next = dst
	}
	for i := range addrs {
		a := &addrs[i]
		if a.Secondary || iface != 0 && a.Iface != iface || a.Scope > scope {
			continue
		}
		if within(next, a.Prefix) {
			return a.IP(), true
		}
		if !ok && (iface != 0 || a.Scope != ScopeLink) {
			src, ok = a.IP(), true
		}
	}
	if ok || iface == 0 {
		return src, ok
	}
	for i := range addrs {
		a := &addrs[i]
		if !a.Secondary && a.Iface != iface && a.Scope != ScopeLink && a.Scope <= scope {
			return a.IP(), true
		}
	}
	return src, false
}

// scopeOf returns how far a datagram must be able to go, and its answer to come
// back.
func scopeOf(dst, gateway Addr) uint8 {
	switch {
	case dst.IsLoopback(), dst.IsUnspecified():
		return ScopeHost
	case !gateway.IsUnspecified():
		return ScopeUniverse
	case dst.IsMulticast() && !dst.IsLocalMulticast():
		return ScopeUniverse
	}
	return ScopeLink
}
