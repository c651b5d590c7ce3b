package stack

import (
	"slices"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// flow is what a route is looked up for.
type flow struct {
	src, dst  ipv4.Addr // src zero: to be chosen
	device    int32     // 0: any
	broadcast bool      // broadcast destinations are allowed
	onLink    bool      // no gateway: MSG_DONTROUTE
	anySource bool      // src need not be ours: IP_TRANSPARENT
	self      bool      // dst was the zero address, see thisHost
}

// destination is the kind of address that a datagram goes to.
type destination uint8

const (
	toUnicast destination = iota
	toBroadcast
	toMulticast
)

// hop is the answer: where a datagram to a destination leaves, and as whom.
type hop struct {
	ifc     *Interface
	src     ipv4.Addr
	next    ipv4.Addr // the neighbour: the gateway, or the destination itself
	kind    destination
	mtu     int
	pathMTU int // learnt from ICMP, else mtu
	// mtuLocked says that the path claims to have an MTU below what a host may
	// believe: datagrams are sent without DF, for routers to fragment.
	mtuLocked bool
	// byLoopback says of what goes to ourselves that it comes in by the loopback
	// interface, and not by the one that has the address.
	byLoopback bool
}

// loopbackAddr is this host, as itself.
var loopbackAddr = ipv4.Addr{127, 0, 0, 1}

// route finds the way to f.dst by the rules of Linux' ip_route_output_key:
// own addresses by loopback, limited broadcast and multicast by the device or
// the source address if one is given, all else by the longest prefix.
// ENETUNREACH: no route. EHOSTUNREACH, EACCES, EINVAL: an unreachable, prohibit
// or blackhole route. EACCES: a broadcast that is not allowed.
func (s *Stack) route(f flow) (hop, unix.Errno) {
	net := s.net.Load()
	if !f.src.IsUnspecified() && !net.isLocal(f.src) {
		switch {
		case f.src.IsMulticast() || f.src.IsLimitedBroadcast():
			return hop{}, unix.EINVAL
		case !f.anySource, f.device == 0 && (f.dst.IsMulticast() || f.dst.IsLimitedBroadcast()):
			return hop{}, unix.ENETUNREACH // the latter for want of a device
		}
	}
	if f.device != 0 {
		if e := net.usable(f.device); e != 0 {
			return hop{}, e
		}
	}
	if f.self || net.isLocal(f.dst) && net.reaches(f) {
		return net.localHop(f), 0
	}
	h := hop{next: f.dst, src: f.src}
	limited := f.dst.IsLimitedBroadcast()
	if limited || f.dst.IsMulticast() {
		if h.kind = toMulticast; limited {
			h.kind = toBroadcast
		}
		h.ifc = net.interfaceFor(f)
	}
	if h.ifc == nil {
		if e := s.lookupRoute(net, f, &h); e != 0 {
			return hop{}, e
		}
	}
	if !h.ifc.loopback { // loopback addresses stay on loopback
		switch {
		case f.src.IsLoopback():
			return hop{}, unix.EINVAL
		case f.dst.IsLoopback(): // by a gateway, or a route of the program's
			return hop{}, unix.EHOSTUNREACH
		}
	}
	if h.kind == toBroadcast && !f.broadcast {
		return hop{}, unix.EACCES
	}
	info := h.ifc.info.Load()
	if h.mtu == 0 || h.mtu > info.MTU {
		h.mtu = info.MTU
	}
	h.mtu = min(h.mtu, ipv4.MaxLen)
	h.pathMTU = h.mtu
	if h.kind == toUnicast {
		if m, locked, ok := s.lookupPathMTU(h.pathOf(f.dst)); ok {
			h.pathMTU, h.mtuLocked = min(h.mtu, m), locked
		}
	}
	if h.src.IsUnspecified() {
		src, ok := ipv4.SelectSource(net.addresses, f.dst, h.next, int(h.ifc.index))
		if !ok && h.kind == toUnicast {
			return hop{}, unix.ENETUNREACH
		}
		h.src = src
	}
	h.byLoopback = h.ifc.loopback && net.homeOf(f.dst) != h.ifc
	return h, 0
}

// thisHost makes the zero address, as destination, the one that it stands for: the
// source's, else the device's, else 127.0.0.1.
func (n *network) thisHost(f *flow) {
	if !f.dst.IsUnspecified() {
		return
	}
	if f.src.IsUnspecified() && f.device != 0 {
		f.src, _ = ipv4.SelectSource(n.addresses, f.dst, ipv4.Addr{}, int(f.device))
	}
	if f.dst, f.self = f.src, true; f.dst.IsUnspecified() {
		f.dst = loopbackAddr
	}
}

// lookupRoute asks the routing table, and fills in h's device, gateway, source,
// MTU and kind.
func (s *Stack) lookupRoute(n *network, f flow, h *hop) unix.Errno {
	look := n.routes.Lookup
	if f.onLink {
		look = n.routes.LookupOnLink
	}
	r, ok := look(f.dst, int(f.device))
	if !ok {
		// Linux: with a device given and no route, the destination is taken
		// to be on its link.
		if h.ifc = n.byIndex[f.device]; h.ifc == nil {
			return unix.ENETUNREACH
		}
		return 0
	}
	if e := r.Type.Errno(); e != 0 {
		return e
	}
	if n.spares != nil && !r.Gateway.IsUnspecified() {
		r = s.choose(n, r, f.device)
	}
	if r.Type == ipv4.Broadcast {
		h.kind = toBroadcast
	}
	if h.ifc = n.byIndex[int32(r.Iface)]; h.ifc == nil {
		return unix.ENETUNREACH
	}
	if !r.Gateway.IsUnspecified() {
		h.next = r.Gateway
	}
	if h.src.IsUnspecified() {
		h.src = r.Source
	}
	h.mtu = r.MTU
	return 0
}

// reaches reports whether an address of our own is sought where it is: by a
// device that has not got it, datagrams leave.
func (n *network) reaches(f flow) bool {
	if f.device == 0 {
		return true
	}
	home := n.homeOf(f.dst)
	return home != nil && home.index == f.device || slices.ContainsFunc(n.addresses, func(a ipv4.Address) bool {
		return a.Iface == int(f.device) && a.IP() == f.dst // a second one has it too
	})
}

// homeOf returns the interface that has an address, nil if none has: what is sent
// to it from this host counts as having come in by that one (Linux' inet_iif).
func (n *network) homeOf(addr ipv4.Addr) *Interface {
	if home := n.local[addr]; home != nil || !addr.IsLoopback() {
		return home
	}
	return n.loopback
}

// primaryOf returns the address that is preferred as source to one of our own: of a
// secondary address it is the primary one of its subnet, which stands before it.
func (n *network) primaryOf(addr ipv4.Addr) ipv4.Addr {
	at := slices.IndexFunc(n.addresses, func(a ipv4.Address) bool { return a.IP() == addr })
	if at < 0 || !n.addresses[at].Secondary {
		return addr
	}
	for _, p := range n.addresses[:at] {
		if a := &n.addresses[at]; p.Iface == a.Iface && p.Prefix.Bits() == a.Prefix.Bits() && p.Prefix.Contains(a.Prefix.Addr()) {
			return p.IP()
		}
	}
	return addr
}

// localHop returns the way to an address of our own: over loopback, from
// itself, or 127.0.0.1, unless a source is given.
func (n *network) localHop(f flow) hop {
	src := f.src
	switch {
	case !src.IsUnspecified():
	case f.dst.IsLoopback():
		src = loopbackAddr // the preferred source of the route to 127.0.0.0/8
	default:
		src = n.primaryOf(f.dst)
	}
	mtu := min(n.loopback.info.Load().MTU, ipv4.MaxLen)
	return hop{ifc: n.loopback, src: src, next: f.dst, mtu: mtu, pathMTU: mtu,
		byLoopback: f.self && f.device == 0 && n.homeOf(f.dst) != n.loopback}
}

// interfaceFor returns the interface that a limited broadcast or a multicast
// leaves by: the socket's device, or the one that has the source address; nil
// to go by the routes.
func (n *network) interfaceFor(f flow) *Interface {
	if f.device != 0 {
		return n.byIndex[f.device]
	}
	return n.interfaceWith(f.src)
}

// interfaceWith returns the interface that has an address of ours, nil if none has it:
// loopback has all of its network.
func (n *network) interfaceWith(addr ipv4.Addr) *Interface {
	if addr.IsLoopback() && n.isLocal(addr) {
		return n.loopback
	}
	return n.local[addr]
}

// pathOf returns what names the path to dst by this hop.
func (h *hop) pathOf(dst ipv4.Addr) ipv4.Path {
	return ipv4.Path{Dst: dst, Next: h.next, Iface: h.ifc.index}
}

// lookupPathMTU returns what ICMP has taught of a path.
func (s *Stack) lookupPathMTU(p ipv4.Path) (mtu int, locked, ok bool) {
	s.pmtuMu.Lock()
	defer s.pmtuMu.Unlock()
	if s.pmtu.Len() == 0 {
		return 0, false, false
	}
	return s.pmtu.LookupLocked(s.clock.Now(), p)
}
