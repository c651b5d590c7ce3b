package route

import (
	"slices"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// A Flow is what a route is looked up for.
type Flow struct {
	Src, Dst  ipv4.Addr // Src zero: to be chosen
	Device    int32     // 0: any
	Broadcast bool      // broadcast destinations are allowed
	OnLink    bool      // no gateway: MSG_DONTROUTE
	AnySource bool      // Src need not be ours: IP_TRANSPARENT
	Self      bool      // Dst was the zero address, see ThisHost
	Loop      bool      // a multicast is for members on this host too
	Protocol  uint8     // a Source may go by these three
	TOS       uint8
	Mark      uint32
}

// A Kind is the kind of address that a datagram goes to.
type Kind uint8

// The kinds of destinations.
const (
	Unicast Kind = iota
	Broadcast
	Multicast
)

// A Hop is the answer: where a datagram to a destination leaves, and as whom.
type Hop struct {
	Device  *Device
	Src     ipv4.Addr
	Next    ipv4.Addr // the neighbour: the gateway, or the destination itself
	Kind    Kind
	MTU     int
	PathMTU int // learnt from ICMP, else MTU
	// MTULocked says that the path claims to have an MTU below what a host may
	// believe: datagrams are sent without DF, for routers to fragment.
	MTULocked bool
	// Via is the index of the device by which the operating system is to send, of what
	// Device, a loopback one, hands to it (see Source); 0: that is its choice.
	Via int32
	// ByLoopback says of what goes to ourselves that it comes in by the loopback
	// device, and not by the one that has the address.
	ByLoopback bool
}

// loopbackAddr is this host, as itself.
var loopbackAddr = ipv4.Addr{127, 0, 0, 1}

// Find finds the way to f.Dst by the rules of Linux' ip_route_output_key:
// own addresses by loopback, limited broadcast and multicast by the device or
// the source address if one is given, all else by the longest prefix.
// ENETUNREACH: no route. EHOSTUNREACH, EACCES, EINVAL: an unreachable, prohibit
// or blackhole route. EACCES: a broadcast that is not allowed.
// Where there is a Source, it knows all of this.
func (r *Routes) Find(f Flow) (Hop, unix.Errno) {
	net := r.Net()
	if r.source != nil {
		return r.ask(net, f)
	}
	if !f.Src.IsUnspecified() && !net.IsLocal(f.Src) {
		switch {
		case f.Src.IsMulticast() || f.Src.IsLimitedBroadcast():
			return Hop{}, unix.EINVAL
		case !f.AnySource, f.Device == 0 && (f.Dst.IsMulticast() || f.Dst.IsLimitedBroadcast()):
			return Hop{}, unix.ENETUNREACH // the latter for want of a device
		}
	}
	if f.Device != 0 {
		if e := net.usable(f.Device); e != 0 {
			return Hop{}, e
		}
	}
	if f.Self || net.IsLocal(f.Dst) && net.reaches(f) {
		return net.localHop(f), 0
	}
	h := Hop{Next: f.Dst, Src: f.Src}
	limited := f.Dst.IsLimitedBroadcast()
	if limited || f.Dst.IsMulticast() {
		if h.Kind = Multicast; limited {
			h.Kind = Broadcast
		}
		h.Device = net.deviceFor(f)
	}
	if h.Device == nil {
		if e := r.look(net, f, &h); e != 0 {
			return Hop{}, e
		}
	}
	if e := h.permits(f); e != 0 {
		return Hop{}, e
	}
	r.size(&h, f.Dst)
	if h.Src.IsUnspecified() {
		src, ok := ipv4.SelectSource(net.addresses, f.Dst, h.Next, int(h.Device.Index))
		if !ok && h.Kind == Unicast {
			return Hop{}, unix.ENETUNREACH
		}
		h.Src = src
	}
	h.ByLoopback = h.Device.Loopback && net.HomeOf(f.Dst) != h.Device
	return h, 0
}

// permits returns why a flow may not take the hop, else 0.
func (h *Hop) permits(f Flow) unix.Errno {
	if !h.Device.Loopback { // loopback addresses stay on loopback
		switch {
		case f.Src.IsLoopback():
			return unix.EINVAL
		case f.Dst.IsLoopback(): // by a gateway, or a route of the program's
			return unix.EHOSTUNREACH
		}
	}
	if h.Kind == Broadcast && !f.Broadcast {
		return unix.EACCES
	}
	return 0
}

// size fills in the hop's MTUs.
func (r *Routes) size(h *Hop, dst ipv4.Addr) {
	info := h.Device.Info()
	if h.MTU == 0 || h.MTU > info.MTU {
		h.MTU = info.MTU
	}
	h.MTU = min(h.MTU, ipv4.MaxLen)
	h.PathMTU = h.MTU
	if h.Kind == Unicast {
		if m, locked, ok := r.mtus.lookup(r.now, h.path(dst)); ok {
			h.PathMTU, h.MTULocked = min(h.MTU, m), locked
		}
	}
}

// look asks the routing table, and fills in h's device, gateway, source,
// MTU and kind.
func (r *Routes) look(n *Network, f Flow, h *Hop) unix.Errno {
	look := n.routes.Lookup
	if f.OnLink {
		look = n.routes.LookupOnLink
	}
	to, ok := look(f.Dst, int(f.Device))
	if !ok {
		// Linux: with a device given and no route, the destination is taken
		// to be on its link.
		if h.Device = n.byIndex[f.Device]; h.Device == nil {
			return unix.ENETUNREACH
		}
		return 0
	}
	if e := to.Type.Errno(); e != 0 {
		return e
	}
	if n.spares != nil && !to.Gateway.IsUnspecified() {
		to = r.Gateways.choose(n, to, f.Device)
	}
	if to.Type == ipv4.Broadcast {
		h.Kind = Broadcast
	}
	if h.Device = n.byIndex[int32(to.Iface)]; h.Device == nil {
		return unix.ENETUNREACH
	}
	if !to.Gateway.IsUnspecified() {
		h.Next = to.Gateway
	}
	if h.Src.IsUnspecified() {
		h.Src = to.Source
	}
	h.MTU = to.MTU
	return 0
}

// reaches reports whether an address of our own is sought where it is: by a
// device that has not got it, datagrams leave.
func (n *Network) reaches(f Flow) bool {
	if f.Device == 0 {
		return true
	}
	home := n.HomeOf(f.Dst)
	return home != nil && home.Index == f.Device || slices.ContainsFunc(n.addresses, func(a ipv4.Address) bool {
		return a.Iface == int(f.Device) && a.IP() == f.Dst // a second one has it too
	})
}

// deviceFor returns the device that a limited broadcast or a multicast
// leaves by: the socket's device, or the one that has the source address; nil
// to go by the routes.
func (n *Network) deviceFor(f Flow) *Device {
	if f.Device != 0 {
		return n.byIndex[f.Device]
	}
	return n.With(f.Src)
}

// path returns what names the path to dst by this hop.
func (h *Hop) path(dst ipv4.Addr) ipv4.Path {
	return ipv4.Path{Dst: dst, Next: h.Next, Iface: h.Device.Index}
}
