package host

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; none is expected to take it.
const patience = 10 * time.Second

var (
	localhost     = ipv4.Addr{127, 0, 0, 1}
	nearIP, farIP = ipv4.Addr{10, 9, 0, 1}, ipv4.Addr{10, 9, 0, 2}
	group         = ipv4.Addr{233, 252, 0, 7}
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A lab is two namespaces joined by veth devices; the link under test is in near.
type lab struct {
	near, far *netlab.Namespace
	device    int32 // near0's index
}

// newLab makes a lab. It skips the test where there can be none; on a machine that
// promises them (CI) that is a failure.
func newLab(t testing.TB) *lab {
	t.Helper()
	if !inband.HasCapability(netlab.Capabilities...) {
		if os.Getenv("CI") != "" {
			t.Fatal("CI without the capabilities for network namespaces")
		}
		t.Skip("needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW: run as root")
	}
	l := &lab{near: newSpace(t), far: newSpace(t)}
	must(t, l.near.AddVeth(netlab.Veth{Name: "near0", PeerName: "far0", Peer: l.far}))
	for _, end := range []struct {
		n    *netlab.Namespace
		name string
		ip   ipv4.Addr
	}{{l.near, "near0", nearIP}, {l.far, "far0", farIP}} {
		must(t, end.n.AddAddress(end.name, netip.PrefixFrom(netip.AddrFrom4(end.ip), 24)))
		must(t, end.n.SetUp(end.name))
		must(t, end.n.AddLinkRoute(end.name, netip.MustParsePrefix("233.252.0.0/24")))
	}
	d, err := l.near.Device("near0")
	must(t, err)
	l.device = int32(d.Index)
	return l
}

func newSpace(t testing.TB) *netlab.Namespace {
	t.Helper()
	n, err := netlab.NewNamespace()
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	must(t, n.SetUp("lo"))
	return n
}

// holders opens holders in the near namespace; nil for none of the options.
func (l *lab) holders(t testing.TB) (h *holder.Holders) {
	t.Helper()
	must(t, l.near.Do(func() (err error) { h, err = holder.Open(); return err }))
	t.Cleanup(func() { must(t, h.Close()) })
	return h
}

// hold holds a port at all addresses.
func hold(t testing.TB, h *holder.Holders, r holder.Request) *holder.Hold {
	t.Helper()
	d, e := h.Hold(r)
	if e != 0 {
		t.Fatal(e)
	}
	return d
}

// ring opens a ring on the near namespace's lo.
func (l *lab) ring(t testing.TB) (r *tpacket.Link) {
	t.Helper()
	must(t, l.near.Do(func() (err error) { r, err = tpacket.Open("lo", tpacket.Options{}); return err }))
	return r
}

// open opens a link in the near namespace.
func (l *lab) open(t testing.TB, o Options) (k *Link) {
	t.Helper()
	must(t, l.near.Do(func() (err error) { k, err = Open(o); return err }))
	t.Cleanup(func() { must(t, k.Close()) })
	return k
}

// udp opens an in-band UDP socket, bound to an address.
func udp(t testing.TB, n *netlab.Namespace, local string) (u *inband.UDP) {
	t.Helper()
	must(t, n.Do(func() (err error) { u, err = inband.OpenUDP(netip.MustParseAddrPort(local)); return err }))
	t.Cleanup(func() { u.Close() })
	must(t, u.SetReadTimeout(patience))
	return u
}

func addrPort(a ipv4.Addr, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(a), port)
}

// portOf returns the port of a socket.
func portOf(t testing.TB, u *inband.UDP) uint16 {
	t.Helper()
	name, err := u.LocalAddr()
	must(t, err)
	return name.Port()
}

// datagram returns a frame with a UDP datagram, whose checksum is valid.
func datagram(src, dst ipv4.Addr, from, to uint16, payload string) []byte {
	f := make([]byte, link.HeaderLen+28+len(payload))
	f[12] = 8 // IPv4; nobody looks at the rest of the Ethernet header
	ip := ipv4.Fields{TTL: 64, Protocol: 17, ID: 77, Src: src, Dst: dst}
	ip.Put(f[link.HeaderLen:], 8+len(payload))
	u := f[link.HeaderLen+20:]
	binary.BigEndian.PutUint16(u, from)
	binary.BigEndian.PutUint16(u[2:], to)
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	copy(u[8:], payload)
	binary.BigEndian.PutUint16(u[6:], checksumOf(f))
	return f
}

// pseudo returns the sum of the pseudo-header of a frame (RFC 768), not complemented.
func pseudo(f []byte) uint16 {
	sum := uint32(17) + uint32(len(f)-link.HeaderLen-20)
	for i := 26; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[i:]))
	}
	return fold(sum)
}

// checksumOf returns the UDP checksum of a frame whose field is 0.
func checksumOf(f []byte) uint16 {
	sum := uint32(pseudo(f))
	u := f[link.HeaderLen+20:]
	for i := 0; i < len(u); i += 2 {
		sum += uint32(u[i]) << 8
		if i+1 < len(u) {
			sum += uint32(u[i+1])
		}
	}
	if c := ^fold(sum); c != 0 {
		return c
	}
	return 0xffff
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// A got is a received frame, copied.
type got struct {
	data []byte
	link.Meta
}

func (g *got) payload() string { return string(g.data[link.HeaderLen+28:]) }

// receive waits for n frames for which want says yes, and returns copies.
func receive(t testing.TB, k *Link, n int, want func(f *link.Frame) bool) (all []got) {
	t.Helper()
	p := link.NewPoller()
	defer p.Close()
	frames := make([]link.Frame, 64)
	for end := time.Now().Add(patience); len(all) < n; {
		m := k.Receive(frames)
		for i := range frames[:m] {
			if want(&frames[i]) {
				all = append(all, got{append([]byte(nil), frames[i].Data...), frames[i].Meta})
			}
		}
		k.Release()
		if m == 0 {
			if time.Now().After(end) {
				t.Fatalf("%d frames of %d", len(all), n)
			}
			p.Wait([]link.Pollable{k}, time.Second)
		}
	}
	return all
}

// toPort is for the datagrams to a port.
func toPort(port uint16) func(*link.Frame) bool {
	return func(f *link.Frame) bool {
		ip, payload, c := ipv4.ParseNoChecksum(f.Data[link.HeaderLen:])
		return c == ipv4.CauseNone && ip.Protocol() == 17 && binary.BigEndian.Uint16(payload[2:]) == port
	}
}

// none fails the test if a frame to a port waits.
func none(t testing.TB, k *Link, port uint16) {
	t.Helper()
	frames := make([]link.Frame, 64)
	k.rx.next = 0 // look at once
	for n := k.Receive(frames); n > 0; n = k.Receive(frames) {
		for i := range frames[:n] {
			if toPort(port)(&frames[i]) {
				t.Errorf("a frame of %d bytes by device %d was not expected", len(frames[i].Data), frames[i].Device)
			}
		}
		k.Release()
		k.rx.next = 0
	}
	k.Release()
}
