package ipv4_test

import (
	"fmt"
	"net/netip"

	"github.com/outband/outband/ipv4"
)

// A datagram is cut for a path of 576 bytes, and made whole again from fragments that come
// in the other order.
func ExampleFragmenter() {
	fields := ipv4.Fields{ID: 1, TTL: 64, Protocol: 17, Src: ipv4.Addr{10, 9, 0, 1}, Dst: ipv4.Addr{10, 9, 0, 2}}
	var g ipv4.Fragmenter
	if cause := g.Reset(&fields, make([]byte, 1400), 576); cause != ipv4.CauseNone {
		fmt.Println(cause)
		return
	}
	var fragments [][]byte
	for more := true; more; {
		buf := make([]byte, 576)
		var n int
		n, more = g.Next(buf)
		fragments = append([][]byte{buf[:n]}, fragments...)
	}

	r := ipv4.NewReassembler(ipv4.ReassemblyConfig{})
	for _, f := range fragments {
		h, payload, cause := ipv4.Parse(f)
		if cause != ipv4.CauseNone {
			fmt.Println(cause)
			return
		}
		datagram, done, _ := r.Input(0, h, payload, 1)
		fmt.Println(h.FragmentOffset(), len(payload), done, len(datagram))
	}
	// Output:
	// 1104 296 false 0
	// 552 552 false 0
	// 0 552 true 1420
}

// The longest prefix wins.
func ExampleRouteTable() {
	var t ipv4.RouteTable
	for _, r := range []ipv4.Route{
		{Prefix: netip.MustParsePrefix("10.9.0.0/24"), Iface: 1},
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: ipv4.Addr{10, 9, 0, 254}, Iface: 1},
	} {
		if err := t.Insert(r); err != nil {
			fmt.Println(err)
		}
	}
	for _, dst := range []ipv4.Addr{{10, 9, 0, 2}, {198, 51, 100, 7}} {
		r, ok := t.Lookup(dst, 0)
		fmt.Println(netip.AddrFrom4(dst), netip.AddrFrom4(r.Gateway), ok)
	}
	// Output:
	// 10.9.0.2 0.0.0.0 true
	// 198.51.100.7 10.9.0.254 true
}
