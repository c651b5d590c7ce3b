package ipv4

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// identBuckets is how many counters an Identifier has, 8 bytes each. Linux has
// 2048 to 262144, by the size of memory.
const identBuckets = 8192

// identTickShift makes ticks out of nanoseconds: 2^20 ns, about a millisecond,
// is what a jiffy is on Linux with HZ=1000.
const identTickShift = 20

// identTickBack is how far apart in ticks two uses of a counter may be. What
// seems to be farther is a caller whose time is a little older than another's.
const identTickBack = ^uint32(0) - 60_000

// An Identifier chooses the identification of datagrams. Those that may be
// fragmented must not repeat it within a datagram's life for the same source,
// destination and protocol (RFC 6864, section 4.3), and nobody may foresee it
// or count our datagrams by it (RFC 7739). As in Linux' ip_idents_reserve, a
// keyed hash of the three chooses one of many counters. A counter goes up by
// one per datagram, and by a random number of at most the ticks that have gone
// by since it was used last, so that it tells nothing about the others that
// share it.
//
// It is safe for concurrent use.
type Identifier struct {
	hashKey, randomKey [2]uint64
	buckets            []identBucket
}

type identBucket struct {
	id   atomic.Uint32
	tick atomic.Uint32 // when it was used last
}

// NewIdentifier returns an Identifier whose numbers follow from a key, which is
// to be random and secret.
func NewIdentifier(key [16]byte) *Identifier {
	k := [2]uint64{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}
	g := &Identifier{buckets: make([]identBucket, identBuckets)}
	// Distinct messages, so that one key gives keys that have nothing in common.
	g.hashKey = [2]uint64{siphash(k, 0, 1), siphash(k, 0, 2)}
	g.randomKey = [2]uint64{siphash(k, 0, 3), siphash(k, 0, 4)}
	for i := range g.buckets {
		g.buckets[i].id.Store(uint32(siphash(k, 1, uint64(i))))
	}
	return g
}

// Next returns the identification for a datagram, and keeps segs in a row for
// the datagrams that a GSO packet is cut into. segs is at least 1.
//
// A datagram that is sent with DontFragment and is not fragmented may have any
// identification (RFC 6864, section 4.1), and does not need this.
func (g *Identifier) Next(now int64, src, dst Addr, proto uint8, segs int) uint16 {
	addrs := uint64(binary.LittleEndian.Uint32(src[:]))<<32 | uint64(binary.LittleEndian.Uint32(dst[:]))
	b := &g.buckets[siphash(g.hashKey, addrs, uint64(proto))%identBuckets]
	add := uint32(segs)
	tick := uint32(uint64(now) >> identTickShift)
	if old := b.tick.Load(); tick-old-1 < identTickBack && b.tick.CompareAndSwap(old, tick) {
		random := siphash(g.randomKey, uint64(b.id.Load())<<32|uint64(tick), addrs)
		below, _ := bits.Mul64(random, uint64(tick-old))
		add += uint32(below)
	}
	return uint16(b.id.Add(add) - uint32(segs))
}
