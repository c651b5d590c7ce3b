package shared

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// nft runs nft(8) at the near end.
func nft(t *testing.T, l *lab.Lab, rules string) {
	t.Helper()
	lab.NeedProgram(t, "nft")
	for line := range strings.Lines(rules) {
		runIn(t, l.Near().Namespace, "nft", strings.TrimSpace(line))
	}
}

// A host forwards and masquerades while ports of it are claimed at all of its addresses:
// what is forwarded, to the same ports of other hosts too, goes on, and so do the answers.
func TestForwardingAndMasquerading(t *testing.T) {
	var behind *lab.Endpoint
	prepare := func(t *testing.T, l *lab.Lab) {
		n, err := netlab.NewNamespace()
		check(t, err)
		t.Cleanup(func() { n.Close() })
		near := l.Near()
		check(t, near.AddVeth(netlab.Veth{Name: "near1", PeerName: "behind0", Peer: n}))
		check(t, near.AddAddress("near1", netip.MustParsePrefix("10.8.0.1/24")))
		check(t, n.AddAddress("behind0", netip.MustParsePrefix("10.8.0.2/24")))
		check(t, near.SetUp("near1"))
		check(t, n.SetUp("behind0"))
		check(t, near.SetSysctl("net/ipv4/ip_forward", "1"))
		check(t, l.Far().AddRoute(netip.MustParsePrefix("10.8.0.0/24"), near.Addr))
		behind = &lab.Endpoint{Namespace: n, Name: "behind0", Addr: netip.MustParseAddr("10.8.0.2")}
		nft(t, l, `add table ip nat
			add chain ip nat post { type nat hook postrouting priority 100; }
			add rule ip nat post oifname near1 masquerade`)
	}
	onEachRungIn(t, Config{Devices: []string{"near0", "near1"}}, prepare, func(t *testing.T, w *world) {
		ours := w.server(7)
		var servers, clients []*sockapi.Socket
		for port := range uint16(2) {
			servers = append(servers, inBand(t, behind).open(netip.AddrPortFrom(netip.IPv4Unspecified(), 7+port)))
		}
		for range 10 {
			clients = append(clients, w.client())
		}
		mine := w.client()
		for i := range 50 {
			for c, client := range clients {
				port := uint16(7 + c%2)
				data := fmt.Sprint(i, " ", c)
				sendTo(t, client, data, netip.AddrPortFrom(behind.Addr, port))
				r := receive(t, servers[c%2])
				if r.data != data || r.from.Addr().String() != "10.8.0.1" {
					t.Fatalf("forwarded: %+v, want %q from the router", r, data)
				}
				sendTo(t, servers[c%2], data, r.from)
				if r := receive(t, client); r.data != data || r.from != netip.AddrPortFrom(behind.Addr, port) {
					t.Fatalf("the answer: %+v, want %q", r, data)
				}
			}
			sendTo(t, mine, fmt.Sprint(i), netip.MustParseAddrPort("10.8.0.1:7"))
			if r := receive(t, ours); r.data != fmt.Sprint(i) {
				t.Fatalf("the router itself: %+v", r)
			}
		}
		silent(t, "ours", ours)
	})
}

// Rules of the host's firewall are passed by, in and out, on every rung: what they are about
// comes and goes by the ring. It is said in README; this is to notice if it changes.
func TestFirewallIsPassedBy(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		nft(t, w.Lab, `add table ip filter
			add chain ip filter in { type filter hook input priority 0; }
			add rule ip filter in udp dport { 7, 8 } drop
			add chain ip filter out { type filter hook output priority 0; }
			add rule ip filter out udp sport { 7, 8 } drop`)
		theirs := inBand(t, w.Near()).open(netip.MustParseAddrPort("0.0.0.0:8"))
		s, c := w.server(7), w.client()
		sendTo(t, c, "dropped", netip.MustParseAddrPort("10.9.0.1:8"))
		held, sent := w.echoes(s, c, netip.MustParseAddrPort("10.9.0.1:7"))
		w.byRing("past the rules", held, sent)
		silent(t, "the in-band server", theirs)
		// What goes by the kernel obeys them.
		if _, err := s.Sendto([]byte("x"), 0, sockapi.InetAddrPort(netip.MustParseAddrPort("127.0.0.1:9"))); err != unix.EPERM {
			t.Errorf("to the host itself: %v, want EPERM", err)
		}
	})
}

// udpFrame returns a frame with a UDP datagram from the far end to the near one, with tags
// before the EtherType.
func (w *world) udpFrame(port uint16, data string, tags ...uint16) []byte {
	near, far := w.Near(), w.Far()
	f := append(slices.Clone(near.MAC[:]), far.MAC[:]...)
	for _, tag := range tags {
		f = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(f, unix.ETH_P_8021Q), tag)
	}
	f = binary.BigEndian.AppendUint16(f, unix.ETH_P_IP)
	ip := make([]byte, 28, 28+len(data))
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(data)))
	copy(ip[12:], far.Addr.AsSlice())
	copy(ip[16:], near.Addr.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^checksum.Sum(ip[:20], 0))
	binary.BigEndian.PutUint16(ip[20:], 9)
	binary.BigEndian.PutUint16(ip[22:], port)
	binary.BigEndian.PutUint16(ip[24:], uint16(8+len(data)))
	return append(f, append(ip, data...)...)
}

// Frames of a VLAN are none of the device's, and so none of ours; those with but a priority
// come as those without a tag. VLAN devices are not to be had on every machine: what they
// would get comes by the holder, as from any device without a ring.
func TestTaggedFrames(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		ours, theirs := w.server(7), inBand(t, w.Near()).open(netip.MustParseAddrPort("0.0.0.0:8"))
		wire := w.Far().Packet(t)
		for _, c := range []struct {
			data  string
			tags  []uint16
			comes bool
		}{
			{"VLAN 5", []uint16{5}, false}, {"VLAN 5, priority 3", []uint16{3<<13 | 5}, false},
			{"priority 3", []uint16{3 << 13}, true}, {"no priority", []uint16{0}, true},
			{"priority, VLAN 5", []uint16{3 << 13, 5}, false}, {"VLAN 5, priority", []uint16{5, 3 << 13}, false},
			{"none", nil, true},
		} {
			wire.Send(t, w.udpFrame(7, c.data, c.tags...))
			wire.Send(t, w.udpFrame(8, c.data, c.tags...))
			if !c.comes {
				continue
			}
			// Those before it have not come.
			for name, s := range map[string]*sockapi.Socket{"ours": ours, "in-band": theirs} {
				if r := receive(t, s); r.data != c.data {
					t.Errorf("%s: received %q, want %q", name, r.data, c.data)
				}
			}
		}
		silent(t, "ours", ours)
		silent(t, "in-band", theirs)
	})
}
