package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// What lies between calls, frames and changes of configuration: test/interleave found
// it, beside Linux.

// To a secondary address of its own a host sends from the primary one of that subnet.
func TestOwnSecondaryAddress(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	a, b := pipe.New(pipe.Options{})
	t.Cleanup(func() { b.Close() })
	other := addLink(t, p.near, a, "10.9.0.201/24") // of the same subnet, on another interface
	for _, s := range []string{"10.9.0.50/26", "10.9.0.51/26", "10.9.0.5/24", "10.9.0.7/24", "10.9.0.65/26"} {
		check(t, p.nearIfc.AddAddress(netip.MustParsePrefix(s)))
	}
	check(t, other.AddAddress(netip.MustParsePrefix("10.9.0.202/24")))
	k := udpSocket(t, p.near, "0.0.0.0:9")
	for to, from := range map[string]string{"10.9.0.50": "10.9.0.50", "10.9.0.51": "10.9.0.50", "10.9.0.5": "10.9.0.1", "10.9.0.7": "10.9.0.1", "10.9.0.65": "10.9.0.65",
		"10.9.0.201": "10.9.0.201", "10.9.0.202": "10.9.0.201", "10.9.0.1": "10.9.0.1"} {
		check(t, k.SendTo([]byte("x"), 0, NoDeadline, netip.AddrPortFrom(netip.MustParseAddr(to), 9)))
		if _, info := recv(t, k); netip.AddrFrom4(info.From).String() != from {
			t.Errorf("to %s: from %v, want %s", to, info.From, from)
		}
	}
}

// An ICMP error is no longer than the path's MTU, and its checksum is right.
func TestErrorFitsPath(t *testing.T) {
	for mtu, want := range map[int]int{1500: 576, 577: 576, 576: 576, 575: 575, 300: 300} {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			check(t, w.s.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("10.9.0.2/32"), Iface: w.ifc.Index(), Scope: ipv4.ScopeLink, MTU: mtu}))
			w.feed(ip(ipv4.Fields{Protocol: 253}, payload(1000)))
			h, b := w.one()
			if m, c := icmp.Parse(b); c != icmp.CauseNone || m.Type() != icmp.DestinationUnreachable || len(h)+len(b) != want {
				t.Errorf("MTU %d: %d bytes (%v), want %d", mtu, len(h)+len(b), c, want)
			}
			// An answer is cut into fragments instead.
			w.far.Send(ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP}, icmp.AppendEcho(nil, icmp.Echo, 1, 1, payload(700))))
			w.settle()
			if n := len(w.sentIP()); n < 1 || mtu < 700 && n < 2 {
				t.Errorf("MTU %d: an echo reply in %d frames", mtu, n)
			}
		})
	}
}

// An ICMP message that has no way to go is not counted as sent.
func TestErrorWithoutRoute(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		w.feed(ip(ipv4.Fields{Protocol: 253, Src: ipv4.Addr{192, 0, 2, 1}}, payload(10)))
		w.silent()
		w.grew("IcmpOutMsgs", 0)
		w.grew("IcmpOutDestUnreachs", 0)
		w.grew("IpOutNoRoutes", 1)
		w.feed(ip(ipv4.Fields{Protocol: 253}, payload(10)))
		w.grew("IcmpOutMsgs", 1)
		w.grew("IcmpOutDestUnreachs", 1)
	})
}

// Where a datagram came in, and what it is answered from, is what was so when it came.
func TestAddressGoesBeforeRecv(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	extra := netip.MustParsePrefix("10.7.0.1/24")
	check(t, p.nearIfc.AddAddress(extra))
	k := udpSocket(t, p.near, "0.0.0.0:9")
	check(t, k.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort("10.7.0.1:9")))
	check(t, p.nearIfc.RemoveAddress(extra))
	_, info := recv(t, k)
	if int(info.Home) != p.nearIfc.Index() {
		t.Errorf("came in by %d, want %d", info.Home, p.nearIfc.Index())
	}
	if local := p.near.LocalFor(info.Interface, info.From, info.To); local != extra.Addr().As4() {
		t.Errorf("is answered from %v", local)
	}
}

// Of two interfaces with an address the first is its home; by the second it is reached too.
func TestAddressOnTwoInterfaces(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	a, b := pipe.New(pipe.Options{})
	t.Cleanup(func() { b.Close() })
	second := addLink(t, p.near, a, "10.9.0.1/24")
	third, c := pipe.New(pipe.Options{})
	t.Cleanup(func() { c.Close() })
	none := addLink(t, p.near, third, "10.6.0.1/24")
	k := udpSocket(t, p.near, "0.0.0.0:9")
	for _, by := range []*Interface{nil, p.nearIfc, second} {
		from := udpSocket(t, p.near, "")
		if by != nil {
			check(t, from.SetDevice(by.Index()))
		}
		check(t, from.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.1:9")))
		if _, info, err := k.Recv(make([]byte, 1), unix.MSG_DONTWAIT, 0); err != nil || int(info.Home) != p.nearIfc.Index() {
			t.Errorf("by %v: came in by %d: %v", by, info.Home, err)
		}
	}
	from := udpSocket(t, p.near, "")
	check(t, from.SetDevice(none.Index()))
	_ = from.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.1:9"))
	if _, _, err := k.Recv(make([]byte, 1), unix.MSG_DONTWAIT, 0); err != unix.EAGAIN {
		t.Errorf("by an interface that has not got the address: %v", err)
	}
}

// IP_PKTINFO without an address has one chosen, even if the socket is bound to one.
func TestAnySource(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		check(t, w.ifc.AddAddress(netip.MustParsePrefix("10.9.0.9/24")))
		w.settle()
		w.sent()
		k := w.socket("10.9.0.9:5", "")
		for _, any := range []bool{false, true} {
			_, err := k.SendMessages([]OutMessage{{Buffers: [][]byte{[]byte("x")}, To: netip.MustParseAddrPort("10.9.0.2:7"), Options: &SendOptions{AnySource: any}}}, 0, NoDeadline)
			check(t, err)
			if h, _ := w.one(); h.Src() == near4 != any {
				t.Errorf("any %t: from %v", any, h.Src())
			}
		}
	})
}

// connect looks for its way by SO_DONTROUTE, and so does IP_MTU.
func TestConnectDontRoute(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.defaultRoute()
		k := w.socket("", "")
		k.Sending().SetDontRoute(true)
		beyond, near := netip.MustParseAddrPort("192.0.2.1:7"), netip.MustParseAddrPort("10.9.0.2:7")
		if err := k.Connect(beyond); err != unix.ENETUNREACH {
			t.Errorf("beyond the gateway: %v", err)
		}
		check(t, k.Connect(near))
		k.Sending().SetDontRoute(false)
		check(t, k.Connect(beyond))
		_, err := k.PathMTU()
		check(t, err)
		k.Sending().SetDontRoute(true)
		if _, err := k.PathMTU(); err != unix.ENOTCONN {
			t.Errorf("IP_MTU beyond the gateway: %v", err)
		}
	})
}

// A multicast that nobody is a member for is not counted as one.
func TestMulticastCountsForMembers(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		group := ipv4.Addr{239, 1, 2, 3}
		frame := ip(ipv4.Fields{Protocol: ipv4.ProtocolUDP, Dst: group}, datagram(far4, group, 1, 9, nil))
		mac := group.MulticastMAC()
		copy(frame, mac[:])
		w.feed(frame)
		w.grew("IpExtInMcastPkts", 0)
		k := w.socket("0.0.0.0:9", "")
		check(t, k.Multicast().JoinGroup(GroupRequest{Group: group, Interface: w.ifc.Index()}))
		w.feed(frame)
		w.grew("IpExtInMcastPkts", 1)
		w.feed(frame)
		w.grew("IpExtInMcastPkts", 2)
	})
}

// Whoever sends without regard to path MTUs is not told of them, IP_RECVERR or not.
func TestFragmentationNeededUnasked(t *testing.T) {
	for _, mode := range []int{unix.IP_PMTUDISC_DONT, unix.IP_PMTUDISC_WANT} {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("", "10.9.0.2:7")
			k.SetMTUDiscover(mode)
			w.send(k, payload(1000))
			sent := w.sentIP()[0].data[output.IPOffset:]
			w.feed(icmpError(icmp.DestinationUnreachable, icmp.CodeFragmentation, 600, sent))
			want := unix.Errno(0)
			if mode == unix.IP_PMTUDISC_WANT {
				want = unix.EMSGSIZE
			}
			if e := k.Errors().Take(); e != want {
				t.Errorf("mode %d: %v, want %v", mode, e, want)
			}
		})
	}
}

// A device that is down is what a packet socket hears of first, whatever it sends, and
// nobody sees what does not leave.
func TestPacketSocketOfDownDevice(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := packetSocketOf(t, p.near, false, 0)
	other := packetSocketOf(t, p.near, false, unix.ETH_P_ALL)
	to := &LinkAddr{Interface: p.nearIfc.Index(), EtherType: testEtherType}
	p.nearEnd.SetUp(false)
	for _, _, err := other.Recv(nil, unix.MSG_DONTWAIT, 0); err == nil; _, _, err = other.Recv(nil, unix.MSG_DONTWAIT, 0) {
	}
	for _, n := range []int{20, 100, 5000} {
		if err := k.SendLink(make([]byte, n), 0, NoDeadline, to); err != unix.ENETDOWN {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, _, err := other.Recv(make([]byte, 1), unix.MSG_DONTWAIT, 0); err != unix.EAGAIN {
		t.Errorf("somebody saw a frame: %v", err)
	}
	p.nearEnd.SetUp(true)
	k.Errors().Take()
	if err := k.SendLink(make([]byte, 5000), 0, NoDeadline, to); err != unix.EMSGSIZE {
		t.Errorf("up, and too long: %v", err)
	}
	check(t, k.SendLink(make([]byte, 100), 0, NoDeadline, to))
	if _, _, err := other.Recv(make([]byte, 1), unix.MSG_DONTWAIT, 0); err != nil {
		t.Errorf("nobody saw the frame: %v", err)
	}
}

// What a host sends itself is on no link's counters.
func TestLoopbackIsOnNoWire(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.near, "127.0.0.1:9")
	before := p.near.Stats()
	for range 5 {
		check(t, k.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort("127.0.0.1:9")))
		recv(t, k)
	}
	for name, n := range changes(before, p.near.Stats()) {
		if len(name) > 4 && name[:4] == "Link" {
			t.Errorf("%s grew by %d", name, n)
		}
	}
}
