package shared

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// Addresses that are the host's by a local route only are like others: sockets that are bound to
// all of them, to one, or connected from one, get what is for them, from the wire and from the
// host, and answer from there.
func TestLocalRoute(t *testing.T) {
	onEachSetting(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		prefix := netip.MustParsePrefix("198.51.100.0/24")
		check(t, w.Near().AddLocalRoute(prefix))
		check(t, w.Far().AddRoute(prefix, w.Near().Addr))
		p := w.party("here")
		wire, local := inBand(t, w.Far()).open(addrPort(w.Far(), 5000)), inBand(t, w.Near()).open(netip.AddrPort{})
		for _, bound := range []string{"0.0.0.0", "198.51.100.7"} {
			k := p.open(netip.AddrPortFrom(netip.MustParseAddr(bound), 3000), pktInfo)
			to := netip.MustParseAddrPort("198.51.100.7:3000")
			for _, size := range []int{10, 3000} {
				sendTo(t, wire, text(1, size), to)
				if got := receive(t, k); got.data != text(1, size) || got.to != to.Addr() || got.from != addrPort(w.Far(), 5000) {
					t.Errorf("at %s: %.20q from %s to %s", bound, got.data, got.from, got.to)
				}
				sendTo(t, local, text(2, size), to)
				if got := receive(t, k); got.data != text(2, size) || got.to != to.Addr() {
					t.Errorf("at %s, from the host: %.20q to %s", bound, got.data, got.to)
				}
			}
			silent(t, bound, k)
			if bound != "0.0.0.0" {
				sendTo(t, k, "answer", addrPort(w.Far(), 5000))
				if got := receive(t, wire); got.data != "answer" || got.from != to {
					t.Errorf("the answer: %q from %s", got.data, got.from)
				}
			}
			sendTo(t, wire, "own", addrPort(w.Near(), 3000))
			if bound == "0.0.0.0" && receive(t, k).data != "own" {
				t.Error("another datagram than to the host's own address")
			}
			check(t, k.Close())
		}
	})
}

// An address that is new is the host's at once for whoever binds to it: what is for it comes by
// the ring.
func TestNewAddressByRing(t *testing.T) {
	w := newWorld(t, Config{Devices: []string{"near0"}})
	for i := range 20 {
		a := netip.AddrFrom4([4]byte{10, 9, 0, byte(100 + i)})
		check(t, w.Near().AddAddress("near0", netip.PrefixFrom(a, 24)))
		k, err := w.st.NewUDPSocket()
		check(t, err)
		if err := k.Bind(netip.AddrPortFrom(a, 3000)); err != nil && err != unix.EADDRNOTAVAIL {
			t.Fatal(err)
		} else if err == nil && k.Way().InBand {
			t.Errorf("%s: comes in-band", a)
		}
		k.Close()
	}
}
