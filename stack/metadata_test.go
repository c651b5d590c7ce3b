package stack

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// metadataLink remembers the metadata of IPv4 frames, and which came by Send.
type metadataLink struct {
	*pipe.Link
	metadata []output.Metadata
	plain    int
}

func (l *metadataLink) Send(frame []byte) error {
	if frame[12] == 8 && frame[13] == 0 {
		l.metadata = append(l.metadata, output.Metadata{})
		l.plain++
	}
	return l.Link.Send(frame)
}

func (l *metadataLink) SendBatch(frames []link.TxFrame) (int, error) {
	for i := range frames {
		if f := &frames[i]; f.Data[12] == 8 && f.Data[13] == 0 {
			l.metadata = append(l.metadata, output.Metadata{Priority: f.Priority, Mark: f.Mark})
		}
	}
	return l.Link.SendBatch(frames)
}

func (l *metadataLink) take() []output.Metadata {
	t := l.metadata
	l.metadata = nil
	return t
}

// metadataStack is a stack with 10.9.0.1/24 on a metadataLink, and 10.9.0.2 its neighbour.
func metadataStack(t *testing.T, caps link.Caps) (*Stack, *metadataLink, *Interface) {
	t.Helper()
	end, peer := pipe.New(pipe.Options{Caps: caps})
	t.Cleanup(func() { peer.Close() })
	l := &metadataLink{Link: end}
	s := newStack(t, Config{})
	i, err := s.AddLink(l, InterfaceConfig{})
	check(t, err)
	check(t, i.AddAddress(netip.MustParsePrefix("10.9.0.1/24")))
	check(t, i.SetNeighbour(farAddr, farMAC, arp.Permanent))
	return s, l, i
}

func TestMetadata(t *testing.T) {
	far := netip.AddrPortFrom(farAddr, 7)
	s, l, ifc := metadataStack(t, link.CapChecksum|link.CapGSO)
	connected := func(k Socket) Socket { check(t, k.Connect(far)); return k }
	udp := func() Socket { return udpSocket(t, s, "") }
	messages := func(sizes []int, opts ...*SendOptions) []OutMessage {
		m := make([]OutMessage, len(sizes))
		for i, n := range sizes {
			m[i] = OutMessage{Buffers: [][]byte{payload(n)}, To: far}
			if i < len(opts) {
				m[i].Options = opts[i]
			}
		}
		return m
	}
	send := func(k Socket, sizes []int, opts ...*SendOptions) {
		t.Helper()
		m := messages(sizes, opts...)
		if n, err := k.SendMessages(m, 0, NoDeadline); n != len(m) || err != nil {
			t.Fatalf("SendMessages: %d, %v", n, err)
		}
	}
	both := output.Metadata{Priority: 5, Mark: 9}
	set := func(k Socket) Socket { k.Base().Sending().SetPriority(5); k.Base().Sending().SetMark(9); return k }
	for _, tt := range []struct {
		name string
		run  func()
		want []output.Metadata
	}{
		{"neither", func() { send(udp(), []int{10, 10, 2000}) }, []output.Metadata{{}, {}, {}, {}}},
		{"connected, three times", func() {
			k := set(connected(udp()))
			for range 3 {
				check(t, k.Send(payload(20), 0, NoDeadline))
			}
		}, []output.Metadata{both, both, both}},
		{"set between two sends", func() {
			k := connected(udp())
			check(t, k.Send(nil, 0, NoDeadline))
			check(t, k.Send(nil, 0, NoDeadline))
			set(k)
			check(t, k.Send(nil, 0, NoDeadline))
			k.Base().Sending().SetMark(0)
			check(t, k.Send(nil, 0, NoDeadline))
			k.Base().Sending().SetPriority(0)
			check(t, k.Send(nil, 0, NoDeadline))
			check(t, k.Send(nil, 0, NoDeadline))
		}, []output.Metadata{{}, {}, both, {Priority: 5, Mark: 0}, {}, {}}},
		{"to an address", func() { send(set(udp()), []int{1}); send(set(udp()), []int{1}) }, []output.Metadata{both, both}},
		{"of the type of service", func() {
			k := connected(udp())
			k.(*UDPSocket).SetTOS(0xb8)
			check(t, k.Send(nil, 0, NoDeadline))
			k.(*UDPSocket).SetTOS(0)
			check(t, k.Send(nil, 0, NoDeadline))
		}, []output.Metadata{{Priority: 4, Mark: 0}, {}}},
		{"fragments", func() { send(set(udp()), []int{4000}) }, []output.Metadata{both, both, both}},
		{"a GSO packet", func() { k := set(udp()); send(k, []int{1}); send(k, []int{100, 100, 100, 100}) }, []output.Metadata{both, both}},
		{"UDP_SEGMENT", func() { k := set(udp()); k.(*UDPSocket).SetSegment(10); send(k, []int{25}) }, []output.Metadata{both}},
		{"one of several", func() {
			send(udp(), []int{30, 20, 10, 5}, nil, &SendOptions{Mark: 7, HasMark: true}, &SendOptions{Priority: 3, HasPriority: true})
		}, []output.Metadata{{}, {Priority: 0, Mark: 7}, {Priority: 3, Mark: 0}, {}}},
		{"taken back for one", func() {
			send(set(udp()), []int{30, 20}, &SendOptions{HasMark: true, HasPriority: true})
		}, []output.Metadata{{}, both}},
		{"corked", func() {
			k := set(connected(udp()))
			check(t, k.Send(payload(5), unix.MSG_MORE, NoDeadline))
			check(t, k.Send(payload(5), 0, NoDeadline))
		}, []output.Metadata{both}},
		{"broadcast", func() {
			k := set(udp())
			k.Base().SetBroadcast(true)
			check(t, k.SendTo(payload(5), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.255:7")))
		}, []output.Metadata{both}},
		{"ping", func() {
			k, err := s.NewPingSocket()
			check(t, err)
			defer k.Close()
			echo := make([]byte, icmp.HeaderLen)
			echo[0] = icmp.Echo
			check(t, connected(set(k)).Send(echo, 0, NoDeadline))
		}, []output.Metadata{both}},
		{"raw", func() { sendTo(t, set(rawSocketOf(t, s, testProtocol)), payload(9), farAddr) }, []output.Metadata{both}},
		{"raw, with a header", func() {
			b := make([]byte, 30)
			f := ipv4.Fields{TTL: 9, Protocol: testProtocol, Src: ipv4.Addr{10, 9, 0, 1}, Dst: ipv4.Addr{10, 9, 0, 2}}
			f.Put(b, 10)
			sendTo(t, set(rawSocketOf(t, s, protocolRaw)), b, farAddr)
		}, []output.Metadata{both}},
		{"packet", func() {
			k := set(packetSocketOf(t, s, false, 0))
			check(t, k.(*PacketSocket).SendLink(udpFrame(7, payload(20)), 0, NoDeadline, &LinkAddr{Interface: ifc.Index(), EtherType: unix.ETH_P_IP}))
		}, []output.Metadata{both}},
	} {
		l.take()
		tt.run()
		if got := l.take(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: metadata %v, expected %v", tt.name, got, tt.want)
		}
	}
	before := l.plain
	check(t, connected(udp()).Send(nil, 0, NoDeadline))
	if l.plain != before+1 {
		t.Error("a datagram without metadata does not go by the link's Send")
	}
}

// TestTagsWait sends to a neighbour that is not known yet.
func TestTagsWait(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		s := newStack(t, Config{})
		end, peer := pipe.New(pipe.Options{A: pipe.End{MAC: nearMAC}})
		l := &metadataLink{Link: end}
		i, err := s.AddLink(l, InterfaceConfig{})
		check(t, err)
		check(t, i.AddAddress(netip.MustParsePrefix("10.9.0.1/24")))
		k := udpSocket(t, s, "")
		for _, v := range []output.Metadata{{Priority: 1, Mark: 2}, {}, {Priority: 3, Mark: 0}} {
			k.Sending().SetPriority(v.Priority)
			k.Sending().SetMark(v.Mark)
			check(t, k.SendTo(payload(3), 0, NoDeadline, netip.AddrPortFrom(farAddr, 7)))
		}
		if got := l.take(); len(got) != 0 {
			t.Fatalf("%d datagrams left without a neighbour", len(got))
		}
		check(t, peer.Send(arpReply(farMAC)))
		w.settle()
		if got, want := l.take(), []output.Metadata{{Priority: 1, Mark: 2}, {}, {Priority: 3, Mark: 0}}; !slices.Equal(got, want) {
			t.Errorf("metadata %v, expected %v", got, want)
		}
		s.Close()
		peer.Close()
	})
}

func TestTOSPriority(t *testing.T) {
	for tos := range 256 {
		want := [16]uint32{0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4}[tos>>1&15] // ip_tos2prio
		if got := TOSPriority(uint8(tos)); got != want {
			t.Errorf("TOS %#x has priority %d, expected %d", tos, got, want)
		}
	}
}

// TestMetadataAllocs checks that metadata costs a connected socket no memory.
func TestMetadataAllocs(t *testing.T) {
	s, _, i := replayStack(t)
	check(t, i.SetNeighbour(farAddr, farMAC, arp.Permanent))
	k := udpSocket(t, s, "10.9.0.1:9")
	check(t, k.Connect(netip.AddrPortFrom(farAddr, 7)))
	k.SetTOS(0xb8)
	k.Sending().SetMark(3)
	p := payload(64)
	check(t, k.Send(p, 0, NoDeadline))
	if n := testing.AllocsPerRun(100, func() { k.Send(p, 0, NoDeadline) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTagsReceived sends to ourselves, where what a datagram was sent with is told
// to who wants to know.
func TestTagsReceived(t *testing.T) {
	s := newStack(t, Config{})
	rx, quiet := udpSocket(t, s, "127.0.0.1:7"), udpSocket(t, s, "127.0.0.1:8")
	packets := packetSocketOf(t, s, false, unix.ETH_P_IP)
	tx := udpSocket(t, s, "127.0.0.1:9")
	rx.Receiving().SetKeepMetadata(true)
	packets.Receiving().SetKeepMetadata(true)
	want := output.Metadata{Priority: 5, Mark: 7}
	for _, tt := range []output.Metadata{{}, want, {Priority: 0, Mark: 1}, {}} {
		tx.Sending().SetPriority(tt.Priority)
		tx.Sending().SetMark(tt.Mark)
		check(t, tx.SendTo([]byte("x"), 0, NoDeadline, rx.LocalAddr()))
		check(t, tx.SendTo([]byte("x"), 0, NoDeadline, quiet.LocalAddr()))
		if _, in := recv(t, quiet); in.Extra != nil {
			t.Errorf("%v: told %+v to who did not ask", tt, in.Extra)
		}
		for name, k := range map[string]Socket{"UDP": rx, "packet": packets} {
			_, in := recv(t, k)
			for k == packets && in.Type == link.Outgoing {
				_, in = recv(t, k)
			}
			if got := in.NeedExtra(); got.Priority != tt.Priority || got.Mark != tt.Mark {
				t.Errorf("%s: sent with %v, received with %+v", name, tt, got)
			}
			if k == packets {
				recv(t, k) // the other datagram's
			}
		}
	}
}
