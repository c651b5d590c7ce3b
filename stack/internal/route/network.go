package route

import (
	"net/netip"
	"slices"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// A Network is a host's configuration as the ways of a datagram see it: it is never
// changed, only replaced.
type Network struct {
	Devices  []*Device
	Links    []link.Pollable // of devices
	Loopback *Device         // the first one that is
	byIndex  map[int32]*Device
	// allAddresses and allRoutes are what was configured; addresses and routes, those
	// that count now: see count.
	allAddresses, addresses []ipv4.Address
	allRoutes, routes       *ipv4.RouteTable
	idle                    []held                 // addresses that are not in use
	local                   map[ipv4.Addr]*Device  // own addresses
	broadcasts              map[ipv4.Addr]struct{} // directed broadcast addresses
	// lastByte says, for each last byte of an address, whether one of ours, or
	// a broadcast, ends in it: it spares most datagrams the map.
	lastByte [256]bool
	// spares are the gateways of routes that stand in for one another: see Routes.choose.
	spares    map[Gateway]struct{}
	lastIndex int // the last that was given out
}

// loopbackBroadcast is the broadcast address of 127.0.0.0/8.
var loopbackBroadcast = ipv4.Addr{127, 255, 255, 255}

// Empty returns a network without devices: loopback, which may be nil, is for what is
// under way to addresses of our own.
func Empty(loopback *Device) *Network {
	n := &Network{allRoutes: new(ipv4.RouteTable), Loopback: loopback}
	n.Finish()
	return n
}

// Clone returns a copy to be changed. Finish completes it.
func (n *Network) Clone() *Network {
	return &Network{
		Devices:      slices.Clone(n.Devices),
		allAddresses: slices.Clone(n.allAddresses),
		allRoutes:    n.allRoutes.Clone(),
		Loopback:     n.Loopback,
		idle:         slices.Clone(n.idle),
		lastIndex:    n.lastIndex,
	}
}

// Finish makes the tables that follow from the rest, once all is as it shall be.
func (n *Network) Finish() {
	n.byIndex = make(map[int32]*Device)
	n.local = make(map[ipv4.Addr]*Device)
	n.broadcasts = make(map[ipv4.Addr]struct{})
	for _, d := range n.Devices {
		n.byIndex[d.Index] = d
		n.Links = append(n.Links, d.Link)
	}
	n.count()
	for _, a := range n.addresses {
		ip := a.IP()
		if n.local[ip] == nil { // of several devices with an address the first counts
			n.local[ip] = n.byIndex[int32(a.Iface)]
		}
		n.lastByte[ip[3]] = true
	}
	all := n.routes.All()
	for at, r := range all {
		if at > 0 {
			n.addSpares(&all[at-1], &r)
		}
		if r.Type == ipv4.Broadcast {
			b := r.Prefix.Addr().As4()
			n.broadcasts[b] = struct{}{}
			n.lastByte[b[3]] = true
		}
	}
}

// IsLocal reports whether a is one of our addresses.
func (n *Network) IsLocal(a ipv4.Addr) bool {
	if a.IsLoopback() {
		return a != loopbackBroadcast
	}
	return n.lastByte[a[3]] && n.local[a] != nil
}

// IsBroadcast reports whether a is the limited or a directed broadcast address.
func (n *Network) IsBroadcast(a ipv4.Addr) bool {
	if !n.lastByte[a[3]] {
		return a.IsLimitedBroadcast()
	}
	_, ok := n.broadcasts[a]
	return ok || a.IsLimitedBroadcast()
}

// MayBeOurs reports whether an address may be one of ours or a broadcast, but those of
// loopback and the limited broadcast: it is quick, and mostly false.
func (n *Network) MayBeOurs(a ipv4.Addr) bool { return n.lastByte[a[3]] }

// Has reports whether an address, not one of loopback's, is ours.
func (n *Network) Has(a ipv4.Addr) bool { return n.lastByte[a[3]] && n.local[a] != nil }

// Bindable reports whether a socket may bind to a: one of ours, a broadcast, a
// group, or all addresses.
func (n *Network) Bindable(a ipv4.Addr) bool {
	return a.IsUnspecified() || n.IsLocal(a) || n.IsBroadcast(a) || a.IsMulticast()
}

// ReceivesOnly reports whether a is a group or a broadcast: a socket bound to it
// sends from another address.
func (n *Network) ReceivesOnly(a ipv4.Addr) bool { return a.IsMulticast() || n.IsBroadcast(a) }

// ByIndex returns the device of an index, nil if there is none.
func (n *Network) ByIndex(index int32) *Device { return n.byIndex[index] }

// HomeOf returns the device that has an address, nil if none has: what is sent
// to it from this host counts as having come in by that one (Linux' inet_iif).
func (n *Network) HomeOf(addr ipv4.Addr) *Device {
	if home := n.local[addr]; home != nil || !addr.IsLoopback() {
		return home
	}
	return n.Loopback
}

// With returns the device that has an address of ours, nil if none has it: loopback has
// all of its network.
func (n *Network) With(addr ipv4.Addr) *Device {
	if addr.IsLoopback() && n.IsLocal(addr) {
		return n.Loopback
	}
	return n.local[addr]
}

// Toward returns the device by which datagrams for one of our addresses come, or, for
// the zero address, the first that has an address; nil if that is loopback.
func (n *Network) Toward(local ipv4.Addr) *Device {
	if !local.IsUnspecified() {
		if d := n.local[local]; d != nil && !d.Loopback {
			return d
		}
		return nil
	}
	for _, d := range n.Devices {
		if !d.Loopback && !n.Primary(d).IsUnspecified() {
			return d
		}
	}
	return nil
}

// Primary returns the device's first address, zero if it has none.
func (n *Network) Primary(d *Device) ipv4.Addr {
	for _, a := range n.allAddresses {
		if a.Iface == int(d.Index) {
			return a.IP()
		}
	}
	return ipv4.Addr{}
}

// Addresses returns the device's addresses that are in use.
func (n *Network) Addresses(d *Device) (out []netip.Prefix) {
	for _, a := range n.allAddresses {
		if a.Iface == int(d.Index) {
			out = append(out, a.Prefix)
		}
	}
	return out
}

// Source returns the address to send from to a destination by a device (RFC 1122,
// 3.3.4.3), zero if there is none.
func (n *Network) Source(dst ipv4.Addr, index int32) ipv4.Addr {
	src, _ := ipv4.SelectSource(n.addresses, dst, ipv4.Addr{}, int(index))
	return src
}

// Routes returns all routes, those of addresses among them.
func (n *Network) Routes() []ipv4.Route { return n.allRoutes.All() }

// hasIndex reports whether a device has an index.
func (n *Network) hasIndex(index int) bool {
	return slices.ContainsFunc(n.Devices, func(d *Device) bool { return int(d.Index) == index })
}

// Add adds a device. index 0 takes the link's own, or one that is free. EEXIST: another
// one has the index. Other errors are link.Claimer's: the network's addresses cannot be
// had on the link's host.
func (n *Network) Add(d *Device, index int) error {
	given := index != 0
	if !given {
		index = d.Info().Index
	}
	for index == 0 || !given && n.hasIndex(index) {
		n.lastIndex++
		if index = n.lastIndex; n.hasIndex(index) {
			index = 0
		}
	}
	if n.hasIndex(index) {
		return unix.EEXIST
	}
	if err := n.reserveAll(d); err != nil {
		return err
	}
	d.Index = int32(index)
	n.Devices = append(n.Devices, d)
	if d.Loopback && n.Loopback == nil {
		n.Loopback = d
	}
	return nil
}

// RemoveIndex takes out the device of an index, with its addresses and routes. ENODEV:
// there is none. EBUSY: it is the loopback.
func (n *Network) RemoveIndex(index int) (*Device, error) {
	at := slices.IndexFunc(n.Devices, func(d *Device) bool { return int(d.Index) == index })
	if at < 0 {
		return nil, unix.ENODEV
	}
	gone := n.Devices[at]
	if gone == n.Loopback {
		return nil, unix.EBUSY
	}
	n.Remove(gone)
	return gone, nil
}

// Remove takes out a device, with its addresses and routes.
func (n *Network) Remove(gone *Device) {
	n.releaseAll(gone)
	index := int(gone.Index)
	n.Devices = slices.DeleteFunc(n.Devices, func(d *Device) bool { return d == gone })
	n.idle = slices.DeleteFunc(n.idle, func(a held) bool { return a.dev == gone })
	n.allAddresses = slices.DeleteFunc(n.allAddresses, func(a ipv4.Address) bool { return a.Iface == index })
	for _, r := range n.allRoutes.All() {
		if r.Iface == index {
			n.allRoutes.Delete(r)
		}
	}
}

// AddRoute adds a route: see stack.Stack.AddRoute.
func (n *Network) AddRoute(r ipv4.Route) error {
	if r.OnLink && r.Iface == 0 {
		return unix.ENODEV // as ip-route(8): on which link?
	}
	if !r.Gateway.IsUnspecified() && !r.OnLink {
		iface, err := n.allRoutes.ResolveGateway(r.Gateway, r.Iface)
		if err != nil {
			return err
		}
		r.Iface = iface
	}
	if r.Iface != 0 && !n.hasIndex(r.Iface) {
		return unix.ENODEV
	}
	return n.allRoutes.Insert(r)
}

// RemoveRoute removes a route: ESRCH if it is not there.
func (n *Network) RemoveRoute(r ipv4.Route) error { return n.allRoutes.Delete(r) }
