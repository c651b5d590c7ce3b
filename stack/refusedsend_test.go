package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// senderKinds are the sockets that send in ways of their own, and what they can send.
var senderKinds = []struct {
	name    string
	gso     bool // the link takes GSO packets
	open    func(t testing.TB, s *Stack) Socket
	message []byte
}{
	{"udp", false, func(t testing.TB, s *Stack) Socket { return udpSocket(t, s, "") }, []byte("datagram")},
	{"udp, in segments", false, segmentSocket, make([]byte, 50)},
	{"udp, in segments that stay whole", true, segmentSocket, make([]byte, 50)},
	{"udp, one segment", false, segmentSocket, make([]byte, 20)},
	{"udp, put together", false, func(t testing.TB, s *Stack) Socket {
		k := udpSocket(t, s, "")
		check(t, k.SetCork(true))
		return k
	}, []byte("datagram")},
	{"ping", false, func(t testing.TB, s *Stack) Socket {
		k, err := s.NewPingSocket()
		check(t, err)
		t.Cleanup(func() { k.Close() })
		return k
	}, []byte{icmp.Echo, 0, 0, 0, 0, 0, 0, 1}},
	{"raw", false, func(t testing.TB, s *Stack) Socket { return rawSocketOf(t, s, testProtocol) }, []byte("datagram")},
	{"raw, with a header", false, func(t testing.TB, s *Stack) Socket { return rawSocketOf(t, s, unix.IPPROTO_RAW) },
		ipv4Datagram(testProtocol, nearAddr.As4(), farAddr.As4(), "datagram")},
}

func segmentSocket(t testing.TB, s *Stack) Socket {
	k := udpSocket(t, s, "")
	k.SetSegment(20)
	return k
}

// sendReasons are what keeps a datagram from being sent, and what a send says then; other
// is what some kinds say instead.
var sendReasons = []struct {
	name    string
	to      string
	flags   int
	prepare func(p *pair, k Socket)
	want    error
	other   map[string]error
}{
	{name: "nothing", to: "10.9.0.2"},
	{name: "no route", to: "192.0.2.1", want: unix.ENETUNREACH},
	{name: "a prohibited route", to: "10.66.0.1", want: unix.EACCES},
	{name: "not of the family", to: "2001:db8::1", want: unix.EAFNOSUPPORT},
	{name: "out of band", to: "10.9.0.2", flags: unix.MSG_OOB, want: unix.EOPNOTSUPP},
	{name: "an error", to: "10.9.0.2", prepare: func(_ *pair, k Socket) { k.Base().errors.set(unix.ECONNREFUSED) },
		want: unix.ECONNREFUSED, other: map[string]error{"raw": nil}},
	{name: "shut down", to: "10.9.0.2", prepare: func(_ *pair, k Socket) { k.Shutdown(unix.SHUT_WR) }, want: unix.EPIPE,
		other: map[string]error{"raw": nil}},
	{name: "no space", to: "10.9.0.2", prepare: func(_ *pair, k Socket) {
		k.Base().out.Charged.Add(1 << 20)
		k.Base().SetSendBuffer(1 << 20)
	}, want: unix.EAGAIN, other: map[string]error{"udp, put together": nil}},
	{name: "a device that is down", to: "10.9.0.2", prepare: func(p *pair, _ Socket) { p.nearEnd.SetUp(false) }, want: unix.ENETUNREACH},
	{name: "closed", to: "10.9.0.2", prepare: func(_ *pair, k Socket) { k.Close() }, want: unix.EBADF},
}

// What keeps a datagram from being sent is said by a send of any kind of socket, and
// nothing leaves; of several messages those before it leave.
func TestRefusedSends(t *testing.T) {
	for _, kind := range senderKinds {
		for _, r := range sendReasons {
			t.Run(kind.name+"/"+r.name, func(t *testing.T) {
				var caps link.Caps
				if kind.gso {
					caps = link.CapGSO | link.CapChecksum
				}
				p := newPair(t, Config{}, pipe.Options{Caps: caps})
				check(t, p.nearIfc.SetNeighbour(farAddr, p.farEnd.Info().HardwareAddr, arp.Permanent))
				check(t, p.near.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("10.66.0.0/16"), Type: ipv4.Prohibit}))
				k := kind.open(t, p.near)
				want := r.want
				if other, ok := r.other[kind.name]; ok {
					want = other
				}
				if r.prepare != nil {
					r.prepare(p, k)
				}
				before := p.nearEnd.Stats().TxFrames
				to := netip.AddrPortFrom(netip.MustParseAddr(r.to), 7)
				if err := k.SendTo(kind.message, r.flags|unix.MSG_DONTWAIT, NoDeadline, to); err != want && (err != nil || want != nil) {
					t.Errorf("%v, want %v", err, want)
				}
				held := kind.name == "udp, put together"
				if left := p.nearEnd.Stats().TxFrames > before; left != (want == nil && !held) {
					t.Errorf("something has left: %v", left)
				}
				if want == nil || r.prepare != nil || r.flags != 0 || held {
					return
				}
				good := OutMessage{Buffers: [][]byte{kind.message}, To: netip.AddrPortFrom(farAddr, 7)}
				bad := good
				bad.To = to
				if n, err := k.SendMessages([]OutMessage{good, bad, good}, unix.MSG_DONTWAIT, NoDeadline); n != 1 || err != nil {
					t.Errorf("of three messages the second: %d sent, %v", n, err)
				}
				for _, options := range []*SendOptions{nil, {TTL: 9}} {
					bad.Options = options
					if n, err := k.SendMessages([]OutMessage{bad, good}, unix.MSG_DONTWAIT, NoDeadline); n != 0 || err != want {
						t.Errorf("of two messages the first, options %v: %d sent, %v", options, n, err)
					}
				}
			})
		}
	}
}

// Datagrams of a socket that cuts them, to the byte: how large a segment may be, how many,
// and how much in all.
func TestSegmentLimits(t *testing.T) {
	for _, gso := range []bool{false, true} {
		for _, tt := range []struct {
			name      string
			size, n   int
			noCheck   bool
			want      error
			datagrams uint64
		}{
			{"one segment", 100, 100, false, nil, 1},
			{"one byte more", 100, 101, false, nil, 2},
			{"two segments", 100, 200, false, nil, 2},
			{"nothing", 100, 0, false, nil, 1},
			{"the longest segment", 1472, 1473, false, nil, 2},
			{"a longer one", 1473, 1474, false, unix.EMSGSIZE, 0},
			{"as long as one datagram may be", 2000, 1472, false, nil, 1},
			{"not to be cut by IP", 2000, 1473, false, unix.EMSGSIZE, 0},
			{"as many as may be", 10, 1280, false, nil, 128},
			{"one more", 10, 1281, false, unix.EINVAL, 0},
			{"as much as may be", 1472, 65507, false, nil, 45},
			{"more", 1472, 65508, false, unix.EMSGSIZE, 0},
			{"without a checksum", 100, 101, true, unix.EINVAL, 0},
			{"one segment without a checksum", 100, 100, true, unix.EINVAL, 0},
		} {
			var caps link.Caps
			if gso {
				caps = link.CapGSO | link.CapChecksum
			}
			p := newPair(t, Config{}, pipe.Options{Caps: caps})
			check(t, p.nearIfc.SetNeighbour(farAddr, p.farEnd.Info().HardwareAddr, arp.Permanent))
			rx := udpSocket(t, p.far, "10.9.0.2:7")
			rx.SetReceiveBuffer(1 << 24)
			k := udpSocket(t, p.near, "")
			k.SetSegment(tt.size)
			k.Sending().SetNoCheck(tt.noCheck)
			b := payload(tt.n)
			err := k.SendTo(b, 0, NoDeadline, netip.AddrPortFrom(farAddr, 7))
			if err != tt.want && (err != nil || tt.want != nil) {
				t.Errorf("%s, %d bytes: %v, want %v", tt.name, tt.n, err, tt.want)
			}
			if n := p.near.Stats().Get("UdpOutDatagrams"); n != tt.datagrams {
				t.Errorf("%s, %d bytes: %d datagrams, want %d", tt.name, tt.n, n, tt.datagrams)
			}
			var got []byte
			for range tt.datagrams {
				part, _ := recv(t, rx)
				got = append(got, part...)
			}
			if err == nil && string(got) != string(b) {
				t.Errorf("%s: %d bytes came of %d", tt.name, len(got), tt.n)
			}
		}
	}
}

// What is put together is one datagram, no longer than one may be, whose errors are told at
// its first part.
func TestCork(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	rx := udpSocket(t, p.far, "10.9.0.2:7")
	rx.SetReceiveBuffer(1 << 24)
	open := func() *UDPSocket {
		k := udpSocket(t, p.near, "")
		check(t, k.Connect(netip.AddrPortFrom(farAddr, 7)))
		return k
	}
	const longest = maxDatagram - udp.HeaderLen
	k := open()
	check(t, k.SetCork(true))
	if !k.Cork() {
		t.Error("SetCork does not hold")
	}
	check(t, k.Send([]byte("one"), 0, NoDeadline))
	check(t, k.Send([]byte("two"), 0, NoDeadline))
	nothing(t, rx)
	check(t, k.SetCork(false))
	if b, _ := recv(t, rx); string(b) != "onetwo" {
		t.Errorf("put together %q", b)
	}
	check(t, k.SetCork(false)) // there is nothing
	check(t, k.SetCork(true))
	check(t, k.SetCork(false))
	nothing(t, rx)

	check(t, k.Send(payload(longest-1), unix.MSG_MORE, NoDeadline))
	check(t, k.Send([]byte("x"), 0, NoDeadline))
	if b, _ := recv(t, rx); len(b) != longest {
		t.Errorf("the longest has %d bytes", len(b))
	}
	check(t, k.Send(payload(longest), unix.MSG_MORE, NoDeadline))
	if err := k.Send([]byte("x"), 0, NoDeadline); err != unix.EMSGSIZE {
		t.Errorf("a byte more: %v", err)
	}
	check(t, k.Send([]byte("anew"), 0, NoDeadline)) // the whole datagram is lost
	if b, _ := recv(t, rx); string(b) != "anew" {
		t.Errorf("after one that was too long %q", b)
	}

	n, err := k.SendMessages([]OutMessage{{Buffers: [][]byte{[]byte("a")}}, {Buffers: [][]byte{[]byte("b")}}}, unix.MSG_MORE, NoDeadline)
	if n != 2 || err != nil {
		t.Errorf("two parts by one call: %d, %v", n, err)
	}
	check(t, k.Send([]byte("c"), 0, NoDeadline))
	if b, _ := recv(t, rx); string(b) != "abc" {
		t.Errorf("put together %q", b)
	}
	check(t, k.Close())
	if err := k.SetCork(true); err != unix.EBADF {
		t.Errorf("SetCork of a closed socket: %v", err)
	}
}

// A frame or datagram of a packet socket, or one whose header is the caller's, may be as
// long as the device's MTU.
func TestLongestFrames(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	whole, cooked := packetSocketOf(t, p.near, false, 0), packetSocketOf(t, p.near, true, 0)
	to := &LinkAddr{Interface: p.nearIfc.Index(), EtherType: testEtherType, Addr: p.farEnd.Info().HardwareAddr}
	tagged := testFrame(p.farEnd.Info().HardwareAddr, p.nearEnd.Info().HardwareAddr, unix.ETH_P_8021Q, "")
	for _, tt := range []struct {
		name  string
		k     *PacketSocket
		frame []byte
		want  error
	}{
		{"more than a tag", whole, append(tagged, make([]byte, 1505)...), unix.EMSGSIZE},
		{"cooked, four bytes beyond", cooked, make([]byte, 1504), unix.EMSGSIZE},
		{"cooked, five", cooked, make([]byte, 1505), unix.EMSGSIZE},
	} {
		before := p.nearEnd.Stats().TxFrames
		err := tt.k.SendLink(tt.frame, 0, NoDeadline, to)
		if err != tt.want && (err != nil || tt.want != nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if left := p.nearEnd.Stats().TxFrames - before; (left == 1) != (tt.want == nil) {
			t.Errorf("%s: %d frames left", tt.name, left)
		}
	}
	whole.errors.set(unix.ENETDOWN)
	if err := whole.SendLink(tagged, 0, NoDeadline, to); err != unix.ENETDOWN {
		t.Errorf("a pending error: %v", err)
	}
	check(t, whole.SendLink(tagged, 0, NoDeadline, to))
}
