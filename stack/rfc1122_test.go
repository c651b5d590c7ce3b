package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/output"
)

// What RFC 1122 and its kin ask for and no other test shows: the tables in test/rfc
// name these.

// TestTTLZeroIsNeverSent asks for a TTL of 0, which no datagram may have on a wire.
func TestTTLZeroIsNeverSent(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("0.0.0.0:9", "")
		k.SetTTL(0)
		for _, to := range []string{"10.9.0.2:8", "10.9.0.255:8"} {
			k.SetBroadcast(true)
			check(t, k.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort(to)))
			if h, _ := w.one(); h.TTL() != output.DefaultTTL {
				t.Errorf("%s: TTL %d, want the default", to, h.TTL())
			}
		}
		w.join(k, groupA)
		w.settle()
		w.sent()
		k.Multicast().SetTTL(0)
		check(t, k.Multicast().SetInterface(GroupRequest{Interface: w.ifc.Index()}))
		check(t, k.SendTo([]byte("inside"), 0, NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(groupA), 9)))
		w.settle()
		for _, f := range w.sentIP() {
			if h, _, _ := ipv4.Parse(f.data[output.IPOffset:]); h.Protocol() == ipv4.ProtocolUDP {
				t.Errorf("a multicast with TTL %d left the host", h.TTL())
			}
		}
		w.got(k, "inside")
	})
}

// TestLowTTLIsTaken has datagrams whose last hop this was: a host takes them.
func TestLowTTLIsTaken(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		for _, ttl := range []byte{1, 0} {
			w.feed(repairIP(with(udpFrom(7, 9, "late"), output.IPOffset+8, ttl)))
			w.got(k, "late")
		}
	})
}

// TestQueriesNotAnswered sends ICMP queries that a host leaves without an answer.
func TestQueriesNotAnswered(t *testing.T) {
	const informationRequest, maskRequest = 15, 17
	for _, c := range []struct {
		name string
		typ  uint8
		dst  ipv4.Addr
	}{
		{"information request", informationRequest, near4},
		{"address mask request", maskRequest, near4},
		{"timestamp, broadcast", icmp.Timestamp, ipv4.Addr{10, 9, 0, 255}},
		{"timestamp, limited broadcast", icmp.Timestamp, ipv4.Addr{255, 255, 255, 255}},
		{"timestamp, group", icmp.Timestamp, allHosts},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				w.sent()
				w.feed(ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP, Dst: c.dst}, icmp.AppendEcho(nil, c.typ, 1, 1, make([]byte, 12))))
				w.silent()
				w.grew("IcmpInMsgs", 1)
			})
		})
	}
}

// TestTimestampReplyIsPassedUp gives a timestamp reply to the raw socket that may have
// asked: ping sockets ask for echoes only.
func TestTimestampReplyIsPassedUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := rawSocketOf(t, w.s, ipv4.ProtocolICMP)
		m := icmp.AppendEcho(nil, icmp.TimestampReply, 7, 9, make([]byte, 12))
		frame := icmpFrom(m)
		w.feed(frame)
		w.got(k, string(frame[output.IPOffset:]))
	})
}

// TestAllHostsFromTheStart sends to 224.0.0.1, where every host is a member without
// joining, and for good.
func TestAllHostsFromTheStart(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("0.0.0.0:9", "")
		w.feed(fromHost(2, allHosts, 9, "all"))
		w.got(k, "all")
		w.join(k, allHosts)
		check(t, k.Multicast().LeaveGroup(w.on(allHosts)))
		w.feed(fromHost(2, allHosts, 9, "still"))
		w.got(k, "still")
		time.Sleep(5 * time.Second)
		if got := w.reports(); len(got) != 0 {
			t.Errorf("%d reports of a group that nobody reports", len(got))
		}
	})
}

// TestQueriesAreHeardHoweverAddressed sends general queries to addresses of the host, the
// second of an interface and one of loopback's among them, and to groups (RFC 3376, 4.1.12).
func TestQueriesAreHeardHoweverAddressed(t *testing.T) {
	second := ipv4.Addr{10, 9, 0, 7}
	for name, dst := range map[string]ipv4.Addr{"all hosts": allHosts, "the group": groupA, "the first address": near4, "the second address": second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				check(t, w.ifc.AddAddress(netip.PrefixFrom(netip.AddrFrom4(second), 24)))
				k := w.socket("0.0.0.0:9", "")
				w.join(k, groupA)
				time.Sleep(5 * time.Second)
				w.sent()
				query := []byte{0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0}
				binary.BigEndian.PutUint16(query[2:], ^checksum.Sum(query, 0))
				w.feed(ip(ipv4.Fields{Dst: dst, TTL: 1, Protocol: ipv4.ProtocolIGMP, Options: routerAlert}, query))
				time.Sleep(11 * time.Second)
				if got := w.reports(); len(got) != 1 {
					t.Errorf("%d reports, want 1", len(got))
				}
			})
		})
	}
}

// TestLoopbackAddressesStayInside sends to and from 127/8 in each way that would have the
// datagram on the wire (RFC 1122, 3.2.1.3 g).
func TestLoopbackAddressesStayInside(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		w.defaultRoute()
		w.sent()
		for _, c := range []struct {
			local, to string
			device    bool
		}{
			{"", "127.0.0.1:9", false},
			{"", "127.0.0.1:9", true},
			{"", "127.255.255.255:9", true},
			{"127.0.0.1:0", "10.9.0.2:9", false},
			{"127.0.0.1:0", "198.51.100.7:9", false},
			{"127.0.0.1:0", "239.1.2.3:9", false},
			{"127.0.0.1:0", "10.9.0.255:9", false},
		} {
			k := w.socket(c.local, "")
			k.SetBroadcast(true)
			if c.device {
				check(t, k.SetDevice(w.ifc.Index()))
			}
			err := k.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort(c.to))
			w.settle()
			if n := len(w.sentIP()); n != 0 {
				t.Errorf("from %q to %s, %v: %d datagrams on the wire (%v)", c.local, c.to, c.device, n, err)
			}
		}
	})
}

// TestSourcePortZero has a datagram that wants no answer (RFC 768): it is delivered.
func TestSourcePortZero(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		w.feed(udpFrom(0, 9, "no answer"))
		if b, in := recv(t, k); string(b) != "no answer" || in.FromPort != 0 {
			t.Errorf("%q from port %d", b, in.FromPort)
		}
	})
}

// TestAtomicIdentificationIsIgnored has atomic datagrams with one identification, that of
// a fragmented one that is not complete yet too: all are delivered (RFC 6864, 4.1).
func TestAtomicIdentificationIsIgnored(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		whole := datagram(far4, near4, 7, 9, payload(3000))
		atomic := func(data string) []byte {
			return ip(ipv4.Fields{ID: 5, DontFragment: true}, datagram(far4, near4, 7, 9, []byte(data)))
		}
		w.feed(fragment(5, whole, 0, 1480), atomic("one"), atomic("two"), fragment(5, whole, 1480, 2960), fragment(5, whole, 2960, len(whole)))
		w.got(k, "one")
		w.got(k, "two")
		w.got(k, string(payload(3000)))
	})
}
