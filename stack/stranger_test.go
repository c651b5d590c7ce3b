package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

// forgedPing returns the frame of an echo request from an address of the link's, by
// number, that nobody has.
func forgedPing(n, size int) []byte {
	f := ipv4.Fields{Protocol: ipv4.ProtocolICMP, Src: ipv4.Addr{10, 9, byte(1 + n>>8), byte(n)}}
	return ip(f, icmp.AppendEcho(nil, icmp.Echo, 1, 1, payload(size)))
}

// TestForgedPingsCostNoDatagrams has strangers ask for more echo replies than can wait for
// neighbours: first datagrams to honest new neighbours are all sent, whether they are
// sent before, meanwhile or after, and honest new neighbours' pings are answered.
func TestForgedPingsCostNoDatagrams(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		if err := w.ifc.AddAddress(netip.MustParsePrefix("10.9.0.9/16")); err != nil {
			t.Fatal(err)
		}
		k := w.socket("10.9.0.1:9", "")
		const honest = 20
		n := 0
		flood := func(frames int) {
			for range frames {
				w.s.take(w.ifc, forgedPing(n%50_000, 1400))
				w.sent()
				n++
			}
		}
		send := func(i int) {
			to := netip.AddrPortFrom(netip.AddrFrom4(ipv4.Addr{10, 9, 0, byte(100 + i)}), 7)
			if err := k.SendTo([]byte("first"), 0, NoDeadline, to); err != nil {
				t.Fatal(err)
			}
		}
		send(0)
		flood(20_000)
		for i := 1; i < honest; i++ {
			send(i)
			flood(200)
		}
		w.settle()
		w.sent()
		for i := range honest {
			mac := link.MAC{2, 9, 9, 9, 9, byte(i)}
			w.feed(arpPacket(nearMAC, 2, mac, ipv4.Addr{10, 9, 0, byte(100 + i)}, nearMAC, near4))
			if got := w.sentIP(); len(got) != 1 {
				t.Errorf("neighbour %d was sent %d of 1 datagrams", i, len(got))
			}
		}
		w.s.take(w.ifc, icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 1, 1, payload(56))))
		flood(100)
		w.feed(arpReply(farMAC))
		if got := w.sentIP(); len(got) != 1 {
			t.Errorf("an honest ping among forged ones got %d answers", len(got))
		}
		worksStill(t, w)
	})
}
