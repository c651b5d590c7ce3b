package stack

import (
	"testing"

	"github.com/outband/outband/ipv4"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// An ICMP error whose quote holds no header is counted, and means nothing.
func TestErrorWithoutQuote(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		w.send(k, []byte("sent"))
		quoted := w.sentIP()[0].data[output.IPOffset:]
		for _, n := range []int{0, 1, 19} {
			w.mark()
			w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodePort, 0, quoted[:n]))
			w.grew("IcmpInErrors", 1)
			w.grew("OutbandDropICMPUnvalidated", 1)
			if e := k.Errors().Take(); e != 0 {
				t.Errorf("%d bytes quoted: %v", n, e)
			}
		}
		w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodePort, 0, quoted))
		if e := k.Errors().Take(); e != unix.ECONNREFUSED {
			t.Errorf("the whole quoted: %v", e)
		}
	})
}

// IP_MULTICAST_IF refuses an interface that is not there, by index too.
func TestMulticastInterfaceThatIsNotThere(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("0.0.0.0:9", "")
		if err := k.Multicast().SetInterface(GroupRequest{Interface: w.ifc.Index() + 100}); err != unix.EADDRNOTAVAIL {
			t.Errorf("by index: %v", err)
		}
		if err := k.Multicast().SetInterface(GroupRequest{Address: ipv4.Addr{10, 77, 0, 1}}); err != unix.EADDRNOTAVAIL {
			t.Errorf("by address: %v", err)
		}
		check(t, k.Multicast().SetInterface(GroupRequest{Interface: w.ifc.Index()}))
	})
}
