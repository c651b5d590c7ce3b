package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
)

// TestOutboxOverflows lets more come into the outbox than it holds while nobody can
// empty it, of each kind that is posted there; then all works as before.
func TestOutboxOverflows(t *testing.T) {
	echo := icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 1, 1, payload(56)))
	for _, c := range []struct {
		name string
		post func(w *wire, n int)
	}{
		{"echo replies", func(w *wire, n int) {
			for range n {
				w.s.inputFrame(w.ifc, echo)
			}
		}},
		{"frames", func(w *wire, n int) {
			for range n {
				w.ifc.sendIGMP(w.ifc.lane, &igmp.Transmit{Dst: ipv4.Addr{224, 0, 0, 22}, Message: payload(16)})
			}
		}},
		{"both by turns", func(w *wire, n int) {
			for range n / 2 {
				w.s.inputFrame(w.ifc, echo)
				w.ifc.sendIGMP(w.ifc.lane, &igmp.Transmit{Dst: ipv4.Addr{224, 0, 0, 22}, Message: payload(16)})
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				o := &w.s.out.Outbox
				o.Mu.Lock()
				o.Busy = true // somebody is at it, and the device holds him up
				o.Mu.Unlock()
				w.mark()
				for range 40 {
					w.s.lockLanes()
					c.post(w, 100)
					w.s.unlockLanes()
				}
				w.grew("IpOutDiscards", uint64(4000-w.s.limits.Outbox))
				o.Mu.Lock()
				o.Busy = false
				o.Mu.Unlock()
				w.s.out.SendOutbox()
				w.sent()
				worksStill(t, w)
			})
		})
	}
}

// worksStill fails unless an echo is answered and a datagram of each size gets its
// answer through.
func worksStill(t *testing.T, w *wire) {
	t.Helper()
	w.settle()
	w.sent()
	w.feed(icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 7, 7, []byte("alive?"))))
	if h, p := w.one(); h.Protocol() != ipv4.ProtocolICMP || p[0] != icmp.EchoReply {
		t.Errorf("an echo request brought protocol %d, %x", h.Protocol(), p)
	}
	k := udpSocket(t, w.s, "10.9.0.1:6009")
	for _, n := range []int{0, 1, 100, 1000, 1472} {
		w.feed(udpFrom(7, 6009, string(payload(n))))
		w.got(k, string(payload(n)))
		if err := k.SendTo(payload(n), 0, NoDeadline, netip.AddrPortFrom(farAddr, 7)); err != nil {
			t.Errorf("sending %d bytes: %v", n, err)
		}
		if _, p := w.one(); len(p) != 8+n {
			t.Errorf("%d bytes were sent as %d", n, len(p)-8)
		}
	}
	k.Close()
}
