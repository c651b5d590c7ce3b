package stack

import (
	"github.com/outband/outband/ipv4"
	"testing"

	"github.com/outband/outband/icmp"
	"golang.org/x/sys/unix"
)

// What is known of a gateway is no news: nobody is told, and no path looked up anew.
func TestGatewaysKnown(t *testing.T) {
	var g gateways
	a, b := gateway{addr: ipv4.Addr{10, 9, 0, 254}}, gateway{addr: ipv4.Addr{10, 9, 0, 253}}
	for _, step := range []struct {
		at             gateway
		failed         bool
		changed, first bool
	}{
		{a, false, false, false}, // there all the time
		{a, true, true, true},
		{a, true, false, false},
		{b, true, true, false},
		{a, false, true, false},
		{a, false, false, false},
		{b, false, true, false},
	} {
		if changed, first := g.set(step.at, step.failed); changed != step.changed || first != step.first {
			t.Errorf("%v failed %v: changed %v, first %v", step.at, step.failed, changed, first)
		}
	}
	if g.any.Load() {
		t.Error("some have failed at the end")
	}
}

// An ICMP error whose quote holds no header is counted, and means nothing.
func TestErrorWithoutQuote(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		w.send(k, []byte("sent"))
		quoted := w.sentIP()[0].data[ipOffset:]
		for _, n := range []int{0, 1, 19} {
			w.mark()
			w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodePort, 0, quoted[:n]))
			w.grew("IcmpInErrors", 1)
			w.grew("OutbandDropICMPUnvalidated", 1)
			if e := k.TakeError(); e != 0 {
				t.Errorf("%d bytes quoted: %v", n, e)
			}
		}
		w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodePort, 0, quoted))
		if e := k.TakeError(); e != unix.ECONNREFUSED {
			t.Errorf("the whole quoted: %v", e)
		}
	})
}

// IP_MULTICAST_IF refuses an interface that is not there, by index too.
func TestMulticastInterfaceThatIsNotThere(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("0.0.0.0:9", "")
		if err := k.SetMulticastInterface(GroupRequest{Interface: w.ifc.Index() + 100}); err != unix.EADDRNOTAVAIL {
			t.Errorf("by index: %v", err)
		}
		if err := k.SetMulticastInterface(GroupRequest{Address: ipv4.Addr{10, 77, 0, 1}}); err != unix.EADDRNOTAVAIL {
			t.Errorf("by address: %v", err)
		}
		check(t, k.SetMulticastInterface(GroupRequest{Interface: w.ifc.Index()}))
	})
}
