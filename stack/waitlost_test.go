package stack

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/link"
)

// waiters have a datagram of each kind wait for 10.9.0.2, of so many frames in all.
func waiters(t *testing.T, w *wire) (all []Socket, frames int) {
	one := w.socket("", "10.9.0.2:7")
	w.send(one, []byte("x"))
	parts := w.socket("", "10.9.0.2:7")
	w.send(parts, payload(4000))
	raw := rawSocketOf(t, w.s, testProtocol)
	raw.Errors().SetRecvErr(true)
	sendTo(t, raw, []byte("x"), netip.AddrFrom4(far4))
	one.Errors().SetRecvErr(true)
	return []Socket{one, parts, raw}, 1 + 3 + 1
}

// TestMACChangeWhileWaiting: what waits for a neighbour leaves from the hardware address
// that the device has by then, as Linux, which makes the header only then.
func TestMACChangeWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		_, frames := waiters(t, w)
		w.feed(icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 1, 1, nil))) // the answer waits too
		w.near.SetHardwareAddr(otherMAC)
		w.sent()
		w.feed(arpPacket(otherMAC, arp.OpReply, farMAC, far4, otherMAC, near4))
		got := w.sentIP()
		if len(got) != frames+1 {
			t.Fatalf("%d frames left, want %d", len(got), frames+1)
		}
		for i, f := range got {
			if link.MAC(f.data[6:12]) != otherMAC {
				t.Errorf("frame %d is from %x, want the new MAC", i, f.data[6:12])
			}
		}
	})
}

// TestLinkLostWhileWaiting: what waits for a neighbour is lost with the carrier, the
// device's being up, or the device, and nobody is told, as Linux' neigh_flush_dev.
func TestLinkLostWhileWaiting(t *testing.T) {
	for name, lose := range map[string]func(w *wire){
		"carrier": func(w *wire) { w.far.SetUp(false) },
		"down":    func(w *wire) { w.near.SetUp(false) },
		"gone":    func(w *wire) { check(w.t, w.near.Close()) },
		"removed": func(w *wire) { check(w.t, w.s.RemoveLink(w.ifc.Index())) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				all, frames := waiters(t, w)
				lose(w)
				synctest.Wait()
				for i, k := range all {
					if e, n := k.Base().Errors().Take(), k.Base().Errors().Queued(); e != 0 || n != 0 {
						t.Errorf("socket %d: error %v, %d queued, want none", i, e, n)
					}
					if n := k.Base().SendQueued(); n != 0 {
						t.Errorf("socket %d is still charged for %d bytes", i, n)
					}
				}
				w.grew("OutbandDropNeighbourFailed", uint64(frames))
				w.sent()
			})
		})
	}
}
