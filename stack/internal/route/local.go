package route

import (
	"slices"

	"github.com/outband/outband/ipv4"
)

// ThisHost makes the zero address, as destination, the one that it stands for: the
// source's, else the device's, else 127.0.0.1.
func (n *Network) ThisHost(f *Flow) {
	if !f.Dst.IsUnspecified() {
		return
	}
	if f.Src.IsUnspecified() && f.Device != 0 {
		f.Src = n.Source(f.Dst, f.Device)
	}
	if f.Dst, f.Self = f.Src, true; f.Dst.IsUnspecified() {
		f.Dst = loopbackAddr
	}
}

// primaryOf returns the address that is preferred as source to one of our own: of a
// secondary address it is the primary one of its subnet, which stands before it.
func (n *Network) primaryOf(addr ipv4.Addr) ipv4.Addr {
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
func (n *Network) localHop(f Flow) Hop {
	src := f.Src
	switch {
	case !src.IsUnspecified():
	case f.Dst.IsLoopback():
		src = loopbackAddr // the preferred source of the route to 127.0.0.0/8
	default:
		src = n.primaryOf(f.Dst)
	}
	mtu := min(n.Loopback.Info().MTU, ipv4.MaxLen)
	return Hop{Device: n.Loopback, Src: src, Next: f.Dst, MTU: mtu, PathMTU: mtu,
		ByLoopback: f.Self && f.Device == 0 && n.HomeOf(f.Dst) != n.Loopback}
}

// LocalFor returns the address that we would answer a datagram with, that
// came by a device from src for dst: dst itself if it is ours, else, for
// broadcasts and multicasts, the one that we would send to src with (in_pktinfo's
// ipi_spec_dst in ip(7), Linux' fib_compute_spec_dst).
func (r *Routes) LocalFor(index int32, src, dst ipv4.Addr) ipv4.Addr {
	n := r.Net()
	if !n.ReceivesOnly(dst) { // it was ours when it came
		return dst
	}
	if src[0] != 0 {
		if n.IsLocal(src) {
			return n.localHop(Flow{Dst: src}).Src
		}
		h := Hop{Next: src}
		if e := r.look(n, Flow{Dst: src}, &h); e == 0 {
			if h.Src.IsUnspecified() {
				h.Src, _ = ipv4.SelectSource(n.addresses, src, h.Next, int(h.Device.Index))
			}
			return h.Src
		}
	}
	return n.Source(src, index)
}
