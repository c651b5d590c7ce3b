package output

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// Lengths of the headers in front of a UDP payload, in bytes.
const (
	IPOffset   = link.HeaderLen
	UDPOffset  = IPOffset + ipv4.MinHeaderLen
	HeadersLen = UDPOffset + udp.HeaderLen
)

// DefaultTTL is the time to live of unicast datagrams (net.ipv4.ip_default_ttl).
const DefaultTTL = 64

// Path is all that sending to one destination needs: the device, the
// neighbour, and the headers of every datagram with what changes left zero. It
// is never changed once a sender may see it.
type Path struct {
	// gen is the destination's generation, which is at genAt, version the neighbour
	// entry's: the path holds while both are what they were when it was made.
	gen     uint32
	version uint32
	genAt   *atomic.Uint32
	neigh   *arp.Entry // nil if no neighbour is needed, or it is not resolved

	Queue   *WayOut
	Header  [HeadersLen]byte
	ipSum   uint32 // of the IP header without length, id and checksum
	UDPSum  uint32 // of the pseudo-header and the ports, without length
	MaxFast int    // of them, those of a UDP datagram on the quick way; -1: none
	MaxData int    // payload bytes that go in one unfragmented datagram
	DF      bool

	Dev      *Device
	Next     ipv4.Addr
	Hop      route.Hop
	Metadata Metadata
	Later    *Later // of one datagram's path; nil: now
	Dst      ipv4.Addr
	DstPort  uint16
	mtuRule  int32 // IP_PMTUDISC_*
	Resolved bool
	Heard    bool // a broadcast or multicast that we hear too
	Slow     bool // such a one, or one that does not leave the host
	Beside   bool // a slow one, or with metadata
	Shared   bool // several senders may see it
}

// Holds reports whether the path may be used as it is.
func (p *Path) Holds() bool {
	return p.Resolved && p.gen == p.genAt.Load() &&
		(p.neigh == nil || p.neigh.Version() == p.version)
}

// Spec is what a socket adds to a flow to make a path.
type Spec struct {
	route.Flow
	SrcPort, DstPort uint16
	Proto, TOS       uint8
	TTL              int32 // -1: the default for the destination
	Quiet            bool  // IP_MULTICAST_LOOP is 0
	MTURule          int32
	Metadata         Metadata
	Later            *Later
	Options          *ipv4.SentOptions // nil: none
	Final            ipv4.Addr         // where a source route ends; dst is where it begins
}

// MakePath fills in p for the spec, all but the neighbour, with the way out that all
// may use.
func (t *Transmitter) MakePath(p *Path, spec *Spec) unix.Errno {
	genAt := t.Routes.Generations.Of(spec.Dst)
	gen := genAt.Load()
	h, e := t.Routes.Find(spec.Flow)
	if e != 0 {
		return e
	}
	d := DeviceOf(h.Device)
	*p = Path{gen: gen, genAt: genAt, Queue: d.Queue, Dev: d, Next: h.Next, Hop: h,
		Dst: spec.Dst, DstPort: spec.DstPort, mtuRule: spec.MTURule, Metadata: spec.Metadata, Later: spec.Later}
	p.Metadata.byLoopback, p.Metadata.device = h.ByLoopback, h.Via
	p.Metadata.notLooped = h.Via != 0 && h.Kind == route.Multicast && spec.Quiet
	ttl := spec.TTL
	if ttl < 0 || ttl == 0 && h.Kind != route.Multicast { // RFC 1122, 3.2.1.7: 0 is never sent
		if ttl = DefaultTTL; h.Kind == route.Multicast {
			ttl = 1
		}
	}
	if h.Kind != route.Unicast && !h.Device.Loopback { // where all comes back anyway
		p.Heard = h.Kind == route.Broadcast || !spec.Quiet && d.Host.IsMember(spec.Dst, h.Src)
		p.Slow = p.Heard || p.StaysInside(uint8(ttl))
	}
	p.Beside = p.Slow || p.Described()
	p.DF = spec.MTURule == unix.IP_PMTUDISC_WANT && !h.MTULocked || spec.MTURule == unix.IP_PMTUDISC_DO ||
		spec.MTURule == unix.IP_PMTUDISC_PROBE
	p.MaxData, p.MaxFast = p.MTU()-ipv4.MinHeaderLen, -1
	if spec.Proto == ipv4.ProtocolUDP {
		p.MaxData -= udp.HeaderLen
		p.MaxFast = p.MaxData
	}
	ether.Put(p.Header[:], link.MAC{}, h.Device.Info().HardwareAddr, ether.TypeIPv4)
	f := ipv4.Fields{TOS: spec.TOS, TTL: uint8(ttl), Protocol: spec.Proto,
		DontFragment: p.DF, Src: h.Src, Dst: spec.Dst}
	f.Put(p.Header[IPOffset:], 0)
	ip := p.Header[IPOffset:UDPOffset]
	ip[2], ip[3], ip[10], ip[11] = 0, 0, 0, 0
	p.ipSum = ipv4.PartialSum(ip)
	if spec.Proto == ipv4.ProtocolUDP {
		binary.BigEndian.PutUint16(p.Header[UDPOffset:], spec.SrcPort)
		binary.BigEndian.PutUint16(p.Header[UDPOffset+2:], spec.DstPort)
		p.UDPSum = udp.PartialSum(h.Src, spec.Dst, spec.SrcPort, spec.DstPort)
	}
	return 0
}

// StaysInside reports whether a datagram with that time to live must not leave the
// host: a multicast with 0 (RFC 1112, section 6.1).
func (p *Path) StaysInside(ttl uint8) bool {
	return ttl == 0 && p.Hop.Kind == route.Multicast && !p.Dev.Loopback
}

// MTU returns the size in bytes above which the path's datagrams are
// fragmented, or refused, by the socket's rule. As in Linux those who send without
// regard to path MTUs do not regard the route's either.
func (p *Path) MTU() int {
	switch p.mtuRule {
	case unix.IP_PMTUDISC_PROBE, unix.IP_PMTUDISC_INTERFACE, unix.IP_PMTUDISC_OMIT:
		return min(p.Dev.Info().MTU, ipv4.MaxLen)
	default:
		return p.Hop.PathMTU
	}
}

// MayFragment reports whether a datagram larger than the MTU may be cut.
func (p *Path) MayFragment() bool {
	switch p.mtuRule {
	case unix.IP_PMTUDISC_DO, unix.IP_PMTUDISC_PROBE, unix.IP_PMTUDISC_INTERFACE:
		return false
	default:
		return true
	}
}

// Ready has the neighbour resolved, as resolve does, if the path does not hold. It
// returns the path to take: others' is not changed, but copied.
func (p *Path) Ready(tx *Buffer) (q *Path, entry *arp.Entry, ok bool, e unix.Errno) {
	if p.Holds() {
		return p, nil, true, 0
	}
	if p.Shared { // it has ceased to hold since the sender looked
		tx.copied = *p
		p = &tx.copied
		p.Shared = false
	}
	entry, ok, e = p.resolve(!tx.own)
	return p, entry, ok, e
}

// resolve fills in the neighbour's hardware address. It returns false if that
// is not known yet: the neighbour table has been asked, and frames are to be
// queued there.
func (p *Path) resolve(blocking bool) (entry *arp.Entry, ok bool, e unix.Errno) {
	switch {
	case p.Dev.Loopback:
	case p.Hop.Kind == route.Broadcast || p.Dev.t.Routes.Net().IsBroadcast(p.Next): // another device's, by this one
		copy(p.Header[:6], ether.Broadcast[:])
	case p.Hop.Kind == route.Multicast:
		m := p.Dst.MulticastMAC()
		copy(p.Header[:6], m[:])
	default:
		entry, mac, version, e := p.Dev.Neighbours.Find(p.Next, p.Hop.Src, blocking)
		if e != 0 {
			return nil, false, e
		}
		if version == 0 {
			return entry, false, 0
		}
		copy(p.Header[:6], mac[:])
		p.neigh, p.version = entry, version
	}
	p.Resolved = true
	return nil, true, 0
}

// PutUDP writes the headers of a UDP datagram of one fragment at b, whose
// payload of n bytes stands behind them already and sums up to sum.
func (p *Path) PutUDP(b []byte, n int, id uint16, sum uint16) {
	_ = b[HeadersLen-1]
	*(*[HeadersLen]byte)(b) = p.Header
	total := uint16(ipv4.MinHeaderLen + udp.HeaderLen + n)
	binary.BigEndian.PutUint16(b[IPOffset+2:], total)
	binary.BigEndian.PutUint16(b[IPOffset+4:], id)
	binary.BigEndian.PutUint16(b[IPOffset+10:], ipv4.FinishChecksum(p.ipSum, total, id))
	binary.BigEndian.PutUint16(b[UDPOffset+4:], uint16(udp.HeaderLen+n))
	binary.BigEndian.PutUint16(b[UDPOffset+6:], udp.FinishChecksum(p.UDPSum, udp.HeaderLen+n, sum))
}

// PathSlot returns the place in Buffer.paths for a destination. The secret keeps a
// stranger from choosing whose path his own pushes out.
func PathSlot(id uint64, dst ipv4.Addr, port uint16) int {
	h := id*0x9e3779b97f4a7c15 + uint64(binary.LittleEndian.Uint32(dst[:]))<<16 + uint64(port)
	return int(h * pathSecret >> (64 - pathBits))
}

// pathSecret is a random odd number.
var pathSecret = rand.Uint64() | 1

// RouteBySource makes a datagram's path one to the first hop of its options'
// source route, if they have one. EINVAL: it has no destination else.
func (spec *Spec) RouteBySource() unix.Errno {
	if spec.Options == nil {
		return 0
	}
	hop, ok := spec.Options.FirstHop()
	if !ok {
		return 0
	}
	if spec.Dst.IsUnspecified() {
		return unix.EINVAL
	}
	spec.Dst, spec.Final = hop, spec.Dst
	return 0
}

// PutOptions writes a datagram's options to b, and returns them.
func (spec *Spec) PutOptions(b *[ipv4.MaxOptionsLen]byte, p *Path) []byte {
	if spec.Options == nil {
		return nil
	}
	spec.Options.Put(b[:], p.Hop.Src, spec.Final, p.Dev.t.Clock.OfDay())
	return b[:spec.Options.Len()]
}

// OptionsLen returns the length of a datagram's options.
func (spec *Spec) OptionsLen() int {
	if spec.Options == nil {
		return 0
	}
	return spec.Options.Len()
}
