package stack

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

var (
	allHosts = ipv4.Addr{224, 0, 0, 1}
	groupA   = ipv4.Addr{239, 1, 2, 3}
	groupB   = ipv4.Addr{239, 1, 2, 4}
)

// igmpRouters is where version 3 reports go (RFC 3376, section 4.2.14).
var igmpRouters = ipv4.Addr{224, 0, 0, 22}

// join makes k a member on the wire's interface.
func (w *wire) join(k *UDPSocket, group ipv4.Addr) {
	w.t.Helper()
	if err := k.Multicast().JoinGroup(GroupRequest{Group: group, Interface: w.ifc.Index()}); err != nil {
		w.t.Fatalf("JoinGroup: %v", err)
	}
}

// on names a group on the wire's interface.
func (w *wire) on(group ipv4.Addr) GroupRequest {
	return GroupRequest{Group: group, Interface: w.ifc.Index()}
}

// fromHost returns the frame of a datagram to a group from 10.9.0.host.
func fromHost(host byte, group ipv4.Addr, port uint16, data string) []byte {
	src := ipv4.Addr{10, 9, 0, host}
	b := ip(ipv4.Fields{Src: src, Dst: group, TTL: 1}, datagram(src, group, 7, port, []byte(data)))
	mac := group.MulticastMAC()
	copy(b, mac[:])
	return b
}

// reports returns the IGMP messages that the stack sent.
func (w *wire) reports() []igmp.Message {
	w.t.Helper()
	var out []igmp.Message
	for _, f := range w.sentIP() {
		h, p, c := ipv4.Parse(f.data[output.IPOffset:])
		if c != ipv4.CauseNone || h.Protocol() != ipv4.ProtocolIGMP {
			continue
		}
		m, cause := igmp.Parse(p)
		if cause != igmp.CauseNone {
			w.t.Fatalf("bad IGMP message %x: %v", p, cause)
		}
		if h.TTL() != 1 || h.TOS() != 0xc0 || !slices.Equal([]byte(h.Options()), routerAlert) || h.Src() != near4 ||
			link.MAC(f.data[:6]) != h.Dst().MulticastMAC() || h.Dst() != igmpRouters {
			w.t.Fatalf("the report's headers are wrong: %x", f.data[:40])
		}
		out = append(out, m)
	}
	return out
}

func TestMulticastIsForMembers(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		member, other, strict := w.shared("0.0.0.0:9"), w.shared("0.0.0.0:9"), w.shared("0.0.0.0:9")
		bound, away := w.shared("239.1.2.3:9"), w.shared("239.1.2.4:9")
		strict.Multicast().SetAll(false)
		w.mark()
		w.feed(fromHost(2, groupA, 9, "nobody"))
		w.grew("OutbandDropNoMember", 1)
		w.join(member, groupA)
		if got := w.near.Groups()[groupA.MulticastMAC()]; got != 1 {
			t.Errorf("the link has the group %d times, want once", got)
		}
		for range 2 { // the second by the flow that is remembered
			w.feed(fromHost(2, groupA, 9, "hello"))
			w.got(member, "hello")
			w.got(other, "hello") // IP_MULTICAST_ALL
			w.got(bound, "hello")
			w.empty(strict)
			w.empty(away)
		}
		w.join(strict, groupA)
		w.feed(fromHost(2, groupA, 9, "again"))
		w.got(strict, "again")
		for _, k := range []*UDPSocket{member, other, bound} {
			w.got(k, "again")
		}
		member.Close()
		strict.Close()
		if len(w.near.Groups()) != 0 {
			t.Errorf("the link still has %v", w.near.Groups())
		}
		w.mark()
		w.feed(fromHost(2, groupA, 9, "late"))
		w.grew("OutbandDropNoMember", 1)
		w.empty(other)
	})
}

func TestSourceFilters(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		only2, not2, all := w.shared("0.0.0.0:9"), w.shared("0.0.0.0:9"), w.shared("0.0.0.0:9")
		want := func(from byte, to ...*UDPSocket) {
			t.Helper()
			for range 2 {
				w.feed(fromHost(from, groupA, 9, "x"))
				for _, k := range []*UDPSocket{only2, not2, all} {
					if slices.Contains(to, k) {
						w.got(k, "x")
					} else {
						w.empty(k)
					}
				}
			}
		}
		all.Multicast().SetAll(false)
		if err := only2.Multicast().JoinSource(w.on(groupA), ipv4.Addr{10, 9, 0, 2}); err != nil {
			t.Fatal(err)
		}
		not2.Multicast().SetAll(false)
		want(2, only2)
		want(3)
		w.join(not2, groupA)
		if err := not2.Multicast().BlockSource(w.on(groupA), ipv4.Addr{10, 9, 0, 2}); err != nil {
			t.Fatal(err)
		}
		want(2, only2)
		want(3, not2)
		w.join(all, groupA)
		want(2, only2, all)
		want(3, not2, all)
		if err := only2.Multicast().LeaveSource(w.on(groupA), ipv4.Addr{10, 9, 0, 2}); err != nil {
			t.Fatal(err)
		}
		want(2, only2, all) // no filter of its own any more, but IP_MULTICAST_ALL
		if err := not2.Multicast().UnblockSource(w.on(groupA), ipv4.Addr{10, 9, 0, 2}); err != nil {
			t.Fatal(err)
		}
		want(2, only2, not2, all)
	})
}

// TestFilterCalls follows the errors of Linux' ip_mc_source and ip_mc_msfilter.
func TestFilterCalls(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("0.0.0.0:9", "")
		a := w.on(groupA)
		src := func(n byte) ipv4.Addr { return ipv4.Addr{10, 9, 0, n} }
		for _, c := range []struct {
			name string
			call func() error
			want error
		}{
			{"not a group", func() error { return k.Multicast().JoinGroup(GroupRequest{Group: far4}) }, unix.EINVAL},
			{"no device", func() error { return k.Multicast().JoinGroup(GroupRequest{Group: groupA, Interface: 77}) }, unix.ENODEV},
			{"no such address", func() error { return k.Multicast().JoinGroup(GroupRequest{Group: groupA, Address: far4}) }, unix.ENODEV},
			{"no route", func() error { return k.Multicast().JoinGroup(GroupRequest{Group: groupA}) }, unix.ENODEV},
			{"leave what was not joined", func() error { return k.Multicast().LeaveGroup(a) }, unix.EADDRNOTAVAIL},
			{"block without a join", func() error { return k.Multicast().BlockSource(a, src(2)) }, unix.EINVAL},
			{"by address", func() error { return k.Multicast().JoinGroup(GroupRequest{Group: groupA, Address: near4}) }, nil},
			{"twice", func() error { return k.Multicast().JoinGroup(a) }, unix.EADDRINUSE},
			{"block", func() error { return k.Multicast().BlockSource(a, src(2)) }, nil},
			{"block twice", func() error { return k.Multicast().BlockSource(a, src(2)) }, unix.EADDRNOTAVAIL},
			{"include what excludes", func() error { return k.Multicast().JoinSource(a, src(3)) }, unix.EINVAL},
			{"unblock another", func() error { return k.Multicast().UnblockSource(a, src(3)) }, unix.EADDRNOTAVAIL},
			{"unblock", func() error { return k.Multicast().UnblockSource(a, src(2)) }, nil},
			{"leave by another address", func() error { return k.Multicast().LeaveGroup(GroupRequest{Group: groupA, Address: far4}) }, unix.EADDRNOTAVAIL},
			{"leave", func() error { return k.Multicast().LeaveGroup(a) }, nil},
			{"join a source", func() error { return k.Multicast().JoinSource(a, src(2)) }, nil},
			{"join another", func() error { return k.Multicast().JoinSource(a, src(3)) }, nil},
			{"join it twice", func() error { return k.Multicast().JoinSource(a, src(3)) }, unix.EADDRNOTAVAIL},
			{"block what includes", func() error { return k.Multicast().BlockSource(a, src(3)) }, unix.EINVAL},
			{"leave one", func() error { return k.Multicast().LeaveSource(a, src(2)) }, nil},
			{"leave the last", func() error { return k.Multicast().LeaveSource(a, src(3)) }, nil},
			{"which left the group", func() error { return k.Multicast().LeaveGroup(a) }, unix.EADDRNOTAVAIL},
			{"a filter without a join", func() error {
				return k.Multicast().SetGroupFilter(a, igmp.Filter{Mode: igmp.Exclude})
			}, unix.EINVAL},
		} {
			if err := c.call(); err != c.want {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
		w.join(k, groupA)
		f := igmp.Filter{Mode: igmp.Include, Sources: []ipv4.Addr{src(9), src(2), src(5)}}
		if err := k.Multicast().SetGroupFilter(a, f); err != nil {
			t.Fatal(err)
		}
		if got, err := k.Multicast().GroupFilter(a); err != nil || got.Mode != igmp.Include || !slices.Equal(got.Sources, f.Sources) {
			t.Errorf("GroupFilter: %v, %v", got, err)
		}
		for n := range byte(7) {
			if err := k.Multicast().JoinSource(a, src(20+n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Multicast().JoinSource(a, src(40)); err != unix.ENOBUFS {
			t.Errorf("the eleventh source: %v, want ENOBUFS", err)
		}
		if err := k.Multicast().SetGroupFilter(a, igmp.Filter{Mode: igmp.Include}); err != nil {
			t.Fatal(err)
		}
		for n := range 20 {
			w.join(k, groupAddr(n))
		}
		if err := k.Multicast().JoinGroup(w.on(groupA)); err != unix.ENOBUFS {
			t.Errorf("the 21st group: %v, want ENOBUFS", err)
		}
		for n := range 20 {
			if err := k.Multicast().LeaveGroup(w.on(groupAddr((n * 7) % 20))); err != nil {
				t.Errorf("leaving group %d: %v", n, err)
			}
		}
		if len(w.near.Groups()) != 0 || k.kind.ip().multicast.members.Len() != 0 {
			t.Errorf("left over: %v", w.near.Groups())
		}
	})
}

// generalQuery returns the frame of a version 3 query for all groups, to be answered
// within ten seconds.
func generalQuery() []byte {
	query := []byte{0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0}
	binary.BigEndian.PutUint16(query[2:], ^checksum.Sum(query, 0))
	q := ip(ipv4.Fields{Src: far4, Dst: allHosts, TTL: 1, Protocol: ipv4.ProtocolIGMP, Options: routerAlert}, query)
	mac := allHosts.MulticastMAC()
	copy(q, mac[:])
	return q
}

func TestMembershipIsReported(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.sent()
		k := w.socket("0.0.0.0:9", "")
		w.join(k, groupA)
		time.Sleep(5 * time.Second)
		if got := w.reports(); len(got) != 2 {
			t.Fatalf("%d reports of a join, want 2: the robustness variable", len(got))
		}
		w.feed(generalQuery())
		time.Sleep(11 * time.Second)
		if got := w.reports(); len(got) != 1 {
			t.Fatalf("%d reports after a query, want 1", len(got))
		}
		w.near.SetUp(false)
		time.Sleep(time.Second)
		w.near.SetUp(true)
		time.Sleep(5 * time.Second)
		if got := w.reports(); len(got) == 0 {
			t.Fatal("no report when the link came back")
		}
		k.Close()
		time.Sleep(5 * time.Second)
		if got := w.reports(); len(got) != 2 {
			t.Fatalf("%d reports of a leave, want 2", len(got))
		}
		w.silent()
	})
}

func TestCloseLeavesAllGroups(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		for n := range 10 {
			w.join(w.shared("0.0.0.0:9"), groupAddr(n))
		}
		time.Sleep(5 * time.Second)
		w.sent()
		w.s.Close()
		got := w.reports()
		if len(got) != 1 {
			t.Fatalf("%d reports, want one for all groups", len(got))
		}
	})
}

func TestOwnMulticastIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k, other := w.shared("0.0.0.0:9"), w.shared("0.0.0.0:9")
		to := netip.AddrPortFrom(netip.AddrFrom4(groupA), 9)
		send := func(want error) {
			t.Helper()
			if err := k.SendTo([]byte("x"), 0, NoDeadline, to); err != want {
				t.Fatalf("SendTo: %v, want %v", err, want)
			}
		}
		wire := func(n int) {
			t.Helper()
			got := 0
			for _, f := range w.sentIP() {
				if h, _, _ := ipv4.Parse(f.data[output.IPOffset:]); h.Protocol() == ipv4.ProtocolUDP {
					got++
					if h.Src() != near4 || h.TTL() != 1 || link.MAC(f.data[:6]) != groupA.MulticastMAC() {
						t.Errorf("wrong headers: %x", f.data[:34])
					}
				}
			}
			if got != n {
				t.Errorf("%d datagrams on the wire, want %d", got, n)
			}
		}
		send(unix.ENETUNREACH)
		if err := k.Multicast().SetInterface(GroupRequest{Interface: w.ifc.Index()}); err != nil {
			t.Fatal(err)
		}
		send(nil)
		wire(1)
		w.empty(other) // nobody is a member
		w.join(other, groupA)
		send(nil)
		wire(1)
		w.got(k, "x")
		w.got(other, "x")
		k.Multicast().SetLoop(false)
		send(nil)
		wire(1)
		w.empty(other)
		k.Multicast().SetLoop(true)
		k.Multicast().SetTTL(0)
		send(nil)
		wire(0)
		w.got(k, "x")
		w.got(other, "x")
		other.Close()
		send(nil)
		wire(0)
		w.empty(k)
	})
}

// TestLargeMulticast sends one that goes in fragments, and hears it.
func TestLargeMulticast(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("0.0.0.0:9", "")
		w.join(k, groupA)
		if err := k.Connect(netip.AddrPortFrom(netip.AddrFrom4(groupA), 9)); err != unix.ENETUNREACH {
			t.Fatalf("Connect without a route: %v", err)
		}
		if err := k.Multicast().SetInterface(GroupRequest{Address: near4}); err != nil {
			t.Fatal(err)
		}
		data := payload(5000)
		if err := k.SendTo(data, 0, NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(groupA), 9)); err != nil {
			t.Fatal(err)
		}
		w.got(k, string(data))
		whole := datagram(far4, groupA, 7, 9, data)
		var frames [][]byte
		for at := 0; at < len(whole); at += 1480 {
			end := min(at+1480, len(whole))
			frames = append(frames, ip(ipv4.Fields{Src: far4, Dst: groupA, ID: 5, FragmentOffset: at, MoreFragments: end < len(whole)}, whole[at:end]))
		}
		w.feed(frames...)
		w.got(k, string(data))
	})
}

// Whether a remembered flow holds is asked at each datagram.
func TestRememberedFlows(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.shared("0.0.0.0:9")
		w.join(k, groupA)
		x := fromHost(2, groupA, 9, "x")
		w.feed(x, x)
		w.got(k, "x")
		w.got(k, "x")
		late := w.shared("0.0.0.0:9")
		w.feed(x)
		w.got(late, "x")
		w.got(k, "x")
		if err := late.Connect(netip.MustParseAddrPort("10.9.0.3:7")); err != nil {
			t.Fatal(err)
		}
		w.feed(x)
		w.empty(late)
		w.got(k, "x")
		late.Close()
		k.Multicast().SetAll(false)
		w.join(k, groupB)
		if err := k.Multicast().LeaveGroup(w.on(groupA)); err != nil {
			t.Fatal(err)
		}
		w.mark()
		w.feed(x)
		w.grew("OutbandDropNoMember", 1)
		w.empty(k)
	})
}

func TestMulticastAllocatesNothing(t *testing.T) {
	s, r, i := replayStack(t)
	sockets := members(t, s, i, 1, 4, true)
	r.frame = groupFrame(groupAddr(0), 9, payload(64))
	buf := make([]byte, 2048)
	noAllocs(t, func() {
		r.ready = 1
		for _, k := range sockets {
			if n, _, err := k.Recv(buf, 0, NoDeadline); n != 64 || err != nil {
				t.Fatal(n, err)
			}
		}
	})
}

// Ten thousand joins are reported in as few reports as the RFC allows: one record of
// eight bytes each, as many as an MTU holds.
func TestManyJoinsArePacked(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.s.groups.Max.Memberships = 10_000
		k := w.socket("0.0.0.0:9", "")
		w.sent()
		for n := range 1000 {
			w.join(k, groupAddr(n))
		}
		time.Sleep(3 * time.Millisecond)
		synctest.Wait()
		const perReport = (1500 - 24 - 8) / 8
		if got := len(w.reports()); got != (1000+perReport-1)/perReport {
			t.Errorf("%d reports of 1000 groups, want %d", got, (1000+perReport-1)/perReport)
		}
	})
}

// A GSO packet to a group comes whole to members with UDP_GRO, and cut to others.
func TestGSOPacketToGroup(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		whole, cut := w.shared("0.0.0.0:9"), w.shared("0.0.0.0:9")
		whole.SetGRO(true)
		w.join(whole, groupA)
		w.join(cut, groupA)
		for _, to := range []ipv4.Addr{groupA, {10, 9, 0, 255}} {
			f := link.Frame{Data: fromHost(2, to, 9, "aaabbbcc")}
			f.GSO, f.GSOSize, f.Checksum = link.GSOUDP, 3, link.ChecksumPartial
			if !w.near.Inject(f) {
				t.Fatal("the pipe is full")
			}
			w.settle()
			b := make([]byte, 20)
			n, info, err := whole.Recv(b, unix.MSG_DONTWAIT, NoDeadline)
			if string(b[:n]) != "aaabbbcc" || info.SegmentSize != 3 || err != nil {
				t.Errorf("to %v, with UDP_GRO: %q in segments of %d, %v", to, b[:n], info.SegmentSize, err)
			}
			w.empty(whole)
			for _, want := range []string{"aaa", "bbb", "cc"} {
				w.got(cut, want)
			}
			w.empty(cut)
		}
	})
}

// A link that was down for a moment only, before anybody looked, is one that came back.
func TestMembershipsAfterAMoment(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("0.0.0.0:9", "")
		w.join(k, groupA)
		time.Sleep(10 * time.Second)
		w.reports()
		for range 2 {
			w.near.SetUp(false)
			w.near.SetUp(true)
			time.Sleep(10 * time.Second)
			if r := w.reports(); len(r) != 2 || r[0].FirstRecord().Type() != igmp.ToExclude {
				t.Fatalf("%d reports when the link came back, want the membership twice", len(r))
			}
		}
	})
}

// A flow that came by an interface is not remembered for another with its index.
func TestFlowsEndWithTheirInterface(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.shared("0.0.0.0:9")
		w.join(k, groupA)
		x := fromHost(2, groupA, 9, "x")
		w.feed(x, x)
		w.got(k, "x")
		w.got(k, "x")
		index := w.ifc.Index()
		if err := w.s.RemoveLink(index); err != nil {
			t.Fatal(err)
		}
		a, b := pipe.New(pipe.Options{})
		t.Cleanup(func() { b.Close() })
		w.far = b
		if _, err := w.s.AddLink(a, InterfaceConfig{Index: index}); err != nil {
			t.Fatal(err)
		}
		w.mark()
		w.feed(x)
		w.grew("OutbandDropNoMember", 1)
		w.empty(k)
	})
}
