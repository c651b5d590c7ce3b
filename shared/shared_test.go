package shared

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/stack"
)

// Two servers on one address, one in-band and one out-of-band, answer a client each, and
// the kernel has nothing to do with what is the stack's.
func TestTwoServers(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		ours, theirs := w.socket("0.0.0.0:7"), w.Near().BoundUDP(t, addrPort(w.Near(), 8))
		client := w.Far().UDP(t, 0)
		before := counters(t, w.Near())
		for range 3 {
			check(t, client.SendTo([]byte("out-of-band"), addrPort(w.Near(), 7)))
			got, info := w.recv(ours)
			if got != "out-of-band" {
				t.Fatalf("out-of-band: %q", got)
			}
			check(t, ours.SendTo([]byte("answer"), 0, stack.NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(info.From), info.FromPort)))
			if got, from := recvInBand(t, client); got != "answer" || from != addrPort(w.Near(), 7) {
				t.Fatalf("the answer: %q from %s", got, from)
			}
			check(t, client.SendTo([]byte("in-band"), addrPort(w.Near(), 8)))
			got, from := recvInBand(t, theirs)
			if got != "in-band" {
				t.Fatalf("in-band: %q", got)
			}
			check(t, theirs.SendTo([]byte("answer"), from))
			if got, from := recvInBand(t, client); got != "answer" || from != addrPort(w.Near(), 8) {
				t.Fatalf("the answer: %q from %s", got, from)
			}
		}
		w.nothing(ours)
		now := counters(t, w.Near())
		want := ""
		if w.host.claims.Rung() == claim.Holder {
			want = "UdpInErrors+3" // what its filter drops, which is all that anybody sees of it
		}
		if g := grown(before, now, "UdpNoPorts", "UdpInErrors", "IcmpOutDestUnreachs", "UdpRcvbufErrors"); g != want {
			t.Errorf("the kernel has counted %q, want %q", g, want)
		}
		if in := now["UdpInDatagrams"] - before["UdpInDatagrams"]; in != 3 {
			t.Errorf("the kernel has received %d datagrams, want 3", in)
		}
		if d := now["IpInReceives"] - before["IpInReceives"]; w.host.claims.Rung() != claim.Holder && d != 3 {
			t.Errorf("the kernel has processed %d datagrams, want 3", d)
		}
	})
}
