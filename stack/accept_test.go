package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// takeIn processes a frame with its metadata.
func (s *Stack) takeIn(i *Interface, f *link.Frame) {
	s.lockLanes()
	f.WireLen = len(f.Data)
	s.lanes.first.input(i, f)
	s.unlockLanes()
}

// What a joined packet of some bytes in segments brings: whole, with the size of its
// segments, to a socket that takes such; cut to another; and as a datagram if it is one.
func TestJoinedPackets(t *testing.T) {
	group := ipv4.Addr{239, 1, 1, 1}
	for _, dst := range []ipv4.Addr{near4, group} {
		for _, tt := range []struct {
			n, size int
			gro     bool
			want    string // lengths, and sizes of segments
		}{
			{30, 10, false, "[10/0 10/0 10/0]"},
			{25, 10, false, "[10/0 10/0 5/0]"},
			{10, 10, false, "[10/0]"},
			{5, 10, false, "[5/0]"},
			{30, 10, true, "[30/10]"},
			{11, 10, true, "[11/10]"},
			{10, 10, true, "[10/0]"},
			{5, 10, true, "[5/0]"},
			{0, 10, true, "[0/0]"},
			{30, 0, true, "[]"}, // no segments
		} {
			p := newPair(t, Config{}, pipe.Options{})
			k := udpSocket(t, p.near, "0.0.0.0:9")
			k.SetGRO(tt.gro)
			check(t, k.Multicast().JoinGroup(GroupRequest{Group: group, Interface: p.nearIfc.Index()}))
			frame := ip(ipv4.Fields{Dst: dst}, datagram(far4, dst, 7, 9, make([]byte, tt.n)))
			p.near.takeIn(p.nearIfc, &link.Frame{Data: frame, Meta: link.Meta{GSO: link.GSOUDP, GSOSize: uint16(tt.size)}})
			got := []string{}
			b := make([]byte, 100)
			for {
				n, info, err := k.Recv(b, unix.MSG_DONTWAIT, NoDeadline)
				if err != nil {
					break
				}
				got = append(got, fmt.Sprintf("%d/%d", n, info.SegmentSize))
			}
			if fmt.Sprint(got) != tt.want {
				t.Errorf("%d bytes in segments of %d to %v, joined %v: %v, want %s", tt.n, tt.size, dst, tt.gro, got, tt.want)
			}
		}
	}
}

// A filter sees a datagram with its header, of which no length below the header's own cuts
// it; what it refuses is counted, as UDP's only if it is UDP's.
func TestSocketFilter(t *testing.T) {
	for _, tt := range []struct {
		name    string
		program []bpf.Instruction
		want    string
		dropped bool
	}{
		{"refuses", []bpf.Instruction{bpf.RetConstant{Val: 0}}, "", true},
		{"keeps a byte", []bpf.Instruction{bpf.RetConstant{Val: 1}}, "", false},
		{"keeps the header", []bpf.Instruction{bpf.RetConstant{Val: 8}}, "", false},
		{"keeps four bytes of payload", []bpf.Instruction{bpf.RetConstant{Val: 12}}, "payl", false},
		{"keeps all", []bpf.Instruction{bpf.RetConstant{Val: 1 << 20}}, "payload", false},
		{"by the port", []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 2}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 7, SkipFalse: 1},
			bpf.RetConstant{Val: 100}, bpf.RetConstant{Val: 0}}, "payload", false},
		{"by the checksum", []bpf.Instruction{bpf.LoadAbsolute{Off: 6, Size: 2}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipFalse: 1},
			bpf.RetConstant{Val: 100}, bpf.RetConstant{Val: 0}}, "payload", false},
		{"by the payload", []bpf.Instruction{bpf.LoadAbsolute{Off: 8, Size: 1}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 'p', SkipFalse: 1},
			bpf.RetConstant{Val: 100}, bpf.RetConstant{Val: 0}}, "payload", false},
		{"by the interface", []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 2, SkipFalse: 1}, bpf.RetConstant{Val: 100}, bpf.RetConstant{Val: 0}}, "payload", false},
		{"by the kind of hardware", []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLinkLayerType}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ARPHRD_ETHER, SkipFalse: 1},
			bpf.RetConstant{Val: 100}, bpf.RetConstant{Val: 0}}, "payload", false},
		{"by a tag", []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipFalse: 1},
			bpf.RetConstant{Val: 100}, bpf.RetConstant{Val: 0}}, "", true},
	} {
		p := newPair(t, Config{}, pipe.Options{})
		k := udpSocket(t, p.near, "0.0.0.0:9")
		check(t, k.Receiving().SetFilter(assemble(t, tt.program...)))
		raw := rawSocketOf(t, p.near, testProtocol)
		check(t, raw.Receiving().SetFilter(assemble(t, bpf.RetConstant{Val: 0})))
		p.near.takeIn(p.nearIfc, &link.Frame{Data: udpFrom(7, 9, "payload")})
		b := make([]byte, 100)
		n, info, err := k.Recv(b, unix.MSG_DONTWAIT, NoDeadline)
		if string(b[:n]) != tt.want || (err != nil) != tt.dropped || err == nil && info.Len != n {
			t.Errorf("%s: %q, %v, want %q", tt.name, b[:n], err, tt.want)
		}
		dropped := uint64(0)
		if tt.dropped {
			dropped = 1
		}
		p.near.takeIn(p.nearIfc, &link.Frame{Data: ip(ipv4.Fields{Protocol: testProtocol}, []byte("raw"))})
		nothing(t, raw)
		s := p.near.Stats()
		if s.Get("UdpInErrors") != dropped || s.Get("OutbandDropFilter") != dropped+1 {
			t.Errorf("%s: %d errors of UDP, %d dropped by filters", tt.name, s.Get("UdpInErrors"), s.Get("OutbandDropFilter"))
		}
	}
}

// A filter of a UDP socket sees the tag that the device has taken out of the frame.
func TestSocketFilterSeesFrame(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.far, "0.0.0.0:9")
	check(t, k.Receiving().SetFilter(assemble(t,
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipFalse: 1},
		bpf.RetConstant{Val: 100}, bpf.RetConstant{Val: 0})))
	driveAll(p.far)
	p.farEnd.Inject(link.Frame{Data: eth(testEtherType, nil), Meta: link.Meta{WireLen: link.HeaderLen}})
	for i, tagged := range []bool{false, true, false} {
		frame := ethTo(p.farEnd.Info().HardwareAddr, nearMAC, unix.ETH_P_IP,
			ip(ipv4.Fields{Src: near4, Dst: far4}, datagram(near4, far4, 7, 9, []byte{byte(i)}))[link.HeaderLen:])
		p.farEnd.Inject(link.Frame{Data: frame, Meta: link.Meta{WireLen: len(frame), VLAN: tagged, VLANTCI: 0x2000, VLANTPID: unix.ETH_P_8021Q}})
	}
	if b, _ := recv(t, k); b[0] != 1 {
		t.Errorf("frame %d has a tag", b[0])
	}
	nothing(t, k)
}

// IP options come with a datagram that has some, to sockets that want them.
func TestReceivedOptions(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.near, "0.0.0.0:9")
	for _, wants := range []bool{true, false} {
		k.SetKeepOptions(wants)
		for _, options := range []string{"", "\x01\x01\x01\x00", "\x94\x04\x00\x00"} {
			p.near.takeIn(p.nearIfc, &link.Frame{Data: ip(ipv4.Fields{Options: []byte(options)}, datagram(far4, near4, 7, 9, nil))})
			_, info := recv(t, k)
			var got string
			if info.Extra != nil {
				got = string(info.Extra.Options)
			}
			if want := options; !wants && got != "" || wants && got != want || want == "" && info.Extra != nil {
				t.Errorf("options %q, wanted %v: %q", options, wants, got)
			}
		}
	}
}

// An echo or a timestamp that has come with a record of its route is answered with one, in
// which we are.
func TestAnswersWithOptions(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		request := func(typ uint8) []byte {
			return icmp.AppendEcho(nil, typ, 1, 1, make([]byte, icmp.TimestampLen-icmp.HeaderLen))
		}
		for _, typ := range []uint8{icmp.Echo, icmp.Timestamp} {
			for _, tt := range []struct{ options, want string }{
				{"", ""},
				{"\x07\x0b\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x07\x0b\x0c\x0a\x09\x00\x01\x0a\x09\x00\x01\x00"},
			} {
				w.feed(ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP, Options: []byte(tt.options)}, request(typ)))
				if h, _ := w.one(); string(h.Options()) != tt.want {
					t.Errorf("type %d with options %x: answered with %x, want %x", typ, tt.options, h.Options(), tt.want)
				}
			}
		}
	})
}

// A multicast of any length is no harm, and one for a port that nobody has is remembered by
// nothing.
func TestShortMulticasts(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.near, "0.0.0.0:9")
	group := ipv4.Addr{239, 1, 1, 1}
	check(t, k.Multicast().JoinGroup(GroupRequest{Group: group, Interface: p.nearIfc.Index()}))
	for _, proto := range []uint8{ipv4.ProtocolUDP, ipv4.ProtocolICMP, testProtocol} {
		for n := range 2 * udp.HeaderLen {
			p.near.takeIn(p.nearIfc, &link.Frame{Data: ip(ipv4.Fields{Dst: group, Protocol: proto}, make([]byte, n))})
		}
	}
	nothing(t, k)
	whole := datagram(far4, group, 7, 9, []byte("in two parts"))
	for _, f := range [][]byte{whole[:8], whole[8:]} {
		offset := 0
		if &f[0] != &whole[0] {
			offset = 8
		}
		p.near.takeIn(p.nearIfc, &link.Frame{Data: ip(ipv4.Fields{Dst: group, ID: 5, FragmentOffset: offset, MoreFragments: offset == 0}, f)})
	}
	if b, _ := recv(t, k); string(b) != "in two parts" {
		t.Errorf("%q", b)
	}
}

// A datagram for a socket that is being closed is discarded, and counted.
func TestDatagramForClosed(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.near, "0.0.0.0:9")
	k.state.Or(output.StateClosed) // which has not left the table yet
	p.near.takeIn(p.nearIfc, &link.Frame{Data: udpFrom(7, 9, "late")})
	if n := p.near.Stats().Get("IpInDiscards"); n != 1 || k.queue.N.Load() != 0 {
		t.Errorf("%d discarded, %d queued", n, k.queue.N.Load())
	}
	k.state.And(^uint32(output.StateClosed))
	packet := packetSocketOf(t, p.near, false, testEtherType)
	packet.state.Or(output.StateClosed)
	p.near.takeIn(p.nearIfc, &link.Frame{Data: eth(testEtherType, nil)})
	if n := packet.queue.N.Load(); n != 0 || packet.frames.Load() != 0 {
		t.Errorf("%d frames queued, %d counted", n, packet.frames.Load())
	}
	packet.state.And(^uint32(output.StateClosed))
}

// What is sent over loopback is for this host, whatever the address.
func TestOverLoopbackIsOurs(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	check(t, p.near.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("10.200.0.0/16"), Iface: 1, Scope: ipv4.ScopeLink}))
	k := udpSocket(t, p.near, "0.0.0.0:9")
	check(t, k.SendTo([]byte("to us"), 0, NoDeadline, netip.MustParseAddrPort("10.200.0.1:9")))
	if b, _ := recv(t, k); string(b) != "to us" {
		t.Errorf("%q", b)
	}
}

// Packet sockets of an EtherType have a frame by what eth_type_trans(9) calls it: a number
// below 1536 is a length, of 802.2, or of 802.3 as Novell used it.
func TestEtherTypes(t *testing.T) {
	for _, tt := range []struct {
		typ     uint16
		payload string
		want    uint16
	}{
		{0x0600, "", 0x0600},
		{0x05ff, "", unix.ETH_P_802_2},
		{unix.ETH_P_IP, "", unix.ETH_P_IP},
		{4, "\xaa\xaa", unix.ETH_P_802_2},
		{4, "\xff\xff", unix.ETH_P_802_3},
		{4, "\xff\xfe", unix.ETH_P_802_2},
		{4, "\xfe\xff", unix.ETH_P_802_2},
		{1, "\xff", unix.ETH_P_802_2},
		{0, "", unix.ETH_P_802_2},
	} {
		if got := etherType(eth(tt.typ, []byte(tt.payload))); got != tt.want {
			t.Errorf("%#x with %x: %#x, want %#x", tt.typ, tt.payload, got, tt.want)
		}
	}
}

// What a link has seen leave, of others, only those packet sockets have that want all.
func TestFramesOfOthersThatLeft(t *testing.T) {
	w := newWire(t, Config{})
	all, quiet, one := packetSocketOf(t, w.s, false, unix.ETH_P_ALL), packetSocketOf(t, w.s, false, unix.ETH_P_ALL), packetSocketOf(t, w.s, false, testEtherType)
	quiet.SetIgnoreOutgoing(true)
	frame := testFrame(farMAC, nearMAC, testEtherType, "left")
	w.s.takeIn(w.ifc, &link.Frame{Data: frame, Meta: link.Meta{Type: link.Outgoing}})
	if b, info := recv(t, all); !slices.Equal(b, frame) || info.Type != link.Outgoing {
		t.Errorf("%x, %v", b, info.Type)
	}
	nothing(t, quiet)
	nothing(t, one)
	w.s.takeIn(w.ifc, &link.Frame{Data: frame, Meta: link.Meta{Type: link.Host}})
	for _, k := range []Socket{all, quiet, one} {
		recv(t, k)
	}
}

// A packet socket's queue that is full drops and counts frames.
func TestPacketQueueFull(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := packetSocketOf(t, p.near, false, testEtherType)
	k.SetReceiveBuffer(1) // the least there is
	frame := testFrame(farMAC, nearMAC, testEtherType, "")
	n := 0
	for p.near.Stats().Get("OutbandPacketRcvbufErrors") == 0 && n < 1000 {
		p.near.takeIn(p.nearIfc, &link.Frame{Data: frame})
		n++
	}
	if got := int(k.queue.N.Load()); n == 1000 || got != n-1 {
		t.Errorf("%d frames, %d queued", n, got)
	}
}
