package stack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// A gatewayWire is a wire with two default gateways, 10.9.0.2 and 10.9.0.3, each of which
// answers ARP while it lives.
type gatewayWire struct {
	*wire
	dead map[ipv4.Addr]bool
}

var gatewayMACs = map[ipv4.Addr]link.MAC{far4: farMAC, {10, 9, 0, 3}: otherMAC}

func newGatewayWire(t *testing.T, w *wire) *gatewayWire {
	t.Helper()
	for _, g := range []ipv4.Addr{far4, {10, 9, 0, 3}} {
		check(t, w.s.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: g}))
	}
	return &gatewayWire{w, map[ipv4.Addr]bool{}}
}

// live answers ARP requests for d, and returns how many datagrams left by each gateway.
func (w *gatewayWire) live(d time.Duration) map[ipv4.Addr]int {
	w.t.Helper()
	out := map[ipv4.Addr]int{}
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		for _, f := range w.sent() {
			if f.data[13] != 6 {
				for g, mac := range gatewayMACs {
					if mac == link.MAC(f.data[:6]) && !w.dead[g] {
						out[g]++
					}
				}
				continue
			}
			m := mustARP(w.t, f.data)
			if mac, ok := gatewayMACs[m.TargetIP()]; ok && m.Op() == arp.OpRequest && !w.dead[m.TargetIP()] {
				w.feed(arpPacket(nearMAC, arp.OpReply, mac, m.TargetIP(), nearMAC, near4))
			}
		}
	}
	return out
}

// TestFailedGatewayIsReplaced has a default gateway die: datagrams go by the other (RFC
// 1122, 3.3.1.5), of a socket that is connected too, and back by the first if that is there
// again and the second dies.
func TestFailedGatewayIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		g := newGatewayWire(t, w)
		first, second := far4, ipv4.Addr{10, 9, 0, 3}
		k := w.socket("", "198.51.100.7:9")
		use := func() (by map[ipv4.Addr]int) {
			for range 20 { // 20 s: longer than a gateway takes to fail
				k.Send([]byte("x"), 0, NoDeadline)
				for at, n := range g.live(time.Second) {
					if by == nil {
						by = map[ipv4.Addr]int{}
					}
					by[at] += n
				}
			}
			return by
		}
		if by := use(); by[first] != 20 || by[second] != 0 {
			t.Fatalf("both alive: %v", by)
		}
		g.dead[first] = true
		time.Sleep(time.Minute) // its entry is stale: the next datagram has it verified
		if by := use(); by[first] != 0 || by[second] < 5 {
			t.Fatalf("the first is dead: %v", by)
		}
		u := w.socket("", "198.51.100.8:9")
		w.send(u, []byte("y"))
		if by := g.live(time.Second); by[second] != 1 {
			t.Fatalf("a new socket: %v", by)
		}
		g.dead = map[ipv4.Addr]bool{second: true}
		g.live(2 * time.Minute) // the first is asked meanwhile, and answers
		if by := use(); by[first] != 20 || by[second] != 0 {
			t.Fatalf("the second is dead: %v", by)
		}
		g.dead[first] = true
		g.live(2 * time.Minute)
		use() // nothing arrives, nothing breaks
		g.dead = map[ipv4.Addr]bool{}
		g.live(2 * time.Minute)
		if by := use(); by[first]+by[second] < 15 {
			t.Fatalf("both are there again: %v", by)
		}
	})
}

// TestOtherNeighboursFailAlone has a neighbour fail that is nobody's gateway: paths stay.
func TestOtherNeighboursFailAlone(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		g := newGatewayWire(t, w)
		k := w.socket("", "10.9.0.77:9")
		before := w.s.routes.Generations.Config()
		k.Send([]byte("x"), 0, NoDeadline)
		g.live(5 * time.Second)
		if w.s.routes.Generations.Config() != before {
			t.Error("all paths were given up for a neighbour that is no gateway")
		}
	})
}

// A gateway outside of every network of ours is reached by the link that is named for it,
// and only by one that is named.
func TestGatewayOnLink(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		route := ipv4.Route{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Gateway: ipv4.Addr{192, 0, 2, 1}}
		if err := w.s.AddRoute(route); err != unix.ENETUNREACH {
			t.Errorf("out of reach: %v", err)
		}
		route.OnLink = true
		if err := w.s.AddRoute(route); err != unix.ENODEV {
			t.Errorf("on no link: %v", err)
		}
		route.Iface = w.ifc.Index()
		check(t, w.s.AddRoute(route))
		if got, want := route.String(), "198.51.100.0/24 via 192.0.2.1 dev 2 onlink"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		k := w.socket("", "")
		w.sent() // announcements
		check(t, k.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort("198.51.100.7:9")))
		f := w.sent()
		if len(f) != 1 || mustARP(t, f[0].data).TargetIP() != route.Gateway {
			t.Errorf("%d frames, want a request for the gateway", len(f))
		}
		check(t, w.s.RemoveRoute(route))
	})
}
