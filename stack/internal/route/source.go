package route

import (
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// A Source knows the ways from a host better than a table of the stack's own: it is the
// operating system whose addresses the stack shares. It is asked once for each path, with
// no lane's lock held, by several goroutines at once; what it answers holds until the
// [Generations] change.
type Source interface {
	// Route returns the way that a datagram takes. The errno is what a send says that
	// has none.
	Route(q Query) (Answer, unix.Errno)
}

// A Query is what a Source is asked.
type Query struct {
	Src, Dst ipv4.Addr // Src zero: to be chosen
	Device   int32     // the index of the only device that will do; 0: any
	TOS      uint8     // the type-of-service octet
	Mark     uint32    // SO_MARK
	OnLink   bool      // no gateway (MSG_DONTROUTE)
	Loop     bool      // of a multicast: the host's own members want it too (IP_MULTICAST_LOOP)
	Protocol uint8     // in the IP header
}

// An Answer is what a Source says.
type Answer struct {
	// Local says that Dst is an address of the host's.
	Local bool
	// InBand says that the operating system is to send the datagram itself. So it does too
	// if Local, or if the stack has no interface of the index Device, or one that is in-band
	// (link.InBander).
	InBand  bool
	Kind    Kind
	Device  int32
	Gateway ipv4.Addr // zero: Dst is a neighbour
	Src     ipv4.Addr // zero: the query's
	// MTU is that of the way, in bytes, where it is known to be less than the device's; 0: it
	// is not. Of what the operating system sends it is never 0.
	MTU int
	// Learnt says that MTU comes from an ICMP error and will be forgotten, and not from
	// the route.
	Learnt bool
	// MTULocked says that the MTU is below what a host may believe: datagrams are sent
	// without DF, for routers to fragment.
	MTULocked bool
}

// SetSource makes s whom Find asks. It is for before r is used.
func (r *Routes) SetSource(s Source) { r.source = s }

// ask is Find where there is a Source.
func (r *Routes) ask(n *Network, f Flow) (Hop, unix.Errno) {
	q := Query{Src: f.Src, Dst: f.Dst, Device: f.Device, TOS: f.TOS, Mark: f.Mark, OnLink: f.OnLink, Loop: f.Loop,
		Protocol: f.Protocol}
	if f.AnySource && !n.IsLocal(f.Src) {
		q.Src = ipv4.Addr{} // which no operating system would have
	}
	a, e := r.source.Route(q)
	if e != 0 {
		return Hop{}, e
	}
	h := Hop{Next: f.Dst, Src: f.Src, Kind: a.Kind, MTU: a.MTU, MTULocked: a.MTULocked}
	if h.Src.IsUnspecified() {
		h.Src = a.Src
	}
	if h.Kind == Broadcast && !f.Broadcast {
		return Hop{}, unix.EACCES
	}
	if a.Local {
		h.Device, h.MTU = n.Loopback, 0
		r.size(&h, f.Dst)
		return h, 0
	}
	if h.Device = n.Present(a.Device); h.Device == nil || h.Device.Loopback || h.Device.InBand || a.InBand {
		h.Device, h.Via = n.Loopback, a.Device
	}
	if !a.Gateway.IsUnspecified() {
		h.Next = a.Gateway
	}
	if a.Learnt && h.Kind == Unicast {
		if r.mtus.update(r.now(), h.path(f.Dst), a.MTU, h.Device.Info().MTU) {
			r.Generations.ChangedTo(f.Dst) // who has asked before has not heard of it
		}
		h.MTU = 0
	}
	r.size(&h, f.Dst)
	return h, 0
}
