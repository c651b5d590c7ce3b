package stack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// testProtocol is an IP protocol that nobody has (RFC 3692).
const testProtocol = 253

var nearAddr = netip.MustParseAddr("10.9.0.1")

func rawSocketOf(t testing.TB, s *Stack, proto int) *RawSocket {
	t.Helper()
	k, err := s.NewRawSocket(proto)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func sendTo(t testing.TB, k Socket, p []byte, to netip.Addr) {
	t.Helper()
	if err := k.SendTo(p, 0, NoDeadline, netip.AddrPortFrom(to, 0)); err != nil {
		t.Fatalf("SendTo: %v", err)
	}
}

// nothing fails if something is queued.
func nothing(t testing.TB, k Socket) {
	t.Helper()
	b := make([]byte, 2048)
	if n, info, err := k.Recv(b, unix.MSG_DONTWAIT, NoDeadline); err != unix.EAGAIN {
		t.Fatalf("received %x, %+v, %v", b[:n], info, err)
	}
}

func TestRawSocketProtocols(t *testing.T) {
	s := newStack(t, Config{})
	for proto, want := range map[int]error{-1: unix.EINVAL, 0: unix.EPROTONOSUPPORT, 1: nil, 255: nil, 256: nil, 262: nil, 263: unix.EINVAL} {
		k, err := s.NewRawSocket(proto)
		if err != want {
			t.Errorf("%d: %v, expected %v", proto, err, want)
		}
		if err == nil {
			if got := k.LocalAddr().Port(); int(got) != proto {
				t.Errorf("%d: port %d", proto, got)
			}
			if k.HeaderIncluded() != (proto == 255) {
				t.Errorf("%d: HeaderIncluded is %v", proto, k.HeaderIncluded())
			}
			k.Close()
		}
	}
	if s.raws != nil {
		t.Error("the table outlives the last socket")
	}
}

// TestRawPing is ping(8): an echo request by hand, and its answer.
func TestRawPing(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k, seen := rawSocketOf(t, p.near, unix.IPPROTO_ICMP), rawSocketOf(t, p.far, unix.IPPROTO_ICMP)
	request := icmp.AppendEcho(nil, icmp.Echo, 77, 5, []byte("payload"))
	sendTo(t, k, request, farAddr)
	b, info := recv(t, seen)
	if !bytes.Equal(b[20:], request) {
		t.Errorf("the request is %x", b[20:])
	}
	if info.From != nearAddr.As4() || info.To != farAddr.As4() || info.FromPort != 0 || info.Len != len(b) {
		t.Errorf("info %+v", info)
	}
	b, _ = recv(t, k)
	h, payload, c := ipv4.Parse(b)
	if c != ipv4.CauseNone {
		t.Fatalf("%x: %v", b, c)
	}
	if h.Protocol() != ipv4.ProtocolICMP || payload[0] != icmp.EchoReply || !bytes.Equal(payload[4:], request[4:]) {
		t.Errorf("the reply is %x", b)
	}
}

func TestRawEachItsCopy(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	from := rawSocketOf(t, p.near, testProtocol)
	var all []Socket
	for range 3 {
		all = append(all, rawSocketOf(t, p.far, testProtocol))
	}
	bound, elsewhere := rawSocketOf(t, p.far, testProtocol), rawSocketOf(t, p.far, testProtocol)
	check(t, bound.Bind(netip.AddrPortFrom(farAddr, 0)))
	check(t, elsewhere.Bind(netip.MustParseAddrPort("127.0.0.1:0")))
	other := rawSocketOf(t, p.far, testProtocol+1)
	device := rawSocketOf(t, p.far, testProtocol)
	check(t, device.SetDevice(1))
	sendTo(t, from, []byte("hello"), farAddr)
	for i, k := range append(all, bound) {
		b, _ := recv(t, k)
		if string(b[20:]) != "hello" {
			t.Errorf("%d: %q", i, b)
		}
		b[20] = 'X' // its own copy
	}
	for _, k := range []Socket{elsewhere, other, device} {
		nothing(t, k)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRawProtocolUnreachable(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := rawSocketOf(t, p.near, testProtocol)
	check(t, k.Connect(netip.AddrPortFrom(farAddr, 0)))
	taken := rawSocketOf(t, p.far, testProtocol)
	check(t, k.Send([]byte("12345678"), 0, NoDeadline))
	recv(t, taken)
	taken.Close()
	if n := p.far.Stats().Get("IpInUnknownProtos"); n != 0 {
		t.Errorf("%d unknown", n)
	}
	check(t, k.Send([]byte("12345678"), 0, NoDeadline))
	if _, _, err := k.Recv(make([]byte, 100), 0, k.s.Deadline(time.Second)); err != unix.ENOPROTOOPT {
		t.Errorf("Recv: %v", err)
	}
	if n := p.far.Stats().Get("IpInUnknownProtos"); n != 1 {
		t.Errorf("%d unknown", n)
	}
}

// ipv4Datagram returns a datagram with a header of 20 bytes.
func ipv4Datagram(proto uint8, src, dst ipv4.Addr, payload string) []byte {
	f := ipv4.Fields{TTL: 64, Protocol: proto, Src: src, Dst: dst, ID: 1}
	b := make([]byte, ipv4.MinHeaderLen, 100)
	f.Put(b, len(payload))
	return append(b, payload...)
}

func TestICMPFilter(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := rawSocketOf(t, p.near, unix.IPPROTO_ICMP)
	if err := rawSocketOf(t, p.near, 2).SetICMPFilter(1); err != unix.EOPNOTSUPP {
		t.Errorf("of another protocol: %v", err)
	}
	far := rawSocketOf(t, p.far, unix.IPPROTO_ICMP)
	check(t, far.SetICMPFilter(^uint32(1<<icmp.TimestampReply)))
	tests := []struct {
		name   string
		filter uint32
		typ    uint8
		n      int
		want   bool
	}{
		{"no filter", 0, 0, 8, true},
		{"its type", 1 << 13, 13, 20, false},
		{"other types", ^uint32(1 << 13), 13, 20, true},
		{"type 31", 1 << 31, 31, 8, false},
		{"types that have no bit", ^uint32(0), 32, 8, true},
		{"too short", 0, 0, 7, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, k.SetICMPFilter(tt.filter))
			m := make([]byte, tt.n)
			m[0] = tt.typ
			sendTo(t, far, m, nearAddr)
			driveAll(p.near)
			if !tt.want {
				check(t, k.SetICMPFilter(0))
				sendTo(t, far, []byte{99, 0, 0, 0, 0, 0, 0, 0}, nearAddr)
			}
			b, _ := recv(t, k)
			if got := b[20] == tt.typ && len(b) == 20+tt.n; got != tt.want {
				t.Errorf("received %x", b[20:])
			}
		})
	}
}

func TestHeaderIncluded(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k, far := rawSocketOf(t, p.near, unix.IPPROTO_RAW), rawSocketOf(t, p.far, testProtocol)
	b := ipv4Datagram(testProtocol, ipv4.Addr{}, farAddr.As4(), "mine")
	b[2], b[3], b[4], b[5], b[10], b[11] = 9, 9, 0, 0, 9, 9
	sent := bytes.Clone(b)
	sendTo(t, k, b, farAddr)
	if !bytes.Equal(b, sent) {
		t.Error("the caller's memory was written to")
	}
	got, _ := recv(t, far)
	h, payload, c := ipv4.Parse(got)
	if c != ipv4.CauseNone {
		t.Fatalf("%x: %v", got, c)
	}
	if h.Src() != nearAddr.As4() || h.TotalLen() != 24 || h.ID() == 0 || string(payload) != "mine" || h.TTL() != 64 {
		t.Errorf("%x", got)
	}
	tests := []struct {
		name string
		p    []byte
		want error
	}{
		{"nothing", nil, unix.EINVAL},
		{"half a header", b[:19], unix.EINVAL},
		{"a header longer than all", append([]byte{0x4f}, b[1:]...), unix.EINVAL},
		{"a header that is too short", append([]byte{0x44}, b[1:]...), unix.EINVAL},
		{"beyond the MTU", append(bytes.Clone(b), make([]byte, 1480)...), unix.EMSGSIZE},
		{"as long as can be", append(bytes.Clone(b[:20]), make([]byte, 1480)...), nil},
	}
	for _, tt := range tests {
		if err := k.SendTo(tt.p, 0, NoDeadline, netip.AddrPortFrom(farAddr, 0)); err != tt.want && (err != nil || tt.want != nil) {
			t.Errorf("%s: %v, expected %v", tt.name, err, tt.want)
		}
	}
}

// TestHeaderIncludedPathMTU: a path that is narrower than the device's link.
func TestHeaderIncludedPathMTU(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k, far := rawSocketOf(t, p.near, unix.IPPROTO_RAW), rawSocketOf(t, p.far, testProtocol)
	p.near.routes.LearnMTU(route.Flow{Dst: farAddr.As4()}, 600)
	b := append(ipv4Datagram(testProtocol, nearAddr.As4(), farAddr.As4(), ""), make([]byte, 1000)...)
	sendTo(t, k, b, farAddr)
	got, info := recv(t, far)
	if len(got) != 1020 || info.FragSize == 0 || info.FragSize > 600 {
		t.Errorf("%d bytes, %+v", len(got), info)
	}
	b[6] |= 0x40
	if err := k.SendTo(b, 0, NoDeadline, netip.AddrPortFrom(farAddr, 0)); err != unix.EMSGSIZE {
		t.Errorf("with DF: %v", err)
	}
}

func TestRawFragments(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k, far := rawSocketOf(t, p.near, testProtocol), rawSocketOf(t, p.far, testProtocol)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 300)
	sendTo(t, k, payload, farAddr)
	b, info := recv(t, far)
	h, got, c := ipv4.Parse(b)
	if c != ipv4.CauseNone || !bytes.Equal(got, payload) || h.IsFragment() || info.FragSize != 1500 {
		t.Errorf("%v, %d bytes, %+v", c, len(got), info)
	}
}

// TestRawUDP: a raw socket of UDP sees what UDP sees, before it.
func TestRawUDP(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	u, far := udpSocket(t, p.near, "10.9.0.1:1000"), udpSocket(t, p.far, "10.9.0.2:2000")
	raw := rawSocketOf(t, p.far, unix.IPPROTO_UDP)
	check(t, u.SendTo([]byte("both"), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:2000")))
	if b, _ := recv(t, far); string(b) != "both" {
		t.Errorf("%q", b)
	}
	b, info := recv(t, raw)
	if string(b[28:]) != "both" || binary.BigEndian.Uint16(b[22:]) != 2000 || info.ToPort != 2000 {
		t.Errorf("%x, %+v", b, info)
	}
}

func TestRawWaits(t *testing.T) {
	p := newPair(t, Config{Spin: SpinNever}, pipe.Options{})
	k, far := rawSocketOf(t, p.near, testProtocol), rawSocketOf(t, p.far, testProtocol)
	got := make(chan string)
	for range 2 {
		go func() {
			b := make([]byte, 100)
			n, _, err := far.Recv(b, 0, far.s.Deadline(5*time.Second))
			if err != nil {
				got <- err.Error()
				return
			}
			got <- string(b[20:n])
		}()
	}
	for range 2 {
		sendTo(t, k, []byte("x"), farAddr)
	}
	for range 2 {
		if s := <-got; s != "x" {
			t.Errorf("got %q", s)
		}
	}
}

func TestRawClose(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := rawSocketOf(t, p.near, testProtocol)
	check(t, k.Close())
	for name, f := range map[string]func() error{
		"Bind":       func() error { return k.Bind(netip.AddrPortFrom(nearAddr, 0)) },
		"Connect":    func() error { return k.Connect(netip.AddrPortFrom(farAddr, 0)) },
		"Disconnect": k.Disconnect,
		"Close":      k.Close,
		"Send":       func() error { return k.SendTo(nil, 0, NoDeadline, netip.AddrPortFrom(farAddr, 0)) },
	} {
		if err := f(); err != unix.EBADF {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRawCosts: a stack that has had raw and packet sockets allocates nothing for
// a datagram, with one of each neither.
func TestRawCosts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := newStack(t, Config{})
	a, b := udpSocket(t, s, "127.0.0.1:1000"), udpSocket(t, s, "127.0.0.1:2000")
	check(t, a.Connect(netip.MustParseAddrPort("127.0.0.1:2000")))
	buf := make([]byte, 2048)
	raw := rawSocketOf(t, s, unix.IPPROTO_UDP)
	frames := packetSocketOf(t, s, false, unix.ETH_P_ALL)
	exchange := func() {
		check(t, a.Send(buf[:64], 0, NoDeadline))
		if _, _, err := b.Recv(buf, 0, NoDeadline); err != nil {
			t.Fatal(err)
		}
	}
	drain := func(k Socket) {
		for {
			if _, _, err := k.Recv(buf, unix.MSG_DONTWAIT, NoDeadline); err != nil {
				return
			}
		}
	}
	round := func() { exchange(); drain(raw); drain(frames) }
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations with raw and packet sockets", n)
	}
	raw.Close()
	frames.Close()
	if s.raws != nil || s.taps.Load() != nil {
		t.Error("the tables outlive the sockets")
	}
	if n := testing.AllocsPerRun(100, exchange); n != 0 {
		t.Errorf("%v allocations without", n)
	}
}
