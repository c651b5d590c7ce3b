package udp

import (
	"math/bits"

	"golang.org/x/sys/unix"
)

// A portSet is a set of ports, one bit each.
type portSet [1 << 10]uint64

func (p *portSet) add(port uint16)      { p[port>>6] |= 1 << (port & 63) }
func (p *portSet) remove(port uint16)   { p[port>>6] &^= 1 << (port & 63) }
func (p *portSet) has(port uint16) bool { return p[port>>6]>>(port&63)&1 != 0 }

// SetPortRange sets the ephemeral ports, lo to hi inclusive. Bindings keep the
// ports they have. EINVAL, and nothing changes, if lo is 0 or above hi.
func (t *Table[T]) SetPortRange(lo, hi uint16) unix.Errno {
	if lo == 0 || lo > hi {
		return unix.EINVAL
	}
	t.lo, t.hi = lo, hi
	return 0
}

// PortRange returns the ephemeral ports, lo to hi inclusive.
func (t *Table[T]) PortRange() (lo, hi uint16) { return t.lo, t.hi }

// SetReserved keeps a port from being chosen as an ephemeral one, or no longer;
// it can still be bound by its number (ip_local_reserved_ports).
func (t *Table[T]) SetReserved(port uint16, reserved bool) {
	if reserved {
		t.reserved.add(port)
	} else {
		t.reserved.remove(port)
	}
}

// randomTries is how many ports are drawn before the search goes port by port.
// Drawing leaves every free port the same chance; searching on favours the one
// behind a run of ports in use (RFC 6056, 3.3.1 and 3.3.2).
const randomTries = 16

// ephemeral chooses a port for b: one that nobody has, or else one that others
// let b have too. Its time is bounded by the number of ports, not of bindings.
func (t *Table[T]) ephemeral(b *Binding[T]) (uint16, bool) {
	n := uint32(t.hi-t.lo) + 1
	for range randomTries {
		if p := t.lo + uint16(t.below(n)); !t.used.has(p) && !t.reserved.has(p) {
			return p, true
		}
	}
	start := t.lo + uint16(t.below(n))
	if p, ok := t.nextFree(start, t.hi); ok {
		return p, true
	}
	if p, ok := t.nextFree(t.lo, start); ok {
		return p, true
	}
	for i := range n {
		p := start + uint16(i)
		if p > t.hi || p < start { // past the end, or past 65535
			p = t.lo + uint16(i-uint32(t.hi-start)-1)
		}
		if !t.reserved.has(p) && !t.conflicts(b, p) {
			return p, true
		}
	}
	return 0, false
}

// nextFree returns the first port from lo to hi that is neither used nor
// reserved.
func (t *Table[T]) nextFree(lo, hi uint16) (uint16, bool) {
	mask := ^uint64(0) << (lo & 63)
	for w := int(lo >> 6); w <= int(hi>>6); w++ {
		if free := ^(t.used[w] | t.reserved[w]) & mask; free != 0 {
			p := w<<6 + bits.TrailingZeros64(free)
			return uint16(p), p <= int(hi)
		}
		mask = ^uint64(0)
	}
	return 0, false
}

// below returns a random number below n.
func (t *Table[T]) below(n uint32) uint32 {
	return scale(uint32(t.rnd()>>32), n)
}

// scale maps v from all of uint32 to 0..n-1, evenly (Lemire; Linux'
// reciprocal_scale).
func scale(v, n uint32) uint32 { return uint32(uint64(v) * uint64(n) >> 32) }
