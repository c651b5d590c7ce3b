package stack

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// Frames are stamped when they are taken in, those of the wire and our own, while a socket
// wants to know, and not else.
func TestTakenTimes(t *testing.T) {
	w := newWire(t, Config{})
	k := w.socket("0.0.0.0:9", "")
	group := ipv4.Addr{239, 1, 1, 1}
	check(t, k.Multicast().JoinGroup(GroupRequest{Group: group, Interface: w.ifc.Index()}))
	bring := map[string]func(){
		"by the wire": func() { check(t, w.far.Send(udpFrom(7, 9, "x"))) },
		"our own": func() {
			tx := w.socket("", "")
			check(t, tx.Multicast().SetInterface(GroupRequest{Interface: w.ifc.Index()}))
			check(t, tx.SendTo([]byte("x"), 0, NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(group), 9)))
		},
	}
	l := &w.s.lanes.first
	for name, by := range bring {
		l.begin()
		l.taken = 0
		l.end()
		if by(); true {
			recv(t, k)
		}
		l.begin()
		if l.taken != 0 {
			t.Errorf("%s: stamped, and nobody wants to know", name)
		}
		l.end()
		k.Times().SetReceiveTimes(true)
		l.begin()
		l.taken = 0
		l.end()
		by()
		if _, info := recv(t, k); info.Taken == 0 || info.Delivered < info.Taken {
			t.Errorf("%s: taken at %d, delivered at %d", name, info.Taken, info.Delivered)
		}
		k.Times().SetReceiveTimes(false)
	}
}

// A datagram to a group whose header is the caller's stays inside with a TTL of 0, is heard
// by us if we are in the group, and may be as long as the path's MTU.
func TestHeaderIncludedToGroup(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		group := ipv4.Addr{239, 1, 1, 1}
		k, own := rawSocketOf(t, w.s, unix.IPPROTO_RAW), rawSocketOf(t, w.s, testProtocol)
		check(t, k.Multicast().SetInterface(GroupRequest{Interface: w.ifc.Index()}))
		for _, member := range []bool{false, true} {
			if member {
				check(t, own.Multicast().JoinGroup(GroupRequest{Group: group, Interface: w.ifc.Index()}))
				w.settle()
			}
			for ttl := range byte(3) {
				w.sent()
				b := ipv4Datagram(testProtocol, near4, group, "x")
				b[8] = ttl
				check(t, k.SendTo(b, 0, NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(group), 0)))
				left := 0
				for _, f := range w.sentIP() {
					if f.data[link.HeaderLen+9] == testProtocol {
						left++
					}
				}
				if left == 1 != (ttl > 0) {
					t.Errorf("TTL %d: %d frames left", ttl, left)
				}
				if _, err := try(own); (err == nil) != member {
					t.Errorf("TTL %d, member %v: heard %v", ttl, member, err)
				}
			}
		}
		whole := append(ipv4Datagram(testProtocol, near4, far4, ""), make([]byte, 1480)...)
		whole[6] |= 0x40 // not to be cut
		check(t, k.SendTo(whole, 0, NoDeadline, netip.AddrPortFrom(farAddr, 0)))
		w.one()
	})
}

// Each datagram to a group that we are in is heard by us and leaves, the first and those that
// take the socket's path.
func TestEachIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		group := ipv4.Addr{239, 1, 1, 1}
		k := w.socket("0.0.0.0:9", "")
		check(t, k.Multicast().JoinGroup(GroupRequest{Group: group, Interface: w.ifc.Index()}))
		tx := w.socket("", "")
		tx.Sending().SetMark(5)
		check(t, tx.Multicast().SetInterface(GroupRequest{Interface: w.ifc.Index()}))
		check(t, tx.Connect(netip.AddrPortFrom(netip.AddrFrom4(group), 9)))
		w.settle()
		for i := range 4 {
			w.sent()
			w.send(tx, []byte{byte(i)})
			w.got(k, string([]byte{byte(i)}))
			w.one()
		}
	})
}

// MSG_DONTROUTE as EVL has it refuses a path over a gateway.
func TestDirect(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		w.defaultRoute()
		k := w.socket("", "")
		for to, want := range map[string]error{"10.9.0.2:7": nil, "192.0.2.1:7": unix.EMULTIHOP} {
			m := OutMessage{Buffers: [][]byte{nil}, To: netip.MustParseAddrPort(to), Options: &SendOptions{Direct: true}}
			if _, err := k.SendMessages([]OutMessage{m}, 0, NoDeadline); err != want && (err != nil || want != nil) {
				t.Errorf("to %s: %v", to, err)
			}
		}
		if _, err := k.PathMTU(); err != unix.ENOTCONN {
			t.Errorf("IP_MTU without a peer: %v", err)
		}
	})
}

// A payload that is cut counts as one message, whatever the last piece is, and waits for a
// neighbour in pieces.
func TestSegmentsOfMessages(t *testing.T) {
	for _, caps := range []link.Caps{0, link.CapGSO | link.CapChecksum} {
		p := newPair(t, Config{}, pipe.Options{Caps: caps})
		rx := udpSocket(t, p.far, "10.9.0.2:7")
		k := udpSocket(t, p.near, "")
		k.SetSegment(20)
		for _, n := range []int{40, 50, 20, 0} {
			m := OutMessage{Buffers: [][]byte{make([]byte, n)}, To: netip.AddrPortFrom(farAddr, 7)}
			if sent, err := k.SendMessages([]OutMessage{m, m}, 0, NoDeadline); sent != 2 || err != nil {
				t.Errorf("%d bytes: %d messages, %v", n, sent, err)
			}
			for range 2 {
				for left := n; ; left -= 20 {
					if b, _ := recv(t, rx); len(b) != min(left, 20) {
						t.Errorf("%d bytes: a piece of %d, %d are left", n, len(b), left)
					}
					if left <= 20 {
						break
					}
				}
			}
		}
	}
}

// Corks: what is held stays until the cork goes; what has no destination, or is too long, is
// refused at once.
func TestCorkRefusals(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	rx := udpSocket(t, p.far, "10.9.0.2:7")
	k := udpSocket(t, p.near, "")
	if err := k.Send([]byte("x"), unix.MSG_MORE, NoDeadline); err != unix.EDESTADDRREQ {
		t.Errorf("to nobody: %v", err)
	}
	check(t, k.Connect(netip.AddrPortFrom(farAddr, 7)))
	check(t, k.Send([]byte("x"), unix.MSG_MORE, NoDeadline))
	check(t, k.SetCork(true))
	nothing(t, rx)
	check(t, k.SetCork(false))
	recv(t, rx)
	check(t, k.Send(make([]byte, maxDatagram-udp.HeaderLen), unix.MSG_MORE, NoDeadline))
	if err := k.Send([]byte("x"), unix.MSG_MORE, NoDeadline); err != unix.EMSGSIZE {
		t.Errorf("more and more: %v", err)
	}
}

// Whatever is wrong with a datagram, it does no harm: an ICMP message of no bytes, a source
// that is a group, joined packets for nobody, a broadcast for a port that nobody has.
func TestNoHarm(t *testing.T) {
	w := newWire(t, Config{})
	k := w.socket("0.0.0.0:9", "")
	take := func(f *link.Frame) { w.s.takeIn(w.ifc, f) }
	empty := ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP, Options: []byte{1, 1, 1, 1}}, nil)
	copy(empty[link.HeaderLen+20:], []byte{7, 99, 4, 0})
	header := empty[link.HeaderLen : link.HeaderLen+24]
	header[10], header[11] = 0, 0
	sum := ^checksum.Sum(header, 0)
	header[10], header[11] = byte(sum>>8), byte(sum)
	take(&link.Frame{Data: empty})
	for _, src := range []ipv4.Addr{{224, 0, 0, 1}, {224, 0, 0, 9}, {223, 255, 255, 254}, {239, 1, 1, 1}} {
		take(&link.Frame{Data: ip(ipv4.Fields{Src: src}, datagram(src, near4, 7, 9, []byte("x")))})
		if _, err := try(k); (err == nil) != (src[0] == 223) {
			t.Errorf("from %v: %v", src, err)
		}
	}
	group := ipv4.Addr{239, 1, 1, 1}
	check(t, k.Multicast().JoinGroup(GroupRequest{Group: group, Interface: w.ifc.Index()}))
	w.mark()
	take(&link.Frame{Data: ip(ipv4.Fields{Dst: group}, datagram(far4, group, 7, 10, make([]byte, 30))), Meta: link.Meta{GSO: link.GSOUDP, GSOSize: 10}})
	w.grew("UdpIgnoredMulti", 1)
	l := &w.s.lanes.first
	before, _ := l.flows.Len()
	take(&link.Frame{Data: ip(ipv4.Fields{Dst: group}, datagram(far4, group, 7, 11, nil))})
	if after, _ := l.flows.Len(); after != before {
		t.Error("a flow is remembered that is nobody's")
	}
}

// A query of IGMP that has the router alert option is none without.
func TestRouterAlertIsSeen(t *testing.T) {
	w := newWire(t, Config{})
	query := []byte{0x11, 100, 0, 0, 0, 0, 0, 0}
	sum := ^checksum.Sum(query, 0)
	query[2], query[3] = byte(sum>>8), byte(sum)
	for i, options := range []string{"\x94\x04\x00\x00", "", "\x01\x01\x01\x00"} {
		w.s.takeIn(w.ifc, &link.Frame{Data: ip(ipv4.Fields{Dst: ipv4.Addr{224, 0, 0, 1}, TTL: 1, Protocol: ipv4.ProtocolIGMP, Options: []byte(options)}, query)})
		if n := w.ifc.GroupStats().NoRouterAlert; n != uint64(i) {
			t.Errorf("options %x: %d queries without", options, n)
		}
	}
}

// What is sent over loopback has been received when the call returns, as much as it is.
func TestLoopbackIsReceived(t *testing.T) {
	s := newStack(t, Config{})
	k := udpSocket(t, s, "127.0.0.1:9")
	k.SetReceiveBuffer(1 << 24)
	msgs := make([]OutMessage, 4*batchSize)
	for i := range msgs {
		msgs[i] = OutMessage{Buffers: [][]byte{{byte(i)}}, To: netip.MustParseAddrPort("127.0.0.1:9")}
	}
	tx := udpSocket(t, s, "")
	if n, err := tx.SendMessages(msgs, 0, NoDeadline); n != len(msgs) || err != nil {
		t.Fatal(n, err)
	}
	if n := int(k.queue.N.Load()); n != len(msgs) {
		t.Errorf("%d of %d are there", n, len(msgs))
	}
}

// A packet socket whose queue is full counts what it has not had of what leaves, too.
func TestOutgoingQueueFull(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := packetSocketOf(t, w.s, false, unix.ETH_P_ALL)
		k.SetReceiveBuffer(1)
		tx := w.socket("", "10.9.0.2:7")
		n := 0
		for ; w.s.Stats().Get("OutbandPacketRcvbufErrors") == 0 && n < 1000; n++ {
			w.send(tx, nil)
		}
		if n == 1000 || int(k.queue.N.Load()) != n-1 {
			t.Errorf("%d sent, %d queued", n, k.queue.N.Load())
		}
	})
}

// An error that waits is told by a look at an offset, too.
func TestPeekTellsErrors(t *testing.T) {
	w := newWire(t, Config{})
	k := w.socket("0.0.0.0:9", "")
	k.Receiving().SetPeekOffset(0)
	w.s.takeIn(w.ifc, &link.Frame{Data: udpFrom(7, 9, "x")})
	k.errors.set(unix.ECONNREFUSED)
	if _, _, err := k.Recv(make([]byte, 9), unix.MSG_PEEK|unix.MSG_DONTWAIT, NoDeadline); err != unix.ECONNREFUSED {
		t.Errorf("%v", err)
	}
	if n, _, err := k.Recv(make([]byte, 9), unix.MSG_PEEK|unix.MSG_DONTWAIT, NoDeadline); n != 1 || err != nil {
		t.Errorf("after the error: %d, %v", n, err)
	}
}

// A time that the stack's clock cannot tell is as late as can be, and not long ago.
func TestTimeBeyondClock(t *testing.T) {
	c := new(handClock)
	c.now.Store(1 << 62) // ahead of CLOCK_MONOTONIC
	s := newStack(t, Config{Clock: c})
	if got := s.timeOf(unix.CLOCK_MONOTONIC, math.MaxInt64); got != never-1 {
		t.Errorf("the last time of CLOCK_MONOTONIC is %d", got)
	}
	if got, want := s.timeOf(unix.CLOCK_MONOTONIC, s.Monotonic()), c.Now(); got != want {
		t.Errorf("now is %d, want %d", got, want)
	}
}

// A raw socket is told of errors that mean something, of any kind.
func TestRawErrorsByKind(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := rawSocketOf(t, w.s, testProtocol)
		k.Errors().SetRecvErr(true)
		sendTo(t, k, []byte("sent before"), farAddr)
		quoted := w.sentIP()[0].data[link.HeaderLen:]
		for _, typ := range []uint8{icmp.DestinationUnreachable, icmp.SourceQuench, icmp.Redirect, icmp.TimeExceeded, icmp.ParameterProblem} {
			for code := range uint8(18) {
				w.feed(icmpError(typ, code, 0, quoted))
				_, _, means := icmp.Errno(typ, code)
				if told := k.errors.Queued() > 0; told != (means && icmp.Reported(typ, code)) {
					t.Errorf("type %d, code %d: told %v", typ, code, told)
				}
				k.Errors().SetRecvErr(false)
				k.Errors().SetRecvErr(true)
				k.errors.Take()
			}
		}
	})
}

// A ping socket sends echo requests only.
func TestPingSendsEchoes(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	check(t, p.nearIfc.SetNeighbour(farAddr, p.farEnd.Info().HardwareAddr, arp.Permanent))
	k, err := p.near.NewPingSocket()
	check(t, err)
	for _, tt := range []struct {
		typ, code byte
		want      error
	}{{icmp.Echo, 0, nil}, {icmp.Echo, 1, unix.EINVAL}, {icmp.EchoReply, 0, unix.EINVAL}} {
		before := p.nearEnd.Stats().TxFrames
		err := k.SendTo([]byte{tt.typ, tt.code, 0, 0, 0, 0, 0, 0}, 0, NoDeadline, netip.AddrPortFrom(farAddr, 0))
		if left := p.nearEnd.Stats().TxFrames - before; fmt.Sprint(err) != fmt.Sprint(tt.want) || left == 1 != (tt.want == nil) {
			t.Errorf("type %d, code %d: %v, %d frames left", tt.typ, tt.code, err, left)
		}
	}
}
