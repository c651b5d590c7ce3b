package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// The same ARP frames into the kernel and into ours: the answers, and what the
// neighbour tables know afterwards, are to be the same.

// An arpHost is a host with addresses on near0, on lo and on another device.
type arpHost interface {
	// ask forgets all neighbours and begins to ask for one.
	ask(t testing.TB, addr netip.Addr)
	// entry returns what the table has of a neighbour: its MAC and state.
	entry(t testing.TB, addr netip.Addr) string
}

var (
	arpOwn    = netip.MustParsePrefix("10.9.0.1/24")
	arpOnLo   = netip.MustParsePrefix("10.9.0.100/32")
	arpBeside = netip.MustParsePrefix("10.8.0.1/24")
	arpZero   = netip.MustParsePrefix("0.1.2.0/24")
)

// An arpCase is one frame. dst and src are its Ethernet addresses.
type arpCase struct {
	dst, src, mac  [6]byte
	op             uint16
	sender, target [4]byte
	tags           []uint32 // TPID and TCI of each, outermost first
}

func (c *arpCase) String() string {
	return fmt.Sprintf("%s > %s, op %d, %s is at %s, target %s, tags %x", hardware(c.src), hardware(c.dst), c.op,
		netip.AddrFrom4(c.sender), hardware(c.mac), netip.AddrFrom4(c.target), c.tags)
}

func hardware(mac [6]byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% x", mac[:]), " ", ":")
}

func (c *arpCase) frame() []byte {
	b := ethernet(c.dst, c.src, unix.ETH_P_ARP, arpPacket(c.op, c.mac, c.sender, [6]byte{}, c.target))
	for _, t := range slices.Backward(c.tags) {
		b = tag(b, uint16(t>>16), uint16(t))
	}
	return b
}

// kernelARP is the kernel as an arpHost.
type kernelARP struct {
	*lab.Endpoint
	udp *inband.UDP
}

func newKernelARP(t testing.TB) (*kernelARP, *lab.Packet) {
	l := lab.New(t, lab.Config{Kernel: lab.Near})
	h := &kernelARP{l.Near(), l.Near().UDP(t, 0)}
	for _, conf := range []string{"all", "default", h.Name} {
		check(t, h.SetSysctl("net/ipv4/conf/"+conf+"/rp_filter", "0"))
		check(t, h.SetSysctl("net/ipv4/conf/"+conf+"/arp_ignore", "0"))
	}
	check(t, h.SetSysctl("net/ipv4/neigh/"+h.Name+"/locktime", "6000")) // hundredths of a second
	check(t, h.AddVeth(netlab.Veth{Name: "beside0", PeerName: "beside1", Peer: l.Far().Namespace}))
	check(t, h.AddAddress("beside0", arpBeside))
	check(t, h.SetUp("beside0"))
	check(t, h.AddAddress("lo", arpOnLo))
	check(t, h.AddLinkRoute(h.Name, arpZero))
	return h, l.Far().Packet(t)
}

func (h *kernelARP) ask(t testing.TB, addr netip.Addr) {
	check(t, h.FlushNeighbours(h.Name))
	check(t, h.udp.SendTo([]byte("x"), netip.AddrPortFrom(addr, 9)))
}

func (h *kernelARP) entry(t testing.TB, addr netip.Addr) string {
	all, err := h.Neighbours(h.Name)
	check(t, err)
	for _, n := range all {
		if n.Addr == addr {
			return hardware(n.MAC) + " " + n.State
		}
	}
	return "none"
}

// ourARP is our stack as an arpHost.
type ourARP struct {
	*world
	udp *stack.UDPSocket
}

func newOurARP(t testing.TB) (*ourARP, *lab.Packet) {
	w := newWorld(t, setup{arp: arp.Config{LockTime: time.Minute}})
	one, _ := pipe.New(pipe.Options{})
	beside, err := w.stack.AddLink(one, stack.InterfaceConfig{})
	check(t, err)
	check(t, beside.AddAddress(arpBeside))
	check(t, w.stack.Interfaces()[0].AddAddress(arpOnLo))
	check(t, w.stack.AddRoute(ipv4.Route{Prefix: arpZero, Iface: w.ifc.Index(), Scope: ipv4.ScopeLink}))
	return &ourARP{w, w.udp(0)}, w.far.Packet(t)
}

func (h *ourARP) ask(t testing.TB, addr netip.Addr) {
	for _, n := range h.stack.Neighbours() {
		check(t, h.ifc.DeleteNeighbour(netip.AddrFrom4(n.Addr)))
	}
	check(t, h.udp.SendTo([]byte("x"), 0, h.stack.Deadline(lab.Patience), netip.AddrPortFrom(addr, 9)))
}

func (h *ourARP) entry(_ testing.TB, addr netip.Addr) string {
	n, ok := h.neighbour(addr)
	if !ok {
		return "none"
	}
	return hardware(n.MAC) + " " + n.State.String()
}

// How much a host knows of the sender before a case.
type priming int

const (
	absent priming = iota
	asked          // it has asked, and is waiting
	known          // it has had an answer, from arpKnown
)

var arpKnown = [6]byte{2, 0, 0, 0, 0, 0x77}

// judge sends the case to a host, and returns its answers and what it knows then.
func (c *arpCase) judge(t testing.TB, h arpHost, wire *lab.Packet, primed priming) string {
	t.Helper()
	if primed != absent {
		h.ask(t, netip.AddrFrom4(c.sender))
	}
	if primed == known {
		wire.Send(t, ethernet([6]byte{2, 0, 10, 9, 0, 1}, arpKnown, unix.ETH_P_ARP,
			arpPacket(arp.OpReply, arpKnown, c.sender, [6]byte{2, 0, 10, 9, 0, 1}, arpOwn.Addr().As4())))
	}
	wire.Send(t, c.frame())
	// An ordinary request, whose answer says that all before it is done.
	marker := [6]byte{2, 0, 0, 0, 0, 0xaa}
	wire.Send(t, ethernet(ether.Broadcast, marker, unix.ETH_P_ARP,
		arpPacket(arp.OpRequest, marker, [4]byte{10, 9, 0, 200}, [6]byte{}, arpOwn.Addr().As4())))
	var out []string
	for {
		m := arpOf(wire.Want(t, func(b []byte) bool { m := arpOf(b); return m != nil && m.Op() == arp.OpReply }))
		if m.TargetMAC() == marker {
			break
		}
		out = append(out, fmt.Sprintf("%s is at %s, to %s at %s", netip.AddrFrom4(m.SenderIP()), hardware(m.SenderMAC()),
			netip.AddrFrom4(m.TargetIP()), hardware(m.TargetMAC())))
	}
	if primed != absent {
		out = append(out, "entry "+h.entry(t, netip.AddrFrom4(c.sender)))
	}
	return strings.Join(out, "; ")
}

// arpCases is the matrix.
func arpCases() (all []arpCase, primed map[[4]byte]bool) {
	ours, other := [6]byte{2, 0, 10, 9, 0, 1}, [6]byte{2, 0, 0, 0, 0, 0x99}
	primed = map[[4]byte]bool{{10, 9, 0, 50}: true, {0, 1, 2, 3}: true}
	senders := [][4]byte{{10, 9, 0, 50}, {0, 1, 2, 3}, {10, 9, 0, 60}, {192, 0, 2, 7}, {240, 0, 0, 5}, {10, 9, 0, 0},
		arpOwn.Addr().As4(), arpOnLo.Addr().As4(), arpBeside.Addr().As4(),
		{}, {127, 0, 0, 1}, {127, 0, 0, 5}, {224, 0, 0, 9}, {255, 255, 255, 255}, {10, 9, 0, 255}, {10, 8, 0, 255}}
	targets := [][4]byte{arpOwn.Addr().As4(), arpOnLo.Addr().As4(), arpBeside.Addr().As4(), {10, 9, 0, 77},
		{127, 0, 0, 1}, {224, 0, 0, 1}, {255, 255, 255, 255}, {10, 9, 0, 255}, {}}
	macs := [][6]byte{other, ours, {3, 0xbf, 10, 9, 0, 0x32}, ether.Broadcast, {}}
	for _, sender := range senders {
		for _, mac := range macs {
			for _, op := range []uint16{arp.OpRequest, arp.OpReply} {
				for _, target := range append(targets, sender) {
					for _, dst := range [][6]byte{ours, ether.Broadcast} {
						all = append(all, arpCase{dst: dst, src: mac, mac: mac, op: op, sender: sender, target: target})
					}
				}
			}
		}
	}
	// Frames from another MAC than the sender's, to others, to a group, with tags.
	const q, ad = unix.ETH_P_8021Q << 16, unix.ETH_P_8021AD << 16
	own, peer := arpOwn.Addr().As4(), [4]byte{10, 9, 0, 50}
	for _, op := range []uint16{arp.OpRequest, arp.OpReply} {
		for _, src := range macs {
			all = append(all, arpCase{dst: ours, src: src, mac: other, op: op, sender: peer, target: own})
		}
		for _, dst := range [][6]byte{other, {1, 0, 0x5e, 0, 0, 1}, {3, 0, 0, 0, 0, 1}, {}} {
			all = append(all, arpCase{dst: dst, src: other, mac: other, op: op, sender: peer, target: own})
		}
		for _, tags := range [][]uint32{{q}, {q | 5<<13}, {ad}, {q, q}, {ad, q}, {q, ad}, {ad, ad, q, q}, {q | 5}, {ad | 5},
			{q, q | 5}, {ad | 5, q}, {q | 1<<12}, {q | 4095}} {
			all = append(all, arpCase{dst: ours, src: other, mac: other, op: op, sender: peer, target: own, tags: tags})
		}
	}
	return all, primed
}

func TestARPAsKernel(t *testing.T) {
	kernel, kernelWire := newKernelARP(t)
	ours, ourWire := newOurARP(t)
	cases, primed := arpCases()
	differ, judged := 0, 0
	for _, c := range cases {
		all := []priming{absent}
		if primed[c.sender] {
			all = []priming{asked, known}
		}
		for _, p := range all {
			judged++
			want, got := c.judge(t, kernel, kernelWire, p), c.judge(t, ours, ourWire, p)
			if want == got {
				continue
			}
			if differ++; differ <= 40 {
				t.Errorf("%v (%d)\n    kernel: %s\n      ours: %s", &c, p, want, got)
			}
		}
	}
	t.Logf("%d of %d cases differ", differ, judged)
}

// The sender of our own requests is what the kernel's would be.
func TestARPSenderAsKernel(t *testing.T) {
	kernel, kernelWire := newKernelARP(t)
	ours, ourWire := newOurARP(t)
	for _, dst := range []string{"10.9.0.50", "0.1.2.3"} {
		for _, src := range []string{"0.0.0.0", "10.9.0.1", "10.9.0.100", "10.8.0.1"} {
			from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
			request := func(wire *lab.Packet) string {
				m := arpOf(wire.Want(t, func(b []byte) bool { m := arpOf(b); return m != nil && m.TargetIP() == to.As4() }))
				return netip.AddrFrom4(m.SenderIP()).String()
			}
			check(t, kernel.FlushNeighbours(kernel.Name))
			check(t, kernel.BoundUDP(t, netip.AddrPortFrom(from, 0)).SendTo([]byte("x"), netip.AddrPortFrom(to, 9)))
			want := request(kernelWire)
			k := ours.udpAt(netip.AddrPortFrom(from, 0))
			for _, n := range ours.stack.Neighbours() {
				check(t, ours.ifc.DeleteNeighbour(netip.AddrFrom4(n.Addr)))
			}
			ours.send(k, []byte("x"), netip.AddrPortFrom(to, 9))
			if got := request(ourWire); got != want {
				t.Errorf("%s from %s: asked from %s, the kernel from %s", dst, src, got, want)
			}
		}
	}
}
