package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/ipv4"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/link"
)

// TestErrorsCostOneDestination has strangers tell of ever other MTUs of one path:
// those to nearly all other destinations hold, and a change of configuration still
// changes all.
func TestErrorsCostOneDestination(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved().defaultRoute()
		var sockets []*UDPSocket
		const n = 64
		for i := range n {
			k := w.socket("10.9.0.1:0", netip.AddrPortFrom(netip.AddrFrom4(ipv4.Addr{198, 51, 100, byte(1 + i)}), 7).String())
			w.send(k, payload(1400))
			sockets = append(sockets, k)
		}
		quoted := w.sentIP()[0].data[link.HeaderLen:]
		holding := func() (n int) {
			for _, k := range sockets {
				if p := k.path.Load(); p != nil && p.Holds() {
					n++
				}
			}
			return n
		}
		if holding() != n {
			t.Fatalf("%d of %d paths hold at first", holding(), n)
		}
		w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodeFragmentation, 100, quoted),
			icmpError(icmp.DestinationUnreachable, icmp.CodeFragmentation, 552, quoted))
		if sockets[0].path.Load().Holds() {
			t.Error("the path whose MTU has changed holds")
		}
		if got := holding(); got < n-8 {
			t.Errorf("%d of %d paths hold after errors about one", got, n)
		}
		if err := w.ifc.AddAddress(netip.MustParsePrefix("10.8.0.1/24")); err != nil {
			t.Fatal(err)
		}
		if got := holding(); got != 0 {
			t.Errorf("%d paths hold after an address came", got)
		}
	})
}
