package conformance

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// Multicast between our stack and the kernel's: either sends, either is a member.

var (
	groupA = [4]byte{239, 9, 1, 1}
	groupB = [4]byte{239, 9, 1, 2}
)

// at returns a group's address with a port.
func at(group [4]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(group), port)
}

// member returns a socket of ours that is in a group.
func (w *world) member(port uint16, group [4]byte) *stack.UDPSocket {
	w.t.Helper()
	k := w.udp(port)
	check(w.t, k.Multicast().JoinGroup(stack.GroupRequest{Group: group, Interface: w.ifc.Index()}))
	return k
}

// index returns the index of an end's device.
func index(t testing.TB, e *lab.Endpoint) int {
	t.Helper()
	d, err := e.Device(e.Name)
	check(t, err)
	return d.Index
}

// kernelMember returns a socket of the kernel's that is in a group, and sends by the
// end's device.
func kernelMember(t testing.TB, e *lab.Endpoint, port uint16, groups ...[4]byte) *inband.UDP {
	t.Helper()
	u := e.UDP(t, port)
	on := &unix.IPMreqn{Ifindex: int32(index(t, e))}
	check(t, unix.SetsockoptIPMreqn(u.FD(), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, on))
	for _, g := range groups {
		on.Multiaddr = g
		check(t, unix.SetsockoptIPMreqn(u.FD(), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, on))
	}
	return u
}

// Datagrams of all sizes arrive whole, from the kernel to our member and from us
// to the kernel's, with members of the same group at both ends.
func TestMulticastSizes(t *testing.T) {
	for _, mtu := range []int{576, 1500, 9000} {
		t.Run(fmt.Sprint("MTU ", mtu), func(t *testing.T) {
			w := newWorld(t, setup{lab: lab.Config{MTU: mtu}})
			k, peer := w.member(7, groupA), kernelMember(t, w.far, 7, groupA)
			check(t, peer.SetBuffers(1<<20))
			k.SetReceiveBuffer(1 << 20)
			check(t, k.Multicast().SetInterface(stack.GroupRequest{Interface: w.ifc.Index()}))
			for i, n := range sizes {
				b := pattern(n, uint32(i))
				w.send(k, b, at(groupA, 7))
				got, from := recvInBand(t, peer)
				wantBytes(t, got, b)
				if from != w.ours(7) {
					t.Errorf("the kernel sees %v, want %v", from, w.ours(7))
				}
				got, info := w.recv(k) // the sender is a member, too
				wantBytes(t, got, b)
				if info.To != groupA {
					t.Errorf("our own datagram is to %v", info.To)
				}
				b = pattern(n, uint32(i+100))
				check(t, peer.SendTo(b, at(groupA, 7)))
				got, info = w.recv(k)
				wantBytes(t, got, b)
				wantFragSize(t, info, n, mtu)
				if info.To != groupA || at(info.From, info.FromPort) != w.kernels(7) {
					t.Errorf("from %v to %v, want from %v to %v", info.From, info.To, w.kernels(7), groupA)
				}
				got, _ = recvInBand(t, peer)
				wantBytes(t, got, b)
			}
		})
	}
}

// Who is at home hears it if the sender wants that; time to live 0 stays at home.
func TestMulticastAtHomeAndAway(t *testing.T) {
	w := newWorld(t, setup{})
	k, peer := w.member(7, groupA), kernelMember(t, w.far, 7, groupA)
	other := w.udpAt(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	check(t, other.Multicast().SetInterface(stack.GroupRequest{Interface: w.ifc.Index()}))
	for _, c := range []struct {
		name       string
		ttl        int
		loop       bool
		home, away bool
	}{
		{"loop", 1, true, true, true},
		{"no loop", 1, false, false, true},
		{"TTL 0", 0, true, true, false},
		{"TTL 0, no loop", 0, false, false, false},
		{"TTL 255", 255, true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			other.Multicast().SetTTL(c.ttl)
			other.Multicast().SetLoop(c.loop)
			w.send(other, []byte(c.name), at(groupA, 7))
			other.Multicast().SetTTL(1)
			other.Multicast().SetLoop(true)
			w.send(other, []byte("end"), at(groupA, 7))
			want := func(end string, heard bool, recv func() []byte) {
				t.Helper()
				got := recv()
				if (string(got) == c.name) != heard {
					t.Errorf("%s: got %q, want it heard: %t", end, got, heard)
				}
				if string(got) == c.name {
					got = recv()
				}
				if string(got) != "end" {
					t.Fatalf("%s: got %q, want the end", end, got)
				}
			}
			want("home", c.home, func() []byte { b, _ := w.recv(k); return b })
			want("away", c.away, func() []byte { b, _ := recvInBand(t, peer); return b })
		})
	}
}

// An actor is a socket of ours and one of the kernel's, that do the same at
// two ends of one network.
type actor struct {
	ends [2]*sockapi.Socket
	what [2]string
}

// A stage is a network with our stack and the kernel's as receivers, and the kernel as
// sender: what is sent, both hear.
type stage struct {
	*world
	kernel *lab.Endpoint // of the receiver in-band
	index  [2]int        // of the two receivers' devices
	actors []*actor
}

func newStage(t *testing.T, actors int) *stage {
	s := &stage{world: newWorld(t, setup{lab: lab.Config{Ends: 3, Kernel: lab.Far | lab.End(2)}})}
	s.kernel = s.lab.Ends[2]
	s.index = [2]int{s.ifc.Index(), index(t, s.kernel)}
	api := sockapi.New(s.stack)
	for range actors {
		a := &actor{what: [2]string{"ours", "the kernel's"}}
		for i, typ := range []int{unix.SOCK_DGRAM | sockapi.SOCK_OOB, unix.SOCK_DGRAM} {
			s.kernel.In(t, func() (err error) {
				a.ends[i], err = api.Socket(unix.AF_INET, typ, 0)
				return err
			})
			t.Cleanup(func() { a.ends[i].Close() })
			check(t, a.ends[i].SetsockoptInt(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
			check(t, a.ends[i].SetsockoptInt(unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20))
			check(t, a.ends[i].SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, lab.Patience))
			check(t, a.ends[i].Bind(sockapi.Inet4([4]byte{}, 7)))
		}
		s.actors = append(s.actors, a)
	}
	return s
}

// set makes both sockets of an actor do the same, and returns the error, which must
// be the same.
func (s *stage) set(a *actor, name int, value func(index int) []byte) error {
	s.t.Helper()
	var errs [2]error
	for i, e := range a.ends {
		errs[i] = e.Setsockopt(unix.SOL_IP, name, value(s.index[i]))
	}
	if errs[0] != errs[1] {
		s.t.Fatalf("option %d: %v here, %v in-band", name, errs[0], errs[1])
	}
	return errs[0]
}

// groupReq is a struct group_req, groupSourceReq a struct group_source_req, and
// groupFilter a struct group_filter (RFC 3678).
func groupReq(group [4]byte) func(int) []byte {
	return func(index int) []byte { return append(groupHead(index), storage(group)...) }
}

func groupSourceReq(group, source [4]byte) func(int) []byte {
	return func(index int) []byte { return slices.Concat(groupHead(index), storage(group), storage(source)) }
}

func groupFilter(group [4]byte, mode uint32, sources ...[4]byte) func(int) []byte {
	return func(index int) []byte {
		b := append(groupHead(index), storage(group)...)
		b = binary.NativeEndian.AppendUint32(b, mode)
		b = binary.NativeEndian.AppendUint32(b, uint32(len(sources)))
		for _, s := range sources {
			b = append(b, storage(s)...)
		}
		return b
	}
}

func groupHead(index int) []byte {
	return append(binary.NativeEndian.AppendUint32(nil, uint32(index)), make([]byte, 4)...)
}

func storage(ip [4]byte) []byte {
	b := make([]byte, 128)
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	copy(b[4:], ip[:])
	return b
}

// sources are what the sender sends from: the address of its end, and others of it.
func (s *stage) sources(n int) (all []*inband.UDP) {
	s.t.Helper()
	for i := range n {
		addr := s.far.Addr
		if i > 0 {
			addr = netip.AddrFrom4([4]byte{10, 9, 0, byte(100 + i)})
			check(s.t, s.far.AddAddress(s.far.Name, netip.PrefixFrom(addr, lab.Bits)))
		}
		u := s.far.BoundUDP(s.t, netip.AddrPortFrom(addr, 0))
		on := &unix.IPMreqn{Ifindex: int32(index(s.t, s.far))}
		check(s.t, unix.SetsockoptIPMreqn(u.FD(), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, on))
		all = append(all, u)
	}
	return all
}

// heard returns what a socket receives until the end is said.
func heard(t testing.TB, k *sockapi.Socket, what string) (all []string) {
	t.Helper()
	for b := make([]byte, 100); ; {
		n, err := k.Recv(b, 0)
		if err != nil {
			t.Fatalf("%s: %v after %q", what, err, all)
		}
		if string(b[:n]) == "end" {
			return all
		}
		all = append(all, string(b[:n]))
	}
}

// show sends from each source to each group, then the end to each receiver, and
// compares what our sockets and the kernel's have heard.
func (s *stage) show(what string, sources []*inband.UDP, groups [][4]byte) {
	s.t.Helper()
	for i, u := range sources {
		for j, g := range groups {
			check(s.t, u.SendTo(fmt.Appendf(nil, "%d>%d", i, j), at(g, 7)))
		}
	}
	check(s.t, sources[0].SendTo([]byte("end"), at(marker, 7)))
	for i, a := range s.actors {
		ours, kernels := heard(s.t, a.ends[0], "ours"), heard(s.t, a.ends[1], "the kernel's")
		if !slices.Equal(ours, kernels) {
			s.t.Fatalf("%s: socket %d heard\n\t%s\nthe kernel's\n\t%s", what, i,
				strings.Join(ours, " "), strings.Join(kernels, " "))
		}
	}
}

// marker is a group that all actors are in, for the end of each round.
var marker = [4]byte{239, 9, 9, 9}

// Whatever filters their sockets have, ours receive what the kernel's do, of every
// source and group: a random walk through the calls of RFC 3678.
func TestMulticastFiltersLikeTheKernel(t *testing.T) {
	s := newStage(t, 3)
	sources := s.sources(4)
	groups := [][4]byte{groupA, groupB, {239, 9, 1, 3}}
	for _, a := range s.actors {
		check(t, s.set(a, unix.MCAST_JOIN_GROUP, groupReq(marker)))
	}
	addrs := make([][4]byte, len(sources))
	for i, u := range sources {
		local, err := u.LocalAddr()
		check(t, err)
		addrs[i] = local.Addr().As4()
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	succeeded := 0
	for step := range 250 {
		a := s.actors[rnd.IntN(len(s.actors))]
		g, src := groups[rnd.IntN(len(groups))], addrs[rnd.IntN(len(addrs))]
		var name int
		var value func(int) []byte
		switch op := rnd.IntN(9); op {
		case 0, 1:
			name, value = []int{unix.MCAST_JOIN_GROUP, unix.MCAST_LEAVE_GROUP}[op], groupReq(g)
		case 2, 3, 4, 5:
			name = []int{unix.MCAST_JOIN_SOURCE_GROUP, unix.MCAST_LEAVE_SOURCE_GROUP, unix.MCAST_BLOCK_SOURCE,
				unix.MCAST_UNBLOCK_SOURCE}[op-2]
			value = groupSourceReq(g, src)
		case 6, 7:
			list := slices.Clone(addrs)
			rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			name, value = unix.MCAST_MSFILTER, groupFilter(g, uint32(rnd.IntN(2)), list[:rnd.IntN(len(list))]...)
		case 8:
			name = unix.IP_MULTICAST_ALL
			v := binary.NativeEndian.AppendUint32(nil, uint32(rnd.IntN(2)))
			value = func(int) []byte { return v }
		}
		if s.set(a, name, value) == nil {
			succeeded++
		}
		s.show(fmt.Sprintf("step %d, option %d", step, name), sources, groups)
	}
	if succeeded < 50 {
		t.Errorf("only %d of 250 calls did anything", succeeded)
	}
}

// The kernel's member with a source filter hears what we send from the right address.
func TestMulticastOurSources(t *testing.T) {
	w := newWorld(t, setup{})
	second := netip.AddrFrom4([4]byte{10, 9, 0, 50})
	w.addAddress(netip.PrefixFrom(second, lab.Bits))
	peer, all := w.far.UDP(t, 8), kernelMember(t, w.far, 7, groupA)
	addr := w.far.Addr.As4()
	from := second.As4()
	mreq := slices.Concat(groupA[:], addr[:], from[:])
	check(t, unix.SetsockoptString(peer.FD(), unix.IPPROTO_IP, unix.IP_ADD_SOURCE_MEMBERSHIP, string(mreq)))
	for _, local := range []netip.Addr{w.near.Addr, second} {
		for _, port := range []uint16{7, 8} {
			k := w.udpAt(netip.AddrPortFrom(local, 0))
			check(t, k.Multicast().SetInterface(stack.GroupRequest{Interface: w.ifc.Index()}))
			w.send(k, []byte(local.String()), at(groupA, port))
			if port == 8 && local != second {
				continue
			}
			u := map[uint16]*inband.UDP{7: all, 8: peer}[port]
			got, who := recvInBand(t, u)
			if string(got) != local.String() || who.Addr() != local {
				t.Errorf("port %d: got %q from %v, want it from %v", port, got, who, local)
			}
		}
	}
}

// Bursts of thousands of datagrams, in step, on two groups, arrive without a gap and
// in order: the ring holds them, whoever is late.
func TestMulticastBurst(t *testing.T) {
	const rounds, burst = 4, 5000
	slots := 16384
	w := newWorld(t, setup{link: linkOptions(slots)})
	ks := []*stack.UDPSocket{w.member(7, groupA), w.member(8, groupB)}
	for _, k := range ks {
		k.SetReceiveBuffer(64 << 20)
	}
	peer := kernelMember(t, w.far, 0)
	before := w.dev.Stats()
	b, next := make([]byte, 2048), uint32(0)
	began := time.Now()
	for range rounds {
		for i := range uint32(burst) {
			out := sealed(100, next+i)
			check(t, peer.SendTo(out, at(groupA, 7)))
			check(t, peer.SendTo(out, at(groupB, 8)))
		}
		for _, k := range ks {
			for i := range uint32(burst) {
				n, _, err := k.Recv(b, 0, w.stack.Deadline(lab.Patience))
				if err != nil {
					t.Fatalf("%v in place of datagram %d", err, next+i)
				}
				if number, ok := intact(b[:n]); !ok || number != next+i {
					t.Fatalf("got datagram %d (intact: %t), want %d", number, ok, next+i)
				}
			}
		}
		next += burst
	}
	t.Logf("%d datagrams in %v", 2*next, time.Since(began))
	if s := w.dev.Stats(); s.RxDropped != before.RxDropped || ks[0].Drops()+ks[1].Drops() != 0 {
		t.Errorf("dropped: %d by the ring, %d and %d by the sockets", s.RxDropped-before.RxDropped, ks[0].Drops(), ks[1].Drops())
	}
}

// A datagram from 0.0.0.0 is the kernel's and ours to refuse alike, unless it is IGMP
// or to a group of the link.
func TestMulticastFromNowhere(t *testing.T) {
	s := newStage(t, 1)
	local := [4]byte{224, 0, 0, 77}
	for _, g := range [][4]byte{marker, groupA, local} {
		check(t, s.set(s.actors[0], unix.MCAST_JOIN_GROUP, groupReq(g)))
	}
	wire := s.far.Packet(t)
	for _, g := range [][4]byte{groupA, local} {
		f := ipv4.Fields{TTL: 1, Protocol: ipv4.ProtocolUDP, Dst: g}
		mac := ipv4.Addr(g).MulticastMAC()
		b := datagram(f.Src, g, 9, 7, []byte("from 0.0.0.0 to "+netip.AddrFrom4(g).String()))
		wire.Send(t, ethernet(mac, s.far.MAC, unix.ETH_P_IP, packet(f, b)))
		s.show("from nowhere", s.sources(1), nil)
	}
}

// linkOptions asks for a ring of so many slots of 2 KiB.
func linkOptions(slots int) tpacket.Options {
	return tpacket.Options{Slots: slots, SlotSize: 2048}
}
