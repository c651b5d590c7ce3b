package stack

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
	ipOffset   = link.HeaderLen
	udpOffset  = ipOffset + ipv4.MinHeaderLen
	headersLen = udpOffset + udp.HeaderLen
)

// defaultTTL is the time to live of unicast datagrams (net.ipv4.ip_default_ttl).
const defaultTTL = 64

// path is all that sending to one destination needs: the device, the
// neighbour, and the headers of every datagram with what changes left zero. It
// is never changed once a sender may see it.
type path struct {
	// gen is the destination's generation, which is at genAt, version the neighbour
	// entry's: the path holds while both are what they were when it was made.
	gen     uint32
	version uint32
	genAt   *atomic.Uint32
	neigh   *arp.Entry // nil if no neighbour is needed, or it is not resolved

	queue   *txQueue
	header  [headersLen]byte
	ipSum   uint32 // of the IP header without length, id and checksum
	udpSum  uint32 // of the pseudo-header and the ports, without length
	maxFast int    // of them, those of a UDP datagram on the quick way; -1: none
	maxData int    // payload bytes that go in one unfragmented datagram
	df      bool

	dev      *device
	next     ipv4.Addr
	hop      route.Hop
	metadata metadata
	later    *later // of one datagram's path; nil: now
	dst      ipv4.Addr
	dstPort  uint16
	mtuRule  int32 // IP_PMTUDISC_*
	resolved bool
	heard    bool // a broadcast or multicast that we hear too
	slow     bool // such a one, or one that does not leave the host
	beside   bool // a slow one, or with metadata
	shared   bool // several senders may see it
}

// holds reports whether the path may be used as it is.
func (p *path) holds() bool {
	return p.resolved && p.gen == p.genAt.Load() &&
		(p.neigh == nil || p.neigh.Version() == p.version)
}

// pathSpec is what a socket adds to a flow to make a path.
type pathSpec struct {
	route.Flow
	srcPort, dstPort uint16
	proto, tos       uint8
	ttl              int32 // -1: the default for the destination
	quiet            bool  // IP_MULTICAST_LOOP is 0
	mtuRule          int32
	metadata         metadata
	later            *later
	options          *ipv4.SentOptions // nil: none
	final            ipv4.Addr         // where a source route ends; dst is where it begins
}

// makePath fills in p for the spec, all but the neighbour, with the way out that all
// may use.
func (t *transmitter) makePath(p *path, spec *pathSpec) unix.Errno {
	genAt := t.routes.Generations.Of(spec.Dst)
	gen := genAt.Load()
	h, e := t.routes.Find(spec.Flow)
	if e != 0 {
		return e
	}
	d := deviceOf(h.Device)
	*p = path{gen: gen, genAt: genAt, queue: d.queue, dev: d, next: h.Next, hop: h,
		dst: spec.Dst, dstPort: spec.dstPort, mtuRule: spec.mtuRule, metadata: spec.metadata, later: spec.later}
	p.metadata.byLoopback = h.ByLoopback
	ttl := spec.ttl
	if ttl < 0 || ttl == 0 && h.Kind != route.Multicast { // RFC 1122, 3.2.1.7: 0 is never sent
		if ttl = defaultTTL; h.Kind == route.Multicast {
			ttl = 1
		}
	}
	if h.Kind != route.Unicast && !h.Device.Loopback { // where all comes back anyway
		p.heard = h.Kind == route.Broadcast || !spec.quiet && d.host.hearsOwn(spec.Dst, h.Src)
		p.slow = p.heard || p.staysInside(uint8(ttl))
	}
	p.beside = p.slow || p.described()
	p.df = spec.mtuRule == unix.IP_PMTUDISC_WANT && !h.MTULocked || spec.mtuRule == unix.IP_PMTUDISC_DO ||
		spec.mtuRule == unix.IP_PMTUDISC_PROBE
	p.maxData, p.maxFast = p.mtu()-ipv4.MinHeaderLen, -1
	if spec.proto == ipv4.ProtocolUDP {
		p.maxData -= udp.HeaderLen
		p.maxFast = p.maxData
	}
	ether.Put(p.header[:], link.MAC{}, h.Device.Info().HardwareAddr, ether.TypeIPv4)
	f := ipv4.Fields{TOS: spec.tos, TTL: uint8(ttl), Protocol: spec.proto,
		DontFragment: p.df, Src: h.Src, Dst: spec.Dst}
	f.Put(p.header[ipOffset:], 0)
	ip := p.header[ipOffset:udpOffset]
	ip[2], ip[3], ip[10], ip[11] = 0, 0, 0, 0
	p.ipSum = ipv4.PartialSum(ip)
	if spec.proto == ipv4.ProtocolUDP {
		binary.BigEndian.PutUint16(p.header[udpOffset:], spec.srcPort)
		binary.BigEndian.PutUint16(p.header[udpOffset+2:], spec.dstPort)
		p.udpSum = udp.PartialSum(h.Src, spec.Dst, spec.srcPort, spec.dstPort)
	}
	return 0
}

// staysInside reports whether a datagram with that time to live must not leave the
// host: a multicast with 0 (RFC 1112, section 6.1).
func (p *path) staysInside(ttl uint8) bool {
	return ttl == 0 && p.hop.Kind == route.Multicast && !p.dev.Loopback
}

// mtu returns the size in bytes above which the path's datagrams are
// fragmented, or refused, by the socket's rule. As in Linux those who send without
// regard to path MTUs do not regard the route's either.
func (p *path) mtu() int {
	switch p.mtuRule {
	case unix.IP_PMTUDISC_PROBE, unix.IP_PMTUDISC_INTERFACE, unix.IP_PMTUDISC_OMIT:
		return min(p.dev.Info().MTU, ipv4.MaxLen)
	default:
		return p.hop.PathMTU
	}
}

// mayFragment reports whether a datagram larger than the MTU may be cut.
func (p *path) mayFragment() bool {
	switch p.mtuRule {
	case unix.IP_PMTUDISC_DO, unix.IP_PMTUDISC_PROBE, unix.IP_PMTUDISC_INTERFACE:
		return false
	default:
		return true
	}
}

// ready has the neighbour resolved, as resolve does, if the path does not hold. It
// returns the path to take: others' is not changed, but copied.
func (p *path) ready(tx *txbuf) (q *path, entry *arp.Entry, ok bool, e unix.Errno) {
	if p.holds() {
		return p, nil, true, 0
	}
	if p.shared { // it has ceased to hold since the sender looked
		tx.copied = *p
		p = &tx.copied
		p.shared = false
	}
	entry, ok, e = p.resolve(!tx.own)
	return p, entry, ok, e
}

// resolve fills in the neighbour's hardware address. It returns false if that
// is not known yet: the neighbour table has been asked, and frames are to be
// queued there.
func (p *path) resolve(blocking bool) (entry *arp.Entry, ok bool, e unix.Errno) {
	switch {
	case p.dev.Loopback:
	case p.hop.Kind == route.Broadcast || p.dev.t.routes.Net().IsBroadcast(p.next): // another device's, by this one
		copy(p.header[:6], ether.Broadcast[:])
	case p.hop.Kind == route.Multicast:
		m := p.dst.MulticastMAC()
		copy(p.header[:6], m[:])
	default:
		entry, mac, version, e := p.dev.neighbours.find(p.next, p.hop.Src, blocking)
		if e != 0 {
			return nil, false, e
		}
		if version == 0 {
			return entry, false, 0
		}
		copy(p.header[:6], mac[:])
		p.neigh, p.version = entry, version
	}
	p.resolved = true
	return nil, true, 0
}

// putUDP writes the headers of a UDP datagram of one fragment at b, whose
// payload of n bytes stands behind them already and sums up to sum.
func (p *path) putUDP(b []byte, n int, id uint16, sum uint16) {
	_ = b[headersLen-1]
	*(*[headersLen]byte)(b) = p.header
	total := uint16(ipv4.MinHeaderLen + udp.HeaderLen + n)
	binary.BigEndian.PutUint16(b[ipOffset+2:], total)
	binary.BigEndian.PutUint16(b[ipOffset+4:], id)
	binary.BigEndian.PutUint16(b[ipOffset+10:], ipv4.FinishChecksum(p.ipSum, total, id))
	binary.BigEndian.PutUint16(b[udpOffset+4:], uint16(udp.HeaderLen+n))
	binary.BigEndian.PutUint16(b[udpOffset+6:], udp.FinishChecksum(p.udpSum, udp.HeaderLen+n, sum))
}

// pathSlot returns the place in txbuf.paths for a destination. The secret keeps a
// stranger from choosing whose path his own pushes out.
func pathSlot(id uint64, dst ipv4.Addr, port uint16) int {
	h := id*0x9e3779b97f4a7c15 + uint64(binary.LittleEndian.Uint32(dst[:]))<<16 + uint64(port)
	return int(h * pathSecret >> (64 - pathBits))
}

// pathSecret is a random odd number.
var pathSecret = rand.Uint64() | 1

// routeBySource makes a datagram's path one to the first hop of its options'
// source route, if they have one. EINVAL: it has no destination else.
func (spec *pathSpec) routeBySource() unix.Errno {
	if spec.options == nil {
		return 0
	}
	hop, ok := spec.options.FirstHop()
	if !ok {
		return 0
	}
	if spec.Dst.IsUnspecified() {
		return unix.EINVAL
	}
	spec.Dst, spec.final = hop, spec.Dst
	return 0
}

// putOptions writes a datagram's options to b, and returns them.
func (spec *pathSpec) putOptions(b *[ipv4.MaxOptionsLen]byte, p *path) []byte {
	if spec.options == nil {
		return nil
	}
	spec.options.Put(b[:], p.hop.Src, spec.final, p.dev.t.clock.OfDay())
	return b[:spec.options.Len()]
}

// optionsLen returns the length of a datagram's options.
func (spec *pathSpec) optionsLen() int {
	if spec.options == nil {
		return 0
	}
	return spec.options.Len()
}
