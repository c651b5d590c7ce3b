package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// pingSizes are payload sizes of echo requests: ping's default, the longest
// that fills one frame, one more, and the longest of all.
var pingSizes = []int{0, 56, 1472, 1473, maxPayload}

// A raw is a raw socket of the kernel's (raw(7)).
type raw struct {
	t  testing.TB
	fd int
}

// rawSocket opens a raw socket at an end. It closes with the test, and waits at
// most the lab's patience.
func rawSocket(t testing.TB, e *lab.Endpoint, proto int) *raw {
	t.Helper()
	r := &raw{t: t}
	e.In(t, func() (err error) {
		r.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
		return err
	})
	t.Cleanup(func() { unix.Close(r.fd) })
	tv := unix.NsecToTimeval(lab.Patience.Nanoseconds())
	check(t, unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	return r
}

func (r *raw) send(b []byte, to netip.Addr) {
	r.t.Helper()
	check(r.t, unix.Sendto(r.fd, b, 0, &unix.SockaddrInet4{Addr: to.As4()}))
}

// recvICMP returns the next ICMP message of a type.
func (r *raw) recvICMP(typ uint8) icmp.Message {
	r.t.Helper()
	b := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(r.fd, b, 0)
		if err != nil {
			r.t.Fatalf("raw socket: %v", err)
		}
		_, payload, c := ipv4.Parse(b[:n])
		if c != ipv4.CauseNone {
			r.t.Fatalf("raw socket: %v", c)
		}
		if m, ic := icmp.Parse(payload); ic == icmp.CauseNone && m.Type() == typ {
			return m
		}
	}
}

// The kernel pings us.
func TestPingedByKernel(t *testing.T) {
	w := newWorld(t, setup{})
	r := rawSocket(t, w.far, unix.IPPROTO_ICMP)
	for i, n := range pingSizes {
		data := pattern(n, uint32(i))
		r.send(icmp.AppendEcho(nil, icmp.Echo, 0x4711, uint16(i), data), w.near.Addr)
		m := r.recvICMP(icmp.EchoReply)
		if m.Ident() != 0x4711 || m.Seq() != uint16(i) {
			t.Errorf("%d bytes: reply has ident %#x, sequence %d", n, m.Ident(), m.Seq())
		}
		wantBytes(t, m[icmp.HeaderLen:], data)
	}
	w.wantStat("IcmpInEchos", uint64(len(pingSizes)))
	w.wantStat("IcmpOutEchoReps", uint64(len(pingSizes)))
}

// We ping the kernel, by a ping socket (icmp(7)).
func TestPingsKernel(t *testing.T) {
	w := newWorld(t, setup{})
	k := w.ping()
	check(t, k.Connect(w.kernels(0)))
	ident := k.LocalAddr().Port()
	for i, n := range pingSizes {
		t.Run(fmt.Sprint(n, " bytes"), func(t *testing.T) {
			data := pattern(n, uint32(i))
			check(t, k.Send(icmp.AppendEcho(nil, icmp.Echo, 0, uint16(i), data), 0, stack.NoDeadline))
			got, info := w.recv(k)
			m, c := icmp.Parse(got)
			if c != icmp.CauseNone || m.Type() != icmp.EchoReply || m.Ident() != ident || m.Seq() != uint16(i) {
				t.Fatalf("got % x (%v), want the reply to ident %d, sequence %d", got[:8], c, ident, i)
			}
			wantBytes(t, m[icmp.HeaderLen:], data)
			if info.From != w.far.Addr.As4() || info.TTL != 64 {
				t.Errorf("reply from %v with TTL %d", info.From, info.TTL)
			}
		})
	}
}

// Two ping sockets do not hear each other's replies.
func TestPingSocketsApart(t *testing.T) {
	w := newWorld(t, setup{})
	a, b := w.ping(), w.ping()
	check(t, a.Bind(netip.AddrPortFrom(netip.IPv4Unspecified(), 100)))
	check(t, b.Bind(netip.AddrPortFrom(netip.IPv4Unspecified(), 200)))
	for i, k := range []*stack.PingSocket{a, b, a} {
		w.send(k, icmp.AppendEcho(nil, icmp.Echo, 0, uint16(i), nil), w.kernels(0))
	}
	for i, k := range map[uint16]*stack.PingSocket{0: a, 1: b} {
		got, _ := w.recv(k)
		if m, _ := icmp.Parse(got); m.Seq() != i {
			t.Errorf("socket got the reply to sequence %d, want %d", m.Seq(), i)
		}
	}
}

// A timestamp request is answered with the time of day (RFC 792).
func TestTimestamp(t *testing.T) {
	w := newWorld(t, setup{})
	r := rawSocket(t, w.far, unix.IPPROTO_ICMP)
	m := icmp.AppendEcho(nil, icmp.Timestamp, 3, 4, make([]byte, 12))
	binary.BigEndian.PutUint32(m[8:], 12345)
	binary.BigEndian.PutUint16(m[2:], 0)
	binary.BigEndian.PutUint16(m[2:], onesComplement(m))
	r.send(m, w.near.Addr)
	reply := r.recvICMP(icmp.TimestampReply)
	if originate := binary.BigEndian.Uint32(reply[8:]); originate != 12345 {
		t.Errorf("originate time is %d, want 12345", originate)
	}
	const day = 24 * 3600 * 1000
	if ms := binary.BigEndian.Uint32(reply[12:]); ms >= day || ms != binary.BigEndian.Uint32(reply[16:]) {
		t.Errorf("receive and transmit times are % x", reply[12:20])
	}
}

// Options of an echo request stand in the reply too, with what they ask for filled
// in (RFC 1122, section 3.2.2.6): ping -R.
func TestPingRecordsRoute(t *testing.T) {
	w := newWorld(t, setup{})
	r := rawSocket(t, w.far, unix.IPPROTO_ICMP)
	option := append([]byte{1, 7, 39, 4}, make([]byte, 36)...) // NOP, record route for nine hops
	check(t, unix.SetsockoptString(r.fd, unix.SOL_IP, unix.IP_OPTIONS, string(option)))
	wire := w.far.Packet(t)
	r.send(icmp.AppendEcho(nil, icmp.Echo, 1, 1, pattern(56, 1)), w.near.Addr)
	frame := wire.Want(t, icmpOfType(icmp.EchoReply, 0))
	h, _, _ := ipv4.Parse(frame[14:])
	rr := h.Options().Find(7)
	// Out of the kernel's end, into ours and out again.
	near, far := w.near.Addr.As4(), w.far.Addr.As4()
	if len(rr) != 39 || rr[2] != 16 || [4]byte(rr[3:]) != far || [4]byte(rr[7:]) != near || [4]byte(rr[11:]) != near {
		t.Errorf("the reply's options are % x, want a route by %v, %v, %v", []byte(h.Options()), far, near, near)
	}
}

// We answer requests with options as Linux answers the same ones.
func TestEchoOptionsAsLinux(t *testing.T) {
	cases := map[string][]byte{
		"record route":          append([]byte{7, 39, 4}, make([]byte, 37)...),
		"short route":           {7, 7, 4, 0, 0, 0, 0, 0},
		"full route":            {7, 7, 8, 1, 2, 3, 4, 0},
		"no-operations":         {1, 1, 1, 1},
		"times":                 append([]byte{68, 20, 5, 0}, make([]byte, 16)...),
		"one time":              append([]byte{68, 8, 5, 0}, make([]byte, 4)...),
		"full times":            {68, 8, 9, 0, 1, 2, 3, 4},
		"times and addresses":   append([]byte{68, 36, 5, 1}, make([]byte, 32)...),
		"times of who is named": {68, 12, 5, 3, 10, 9, 0, 77, 0, 0, 0, 0},
		"route and times":       {7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		"unknown":               {150, 4, 1, 2},
		"router alert":          {148, 4, 0, 0},
	}
	x := newTrio(t)
	for name, options := range cases {
		t.Run(name, func(t *testing.T) {
			var replies [2][]byte
			for i, to := range []*lab.Endpoint{x.near, x.far} {
				f := ipv4.Fields{TTL: 64, Protocol: ipv4.ProtocolICMP, ID: 1, Src: x.third.Addr.As4(), Dst: to.Addr.As4(), Options: options}
				x.wire.Send(t, ethernet(to.MAC, x.third.MAC, unix.ETH_P_IP, packet(f, echoRequest)))
				frame := x.wire.Next(t, time.Second, func(b []byte) bool { return icmpOf(b) != nil })
				if frame == nil {
					t.Logf("%v does not answer", to.Addr)
					continue
				}
				h, _, _ := ipv4.Parse(frame[14:])
				replies[i] = append([]byte{icmpOf(frame).Type()}, h.Options()...)
			}
			ours, theirs := timeless(replies[0]), timeless(bytes.ReplaceAll(replies[1],
				x.far.Addr.AsSlice(), x.near.Addr.AsSlice()))
			if !bytes.Equal(ours, theirs) {
				t.Errorf("our answer has options\n% x, Linux'\n% x", ours, theirs)
			}
		})
	}
}

// timeless clears what looks like a time of day in a timestamp option.
func timeless(reply []byte) []byte {
	for i := 0; i+4 < len(reply); i++ {
		if reply[i] != 68 {
			continue
		}
		size := 4
		if reply[i+3]&15 != 0 {
			size = 8
		}
		for at := i + 4; at+size <= i+int(reply[i+2])-1 && at+size <= len(reply); at += size {
			clear(reply[at+size-4 : at+size])
		}
	}
	return reply
}

// onesComplement returns the Internet checksum of b (RFC 1071).
func onesComplement(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
