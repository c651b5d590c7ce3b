package wire

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/test/oracle"
)

// A Host is the one that is judged, with its two devices' other ends in hand.
type Host interface {
	oracle.World
	// Inject sends a frame to a device, 0 or 1.
	Inject(device int, frame []byte)
	// Settle returns when all that was injected has been dealt with.
	Settle()
	// Rest is Settle for what hosts send to themselves, and what has to wait for a
	// neighbour, too.
	Rest()
	// Sent returns the frames that the host has sent since the last call, but
	// those that Settle asked for.
	Sent() []Sent
	// Counters returns the host's counters by the names of nstat(8).
	Counters() map[string]uint64
	// Route adds a route, or takes it away.
	Route(r Route, remove bool) error
	// Address gives a device an address, or takes it away.
	Address(device int, p netip.Prefix, remove bool) error
	// SetMTU sets a device's MTU.
	SetMTU(device, mtu int) error
	// SetUp sets a device up or down. When it is up again it has the routes and
	// neighbours that it had.
	SetUp(device int, up bool)
	// SetCarrier takes a device's carrier away, or gives it back.
	SetCarrier(device int, on bool)
	// Reset makes the kernel's host as it was when it was new. A stack is made anew
	// instead.
	Reset()
	// Forget is Reset of what is learnt of neighbours and paths.
	Forget()
	// Index returns a device's index.
	Index(device int) int
}

// A Route is one by a device.
type Route struct {
	To      netip.Prefix
	Gateway netip.Addr // the zero one: on the link
	Device  int
	Metric  int
	MTU     int
}

// A Sent frame is one that a host has sent by a device.
type Sent struct {
	Device int
	Frame  []byte
}

// The addresses of the two networks: near is the host, far the hand.
var (
	nearIP  = [2][4]byte{{10, 9, 0, 1}, {10, 8, 0, 1}}
	farIP   = [2][4]byte{{10, 9, 0, 2}, {10, 8, 0, 2}}
	nearMAC = [2]link.MAC{{2, 0, 10, 9, 0, 1}, {2, 0, 10, 8, 0, 1}}
	farMAC  = [2]link.MAC{{2, 0, 10, 9, 0, 2}, {2, 0, 10, 8, 0, 2}}
	devices = [2]string{"near0", "near1"}
	// routerIP is who ICMP errors are from.
	routerIP = [4]byte{10, 9, 0, 254}
	// farDevices are the hand's.
	farDevices = [2]string{"far0", "far1"}
)

// top is the topology of all runs: Near is the host, Far who is not there.
var top = oracle.Topology{Name: "wire", Addrs: [2][4]byte{nearIP[0], farIP[0]}}

// prefix returns the network of a device, with the host's address.
func prefix(device int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4(nearIP[device]), 24) }

// settleNear and settleFar are whom Settle asks, and as whom: addresses of their own, in
// 172.31.d.0/30, that nobody takes away.
func settleNear(device int) [4]byte { return [4]byte{172, 31, byte(device), 1} }

func settleFar(device int) [4]byte { return [4]byte{172, 31, byte(device), 2} }

// addresses are those of a device that every host begins with.
func addresses(device int) []netip.Prefix {
	return []netip.Prefix{prefix(device), netip.PrefixFrom(netip.AddrFrom4(settleNear(device)), 30)}
}

// neighbours are those of a device that every host begins with.
func neighbours(device int) []netip.Addr {
	all := []netip.Addr{netip.AddrFrom4(farIP[device]), netip.AddrFrom4(settleFar(device))}
	if device == 0 {
		all = append(all, netip.AddrFrom4(routerIP))
	}
	return all
}

// lockTime is how long a neighbour's hardware address stays as it is whatever others say
// (Linux' locktime): longer than any run, so that it is no matter of time.
const lockTime = 100 * time.Second

// routes are those that every host begins with: all by device 0, but for
// 198.19.0.0/16, which device 1 reaches too, and better, with a smaller MTU.
var routes = []Route{
	{To: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.AddrFrom4(farIP[0]), Metric: 20},
	{To: netip.MustParsePrefix("198.19.0.0/16"), Gateway: netip.AddrFrom4(farIP[0]), Metric: 20},
	{To: netip.MustParsePrefix("198.19.0.0/16"), Gateway: netip.AddrFrom4(farIP[1]), Device: 1, Metric: 10, MTU: 1400},
}

// A port is the other end of a device, in the hand of a test.
type port interface {
	send(frame []byte) error
	// next returns a frame that has arrived, nil if none has by now.
	next() []byte
}

// Near and Far return the address of the host, and of the hand, on a device's network.
func Near(device int) [4]byte { return nearIP[device] }

// Far is Near for the hand.
func Far(device int) [4]byte { return farIP[device] }

// MACs returns the hardware addresses of a device and of the hand's end.
func MACs(device int) (near, far link.MAC) { return nearMAC[device], farMAC[device] }

// Device returns a device's name.
func Device(device int) string { return devices[device] }

// Topology returns the topology of all runs.
func Topology() oracle.Topology { return top }

// settleIdent is the ident of Settle's echo requests.
const settleIdent = 0xfade

// patience bounds what a host takes to answer.
const patience = 10 * time.Second

// hands are the ends of both devices.
type hands struct {
	t     testing.TB
	name  string
	ports [2]port
	seq   uint16
	sent  []Sent
	mute  [2]bool // a device that is down, or has no carrier
	mtu   [2]int  // of a device
}

func (h *hands) Inject(device int, frame []byte) {
	h.t.Helper()
	const tag = 4
	if h.mute[device] || len(frame) > h.mtu[device]+link.HeaderLen+tag {
		return // as a veth device does
	}
	if err := h.ports[device].send(frame); err != nil {
		h.t.Fatalf("%s: inject %d bytes: %v", h.name, len(frame), err)
	}
}

// rounds is how often Rest settles. What a host sends itself is dealt with behind the
// first request, what it answers itself behind the second, and what the hand tells it of
// neighbours is used behind the third.
const rounds = 3

func (h *hands) Rest() {
	h.t.Helper()
	for range rounds {
		h.Settle()
	}
}

func (h *hands) Settle() {
	h.t.Helper()
	for d := range h.ports {
		if h.mute[d] {
			continue
		}
		h.seq++
		b := icmp.AppendEcho(nil, icmp.Echo, settleIdent, h.seq, nil)
		h.Inject(d, IP(d, ipv4.Fields{Protocol: ipv4.ProtocolICMP, Src: settleFar(d), Dst: settleNear(d)}, b))
		h.await(d)
	}
	for d := range h.ports { // what came by one may have been answered by the other
		for f := h.ports[d].next(); f != nil; f = h.ports[d].next() {
			h.take(d, f)
		}
	}
}

// await takes what comes from a device until the answer to the latest request.
func (h *hands) await(d int) {
	h.t.Helper()
	end := time.Now().Add(patience)
	for i := 0; ; i++ {
		f := h.ports[d].next()
		if f == nil {
			if time.Now().After(end) {
				h.t.Fatalf("%s: device %d answers no echo request", h.name, d)
			}
			if i > 20 {
				time.Sleep(20 * time.Microsecond)
			}
			continue
		}
		if seq, ok := settled(f); ok {
			if seq == h.seq {
				return
			}
			continue
		}
		h.take(d, f)
	}
}

// take notes a frame that the host has sent, and answers it if it asks by ARP.
func (h *hands) take(d int, f []byte) {
	if a := answer(d, f); a != nil {
		h.Inject(d, a)
	}
	h.sent = append(h.sent, Sent{d, f})
}

// answer returns the hand's answer to an ARP request: every address but those of the
// host is there. nil: it is no request, or one that nobody answers.
func answer(d int, f []byte) []byte {
	if ether.Header(f).Type() != ether.TypeARP {
		return nil
	}
	m, c := arp.Parse(f[link.HeaderLen:])
	if c != arp.CauseNone || m.Op() != arp.OpRequest || m.IsProbe() || m.IsGratuitous() {
		return nil
	}
	return ARP(d, m.SenderMAC(), arp.OpReply, farMAC[d], m.TargetIP(), m.SenderMAC(), m.SenderIP())
}

// settled reports whether a frame is an answer to one of Settle's requests.
func settled(f []byte) (seq uint16, ok bool) {
	h, b, c := ipv4.Parse(f[link.HeaderLen:])
	if c != ipv4.CauseNone || f[12] != 8 || h.Protocol() != ipv4.ProtocolICMP {
		return 0, false
	}
	m, cause := icmp.Parse(b)
	if cause != icmp.CauseNone || m.Type() != icmp.EchoReply || m.Ident() != settleIdent {
		return 0, false
	}
	return m.Seq(), true
}

func (h *hands) Sent() []Sent {
	s := h.sent
	h.sent = nil
	return s
}

// BufferMax is Linux' default, which labs leave alone.
func (h *hands) BufferMax() (receive, send int) { return 212992, 212992 }

// Name says whose host it is.
func (h *hands) Name() string { return h.name }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// again reports whether a call is to be made again.
func again(err error) bool { return err == unix.EINTR }
