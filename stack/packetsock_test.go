package stack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// testEtherType is an EtherType that nobody has (IEEE 802, 9.2.3).
const testEtherType = 0x88b5

func packetSocketOf(t testing.TB, s *Stack, cooked bool, ethertype uint16) *PacketSocket {
	t.Helper()
	k, err := s.NewPacketSocket(cooked, ethertype)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func testFrame(dst, src link.MAC, ethertype uint16, payload string) []byte {
	b := append(append([]byte(nil), dst[:]...), src[:]...)
	return append(binary.BigEndian.AppendUint16(b, ethertype), payload...)
}

func TestPacketFrames(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	near, far := p.nearEnd.Info().HardwareAddr, p.farEnd.Info().HardwareAddr
	group := link.MAC{1, 0, 0x5e, 0, 0, 9}
	driveAll(p.far) // the other's announcement
	tests := []struct {
		name string
		dst  link.MAC
		typ  link.PacketType
	}{
		{"to it", far, link.Host}, {"to all", ether.Broadcast, link.Broadcast},
		{"to a group", group, link.Multicast}, {"to another", link.MAC{2, 9, 9, 9, 9, 9}, link.OtherHost},
	}
	from := packetSocketOf(t, p.near, false, 0)
	check(t, from.BindLink(p.nearIfc.Index(), 0))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			whole := packetSocketOf(t, p.far, false, unix.ETH_P_ALL)
			cooked := packetSocketOf(t, p.far, true, testEtherType)
			other := packetSocketOf(t, p.far, true, testEtherType+1)
			away := packetSocketOf(t, p.far, false, 0)
			check(t, away.BindLink(1, unix.ETH_P_ALL))
			f := testFrame(tt.dst, near, testEtherType, "payload")
			check(t, from.SendLink(f, 0, NoDeadline, nil))
			b, info := recv(t, whole)
			for info.Link().EtherType == unix.ETH_P_ARP { // the other's announcements come again after a while
				b, info = recv(t, whole)
			}
			if !bytes.Equal(b, f) || info.Type != tt.typ || int(info.Interface) != p.farIfc.Index() || info.Len != len(f) {
				t.Errorf("%x, %+v", b, info)
			}
			b, info = recv(t, cooked)
			want := LinkInfo{EtherType: testEtherType, HardwareType: unix.ARPHRD_ETHER, Source: near, Len: 7}
			if string(b) != "payload" || info.Link() != want {
				t.Errorf("%q, %+v", b, info.Link())
			}
			nothing(t, other)
			nothing(t, away)
		})
	}
}

// TestPacketVLAN: a frame of a VLAN that nobody is in is seen, with its tag.
func TestPacketVLAN(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	driveAll(p.far) // the other's announcement
	all, exact := packetSocketOf(t, p.far, false, unix.ETH_P_ALL), packetSocketOf(t, p.far, false, testEtherType)
	p.farEnd.Inject(link.Frame{Data: testFrame(ether.Broadcast, link.MAC{2}, testEtherType, "tagged"),
		Meta: link.Meta{VLAN: true, VLANTCI: 0x2064, VLANTPID: unix.ETH_P_8021Q, Type: link.Broadcast, Checksum: link.ChecksumValid}})
	_, info := recv(t, all)
	if l := info.Link(); !l.VLAN || l.VLANTCI != 0x2064 || l.VLANTPID != unix.ETH_P_8021Q || l.Checksum != link.ChecksumValid || info.Type != link.Broadcast {
		t.Errorf("%+v %+v", l, info)
	}
	if _, info = recv(t, exact); info.Type != link.OtherHost {
		t.Errorf("type %v", info.Type)
	}
}

func TestPacketTruncated(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := packetSocketOf(t, p.far, false, testEtherType)
	p.farEnd.Inject(link.Frame{Data: testFrame(ether.Broadcast, link.MAC{2}, testEtherType, "cut"), Meta: link.Meta{WireLen: 100000}})
	if b, info := recv(t, k); len(b) != 17 || info.Len != 17 || info.Link().Len != 100000 {
		t.Errorf("%d bytes, %+v", len(b), info.Link())
	}
}

// TestPacketOutgoing: who asks for everything sees what the stack sends, its ARP
// too; who sends sees its own not.
func TestPacketOutgoing(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	all, ip := packetSocketOf(t, p.near, false, unix.ETH_P_ALL), packetSocketOf(t, p.near, false, unix.ETH_P_IP)
	deaf := packetSocketOf(t, p.near, false, unix.ETH_P_ALL)
	deaf.SetIgnoreOutgoing(true)
	u := udpSocket(t, p.near, "10.9.0.1:1000")
	far := udpSocket(t, p.far, "10.9.0.2:2000")
	check(t, u.SendTo([]byte("datagram"), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:2000")))
	recv(t, far)
	nothing(t, u)
	var seen []string
	for {
		b := make([]byte, 2048)
		n, info, err := all.Recv(b, unix.MSG_DONTWAIT, NoDeadline)
		if err != nil {
			break
		}
		s := map[uint16]string{unix.ETH_P_ARP: "arp", unix.ETH_P_IP: "ip"}[binary.BigEndian.Uint16(b[12:n])]
		if info.Type == link.Outgoing {
			s += " out"
		}
		seen = append(seen, s)
	}
	want := map[string]bool{"arp out": true, "arp": true, "ip out": true}
	for _, s := range seen {
		delete(want, s)
	}
	if len(want) > 0 {
		t.Errorf("seen %q", seen)
	}
	nothing(t, ip)
	if _, info := recv(t, deaf); info.Type == link.Outgoing {
		t.Error("sees what it does not want")
	}
	check(t, all.BindLink(p.nearIfc.Index(), 0))
	check(t, all.SendLink(testFrame(ether.Broadcast, link.MAC{2}, testEtherType, "own"), 0, NoDeadline, nil))
	nothing(t, all)
}

func TestPacketFilter(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := packetSocketOf(t, p.far, false, 0) // nothing until it has its filter

	check(t, k.Receiving().SetFilter(assemble(t, // the first 20 bytes of frames of the type
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: testEtherType, SkipFalse: 1},
		bpf.RetConstant{Val: 20}, bpf.RetConstant{Val: 0})))
	check(t, k.BindLink(0, unix.ETH_P_ALL))
	for _, typ := range []uint16{testEtherType + 1, testEtherType} {
		p.farEnd.Inject(link.Frame{Data: testFrame(ether.Broadcast, link.MAC{2}, typ, "something long"), Meta: link.Meta{Type: link.Broadcast}})
	}
	b, info := recv(t, k)
	if len(b) != 20 || info.Len != 20 || info.Link().Len != 28 {
		t.Errorf("%d bytes, %+v %+v", len(b), info, info.Link())
	}
	if frames, drops := k.PacketStatistics(); frames != 1 || drops != 0 {
		t.Errorf("%d frames, %d drops", frames, drops)
	}
}

func TestPacketStatistics(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := packetSocketOf(t, p.far, false, testEtherType)
	k.SetReceiveBuffer(0)
	for range 3 {
		p.farEnd.Inject(link.Frame{Data: testFrame(ether.Broadcast, link.MAC{2}, testEtherType, "x")})
	}
	driveAll(p.far)
	if frames, drops := k.PacketStatistics(); frames != 3 || drops != 2 {
		t.Errorf("%d frames, %d drops", frames, drops)
	}
	if frames, drops := k.PacketStatistics(); frames != 0 || drops != 0 {
		t.Errorf("again: %d frames, %d drops", frames, drops)
	}
}

// drive takes in what the links have.
func driveAll(s *Stack) {
	s.lockLanes()
	for s.lanes.first.pump() {
	}
	s.unlockLanes()
}

func TestPacketSendRefused(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	whole, cooked := packetSocketOf(t, p.near, false, 0), packetSocketOf(t, p.near, true, 0)
	to := &LinkAddr{Interface: p.nearIfc.Index(), EtherType: testEtherType, Addr: ether.Broadcast}
	tests := []struct {
		name string
		k    Socket
		n    int
		to   *LinkAddr
		want error
	}{
		{"not bound", whole, 60, nil, unix.ENXIO},
		{"no such interface", whole, 60, &LinkAddr{Interface: 77}, unix.ENXIO},
		{"no frame", whole, 13, to, unix.EINVAL},
		{"a header only", whole, 14, to, nil},
		{"the longest", whole, 1514, to, nil},
		{"longer", whole, 1515, to, unix.EMSGSIZE},
		{"longer than with a tag", whole, 1519, to, unix.EMSGSIZE},
		{"cooked, empty", cooked, 0, to, nil},
		{"cooked, the longest", cooked, 1500, to, nil},
		{"cooked, longer", cooked, 1501, to, unix.EMSGSIZE},
	}
	for _, tt := range tests {
		err := tt.k.(*PacketSocket).SendLink(make([]byte, tt.n), 0, NoDeadline, tt.to)
		if err != tt.want && (err != nil || tt.want != nil) {
			t.Errorf("%s: %v, expected %v", tt.name, err, tt.want)
		}
	}
	check(t, cooked.BindLink(p.nearIfc.Index(), 0))
	if err := cooked.SendLink(nil, 0, NoDeadline, nil); err != unix.EINVAL {
		t.Errorf("cooked, without an address: %v", err)
	}
	p.nearEnd.SetUp(false)
	if err := whole.SendLink(make([]byte, 60), 0, NoDeadline, to); err != unix.ENETDOWN {
		t.Errorf("a device that is down: %v", err)
	}
}

// TestPacketDown: who is bound to a device hears that it goes down, or away.
func TestPacketDown(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k, any := packetSocketOf(t, p.near, false, 0), packetSocketOf(t, p.near, false, unix.ETH_P_ALL)
	check(t, k.BindLink(p.nearIfc.Index(), testEtherType))
	p.nearEnd.SetUp(false)
	if _, _, err := k.Recv(nil, 0, k.s.Deadline(time.Second)); err != unix.ENETDOWN {
		t.Errorf("down: %v", err)
	}
	check(t, k.BindLink(p.nearIfc.Index(), testEtherType))
	if e := k.Errors().Take(); e != unix.ENETDOWN {
		t.Errorf("bound to what is down: %v", e)
	}
	p.nearEnd.SetUp(true)
	check(t, p.near.RemoveLink(p.nearIfc.Index()))
	if e := k.Errors().Take(); e != unix.ENETDOWN {
		t.Errorf("gone: %v", e)
	}
	if a, ifc := k.BoundLink(); a.Interface != -1 || ifc != nil {
		t.Errorf("bound to %+v, %v", a, ifc)
	}
	if e := any.Errors().Take(); e != 0 {
		t.Errorf("bound to none: %v", e)
	}
	if err := k.BindLink(p.nearIfc.Index(), 0); err != unix.ENODEV {
		t.Errorf("bound to what is gone: %v", err)
	}
}

// TestPacketDownThenGone: of a device that goes away while it is down its sockets have heard
// already.
func TestPacketDownThenGone(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := packetSocketOf(t, p.near, false, 0)
	check(t, k.BindLink(p.nearIfc.Index(), testEtherType))
	p.nearEnd.SetUp(false)
	if _, _, err := k.Recv(nil, 0, k.s.Deadline(time.Second)); err != unix.ENETDOWN {
		t.Errorf("down: %v", err)
	}
	check(t, p.near.RemoveLink(p.nearIfc.Index()))
	if e := k.Errors().Take(); e != 0 {
		t.Errorf("gone: %v", e)
	}
	if a, _ := k.BoundLink(); a.Interface != -1 {
		t.Errorf("bound to %+v", a)
	}
}

func TestPacketMemberships(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	group := link.MAC{1, 0, 0x5e, 0, 0, 9}
	m := Membership{Interface: p.nearIfc.Index(), Type: unix.PACKET_MR_MULTICAST, Len: 6, Addr: group}
	k := packetSocketOf(t, p.near, false, 0)
	check(t, k.AddMembership(m))
	check(t, k.AddMembership(m))
	if n := p.nearEnd.Groups()[group]; n != 1 {
		t.Errorf("joined %d times", n)
	}
	check(t, k.DropMembership(m))
	if n := p.nearEnd.Groups()[group]; n != 1 {
		t.Errorf("joined %d times, having dropped one of two", n)
	}
	check(t, k.DropMembership(m))
	check(t, k.DropMembership(m)) // Linux does not mind
	if n := p.nearEnd.Groups()[group]; n != 0 {
		t.Errorf("joined %d times, having dropped all", n)
	}
	check(t, k.AddMembership(m))
	k.Close()
	if n := p.nearEnd.Groups()[group]; n != 0 {
		t.Errorf("joined %d times by a socket that is closed", n)
	}
	k = packetSocketOf(t, p.near, false, 0)
	for name, tt := range map[string]struct {
		m    Membership
		want error
	}{
		"no such interface":     {Membership{Interface: 77}, unix.ENODEV},
		"too short":             {Membership{Interface: 1, Type: unix.PACKET_MR_MULTICAST, Len: 5}, unix.EINVAL},
		"too long":              {Membership{Interface: 1, Len: 7}, unix.EINVAL},
		"promiscuous, loopback": {Membership{Interface: 1, Type: unix.PACKET_MR_PROMISC}, nil},
		"promiscuous":           {Membership{Interface: p.nearIfc.Index(), Type: unix.PACKET_MR_PROMISC}, nil},
		"no unicast address":    {Membership{Interface: p.nearIfc.Index(), Type: unix.PACKET_MR_UNICAST, Len: 5}, unix.EINVAL},
		"its own address": {Membership{Interface: p.nearIfc.Index(), Type: unix.PACKET_MR_UNICAST, Len: 6,
			Addr: p.nearEnd.Info().HardwareAddr}, nil},
	} {
		if err := k.AddMembership(tt.m); err != tt.want && (err != nil || tt.want != nil) {
			t.Errorf("%s: %v, expected %v", name, err, tt.want)
		}
	}
}

func TestPacketModes(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	for _, tt := range []struct {
		name string
		typ  uint16
		mode link.Mode
	}{
		{"promiscuous", unix.PACKET_MR_PROMISC, link.Promiscuous},
		{"another address", unix.PACKET_MR_UNICAST, link.Promiscuous},
		{"all groups", unix.PACKET_MR_ALLMULTI, link.AllMulticast},
	} {
		on := func(what string, want int) {
			t.Helper()
			if n := p.nearEnd.Mode(tt.mode); n != want {
				t.Errorf("%s, %s: on %d times, expected %d", tt.name, what, n, want)
			}
		}
		a, b := packetSocketOf(t, p.near, false, 0), packetSocketOf(t, p.near, false, 0)
		m := Membership{Interface: p.nearIfc.Index(), Type: tt.typ, Len: 6, Addr: link.MAC{2, 9, 9}}
		check(t, a.AddMembership(m))
		check(t, a.AddMembership(m))
		check(t, b.AddMembership(m))
		on("added", 2)
		check(t, a.DropMembership(m))
		on("one of two dropped", 2)
		check(t, a.DropMembership(m))
		on("both dropped", 1)
		b.Close()
		on("closed", 0)
	}
}

func TestLinkInfoKeepsAll(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	src := link.MAC{1, 2, 3, 4, 5, 6}
	meta := link.Meta{VLAN: true, VLANTCI: 0xfedc, VLANTPID: 0x88a8, Checksum: link.ChecksumPartial}
	for _, ifc := range []*Interface{p.nearIfc, p.near.InterfaceByIndex(1)} {
		var in Info
		in.PutLink(ifc.dev.Loopback, testFrame(ether.Broadcast, src, 0, ""), 0xabcd, &meta, 0x12345)
		want := LinkInfo{EtherType: 0xabcd, HardwareType: ifc.HardwareType(), Source: src, Len: 0x12345,
			Checksum: link.ChecksumPartial, VLAN: true, VLANTCI: 0xfedc, VLANTPID: 0x88a8}
		if got := in.Link(); got != want {
			t.Errorf("%+v, expected %+v", got, want)
		}
	}
}

func TestPacketWaits(t *testing.T) {
	p := newPair(t, Config{Spin: SpinNever}, pipe.Options{})
	driveAll(p.near) // the other's announcement
	k := packetSocketOf(t, p.near, false, unix.ETH_P_ALL)
	got := make(chan link.PacketType)
	go func() {
		b := make([]byte, 100)
		_, info, _ := k.Recv(b, 0, k.s.Deadline(5*time.Second))
		got <- info.Type
	}()
	to := &LinkAddr{Interface: p.nearIfc.Index(), EtherType: testEtherType, Addr: ether.Broadcast}
	check(t, packetSocketOf(t, p.near, true, 0).SendLink(nil, 0, NoDeadline, to))
	if typ := <-got; typ != link.Outgoing {
		t.Errorf("type %v", typ)
	}
}

func BenchmarkTapped(b *testing.B) {
	for _, tapped := range []bool{false, true} {
		name := map[bool]string{false: "none", true: "one"}[tapped]
		b.Run(name, func(b *testing.B) {
			s := newStack(b, Config{})
			if tapped {
				packetSocketOf(b, s, false, testEtherType)
				rawSocketOf(b, s, testProtocol)
			}
			u, v := udpSocket(b, s, "127.0.0.1:1000"), udpSocket(b, s, "127.0.0.1:2000")
			check(b, u.Connect(netip.MustParseAddrPort("127.0.0.1:2000")))
			buf := make([]byte, 64)
			for b.Loop() {
				u.Send(buf, 0, NoDeadline)
				v.Recv(buf, 0, NoDeadline)
			}
		})
	}
}
