package interleave

import (
	"fmt"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/test/oracle"
	"github.com/outband/outband/test/wire"
)

// Values that frames choose from.
var (
	unreachables = [][2]uint8{{3, 4}, {3, 3}, {3, 1}, {11, 0}, {3, 4}, {12, 0}, {4, 0}, {3, 9}, {5, 1}, {11, 1}}
	mtus         = []int{1400, 1000, 552, 68, 0, 1492}
	ttls         = []uint8{64, 1, 255}
)

// source returns who a frame is from, by chance: for a broadcast address see
// wire.Deliberate.
func (p *play) source(device int, chance byte) [4]byte {
	all := [...][4]byte{wire.Far(device), wire.Far(device), wire.Far(device), wire.Far(1 - device), {198, 18, byte(p.nth >> 8), byte(p.nth)},
		{198, 18, byte(p.nth >> 8), byte(p.nth)}, wire.Near(0), {}, {127, 0, 0, 1}, {224, 0, 0, 1}, added[0].Addr().As4()}
	return all[int(chance)%len(all)]
}

// target returns whom a frame is for, by chance.
func (p *play) target(device int, chance byte) [4]byte {
	all := [...][4]byte{wire.Near(device), wire.Near(device), wire.Near(device), wire.Near(device), wire.Near(1 - device), {10, 9, 0, 255},
		{255, 255, 255, 255}, groups[0], groups[0], groups[1], added[0].Addr().As4(), added[1].Addr().As4(), added[2].Addr().As4(), {127, 0, 0, 1},
		{192, 0, 2, 1}, {10, 7, 0, 255}}
	return all[int(chance)%len(all)]
}

// inject sends a frame to a device, and writes down what it is.
func (p *play) inject(device int, what string, frame []byte) {
	if h, _, c := ipv4.Parse(frame[link.HeaderLen:]); c == ipv4.CauseNone {
		src, dst := h.Src(), h.Dst()
		p.many = p.many || several(dst)
		p.martian = p.martian || ipv4.CheckMartian(src, dst, h.Protocol(), false) != ipv4.CauseNone ||
			src == wire.Near(0) || src == added[0].Addr().As4()
	}
	p.Logf("to %s: %s", wire.Device(device), what)
	p.host.Inject(device, frame)
}

// several reports whether an address may be that of several hosts.
func several(dst [4]byte) bool { return ipv4.Addr(dst).IsMulticast() || dst[3] == 255 }

var frameKinds = []stepKind{
	{name: "udp", weight: 30, do: func(p *play, _ *oracle.Sock, s *Step) {
		d := int(s.A>>7) & 1
		f := ipv4.Fields{Src: p.source(d, s.A), Dst: p.target(d, s.B), TTL: pick(ttls, s.C), TOS: s.C & 4}
		sport, dport := pick(ports[:3], s.C>>2), pick(ports[:3], s.C>>4)
		n := pick(sizes[:7], s.C>>3)
		frame := wire.UDP(d, f, sport, dport, oracle.Data(n))
		p.inject(d, fmt.Sprintf("UDP %v:%d > %v:%d, %d bytes", f.Src, sport, f.Dst, dport, n), frame)
	}},
	{name: "icmp-error", weight: 14, do: func(p *play, _ *oracle.Sock, s *Step) { p.icmpError(s) }},
	{name: "echo", weight: 4, do: func(p *play, _ *oracle.Sock, s *Step) {
		d := int(s.A>>7) & 1
		typ := pick([]uint8{icmp.Echo, icmp.EchoReply, icmp.Timestamp}, s.C)
		f := ipv4.Fields{Src: p.source(d, s.A), Dst: p.target(d, s.B), Protocol: ipv4.ProtocolICMP}
		b := icmp.AppendEcho(nil, typ, pick(ports[:3], s.C>>4), 1, oracle.Data(12))
		p.inject(d, fmt.Sprintf("ICMP %d %v > %v", typ, f.Src, f.Dst), wire.IP(d, f, b))
	}},
	{name: "fragment", weight: 8, do: func(p *play, _ *oracle.Sock, s *Step) { p.fragment(s) }},
	{name: "raw-frame", weight: 3, do: func(p *play, _ *oracle.Sock, s *Step) {
		d := int(s.A>>7) & 1
		f := ipv4.Fields{Src: p.source(d, s.A), Dst: p.target(d, s.B), Protocol: pick([]uint8{rawProtocol, 254, 4}, s.C)}
		p.inject(d, fmt.Sprintf("protocol %d %v > %v", f.Protocol, f.Src, f.Dst), wire.IP(d, f, oracle.Data(30)))
	}},
	{name: "damaged", weight: 3, do: func(p *play, _ *oracle.Sock, s *Step) {
		d := int(s.A>>7) & 1
		frame := wire.UDP(d, ipv4.Fields{}, 443, pick(ports[:3], s.C), oracle.Data(10))
		at := link.HeaderLen + int(s.B)%(len(frame)-link.HeaderLen)
		frame[at] ^= 1 << (s.C & 7)
		p.inject(d, fmt.Sprintf("UDP with byte %d altered: %x", at, frame), frame)
	}},
	{name: "arp", weight: 5, do: func(p *play, _ *oracle.Sock, s *Step) {
		d := int(s.A>>7) & 1
		near, far := wire.MACs(d)
		op := pick([]uint16{arp.OpRequest, arp.OpReply}, s.C)
		from, to := pick(neighbours, s.A), p.target(d, s.B)
		if s.A&0x40 != 0 {
			from = p.source(d, s.A)
		}
		if s.B&0x60 == 0x60 {
			to = from
		}
		mac := pick([]link.MAC{far, {2, 0, 10, 9, 0, 77}, {3, 0xbf, 10, 9, 0, 77}, near}, s.C>>1)
		if op == arp.OpRequest {
			mac = far // of who asks Linux makes an entry: see wire.Deliberate
		}
		dst := pick([]link.MAC{near, ether.Broadcast}, s.C>>3)
		p.inject(d, fmt.Sprintf("ARP %d %v at %v > %v", op, from, mac, to), wire.ARP(d, dst, op, mac, from, near, to))
	}},
}

// neighbours are whom ARP packets are from, beside those that other frames are.
var neighbours = [][4]byte{{10, 9, 0, 77}, {10, 9, 0, 77}, wire.Far(0), added[0].Addr().As4()}

// icmpError sends an ICMP error about the latest datagram that left.
func (p *play) icmpError(s *Step) {
	if p.latest == nil {
		return
	}
	m := pick(unreachables, s.A)
	quoted := append([]byte(nil), p.latest...)
	if len(quoted) > 576 {
		quoted = quoted[:576]
	}
	d := p.by
	f := ipv4.Fields{Src: p.source(d, s.C&3), Dst: [4]byte(p.latest[12:16]), Protocol: ipv4.ProtocolICMP}
	mtu := pick(mtus, s.B)
	b := icmp.AppendError(nil, m[0], m[1], icmp.FragmentationRest(mtu), quoted)
	p.inject(d, fmt.Sprintf("ICMP error %d/%d, MTU %d", m[0], m[1], mtu), wire.IP(d, f, b))
}

// A fragmentKey is what fragments of a datagram have in common.
type fragmentKey struct {
	src, dst [4]byte
	id       uint16
}

// fragment sends a part of a datagram of 5 parts of 16 bytes, UDP's header among them.
func (p *play) fragment(s *Step) {
	const part = 16
	d := 0
	f := ipv4.Fields{Src: wire.Far(d), Dst: pick([][4]byte{wire.Near(0), wire.Near(0), wire.Near(1), groups[0]}, s.B),
		ID: uint16(p.nth)<<3 | uint16(s.B>>6), Protocol: ipv4.ProtocolUDP}
	whole := wire.UDP(d, f, 443, pick(ports[:3], s.B>>2), oracle.Data(5*part-8))[link.HeaderLen+20:]
	from, to := int(s.A%5), int(s.A%5)+1+int(s.C&1)
	at, end := from*part, min(to*part, len(whole))
	if s.C&0x30 == 0x30 {
		at += 8 // it overlaps with its neighbours
		end = min(end+8, len(whole))
	}
	f.FragmentOffset, f.MoreFragments = at, end < len(whole) != (s.C&0xf0 == 0x80)
	p.keys[fragmentKey{f.Src, f.Dst, f.ID}] = true
	what := fmt.Sprintf("fragment %d of %v, [%d, %d), more %t", f.ID&7, f.Dst, at, end, f.MoreFragments)
	p.inject(d, what, wire.IP(d, f, whole[at:end]))
}
