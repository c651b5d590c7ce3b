package stack

import (
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/group"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// defaultMulticastTTL is the time to live of multicasts (ip(7), IP_MULTICAST_TTL).
const defaultMulticastTTL = 1

// A GroupRequest names a group on an interface, as struct ip_mreqn in ip(7) does:
// by the interface's index if it is not 0, else by an address of the interface if
// that is not zero, else by the route to the group.
type GroupRequest = group.Request

// Multicast is what a socket has of multicasts: the groups that it is a member of, with
// their source filters, and how it sends to groups (ip(7)).
type Multicast struct {
	group.Options
	members group.Memberships
	k       *IPSocket

	// Guarded by Endpoint.mu.
	ifIndex int32
	ifAddr  ipv4.Addr
	ttl     int32
	quiet   bool // IP_MULTICAST_LOOP is 0
}

func (o *Multicast) init(s *Stack, k *IPSocket) {
	o.members.Init(&s.groups, k)
	o.Options = o.members.Options()
	o.k, o.ttl = k, defaultMulticastTTL
}

// apply gives the flow of a multicast its device and source if it has none yet.
// Endpoint.mu is held.
func (o *Multicast) apply(f *route.Flow) {
	if !f.Dst.IsMulticast() {
		return
	}
	if f.Device == 0 {
		f.Device = o.ifIndex
	}
	if f.Src.IsUnspecified() {
		f.Src = o.ifAddr
	}
}

// SetInterface says by which interface multicasts leave, and with which
// source address, unless the socket is bound to others (IP_MULTICAST_IF); the zero
// request: as the routes say. EADDRNOTAVAIL: no such interface. EINVAL: the socket is
// bound to another. The request's Group does not matter.
func (o *Multicast) SetInterface(r GroupRequest) error {
	if o.k.Closed() {
		return unix.EBADF
	}
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	index := int32(r.Interface)
	addr := r.Address
	switch {
	case index != 0:
		if o.k.s.routes.Net().Present(index) == nil {
			return unix.EADDRNOTAVAIL
		}
	case !addr.IsUnspecified():
		ifc := o.k.s.groupInterface(r)
		if ifc == nil {
			return unix.EADDRNOTAVAIL
		}
		index = ifc.dev.Index
	}
	if index != 0 && o.k.device != 0 && o.k.device != index {
		return unix.EINVAL
	}
	o.ifIndex, o.ifAddr = index, addr
	o.k.RenewPaths()
	return nil
}

// Interface returns what SetInterface set.
func (o *Multicast) Interface() (index int, addr ipv4.Addr) {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	return int(o.ifIndex), o.ifAddr
}

// SetTTL sets the time to live of multicasts, 0 to 255: those with 0 do not
// leave the host (IP_MULTICAST_TTL).
func (o *Multicast) SetTTL(ttl int) {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	o.ttl = int32(ttl)
	o.k.RenewPaths()
}

// TTL returns what SetTTL set, or 1.
func (o *Multicast) TTL() int {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	return int(o.ttl)
}

// SetLoop says whether the stack's own sockets, this one among them, hear
// the multicasts that the socket sends (IP_MULTICAST_LOOP).
func (o *Multicast) SetLoop(on bool) {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	o.quiet = !on
	o.k.RenewPaths()
}

// Loop returns what SetLoop set, or true.
func (o *Multicast) Loop() bool {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	return !o.quiet
}

// groupInterface returns the interface that a request names (ip_mc_find_dev). With
// Address, that of 0.0.0.0 is the one that the route gives.
func (s *Stack) groupInterface(r GroupRequest) *Interface {
	n := s.routes.Net()
	if r.Interface != 0 {
		return interfaceOf(n.Present(int32(r.Interface)))
	}
	if !r.Address.IsUnspecified() {
		return interfaceOf(n.With(r.Address))
	}
	if r.Group.IsUnspecified() {
		return interfaceOf(n.Loopback) // the zero address is this host
	}
	if h, e := s.routes.Find(route.Flow{Dst: r.Group}); e == 0 {
		return interfaceOf(h.Device)
	}
	return nil
}
