package claim

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// Near addresses: what the programs find without a look into the map of addresses. A
// place, by a hash of the address, has one of the host's addresses in its lower half, and
// above that what it is, or'ed with nearMore if others belong there too. So an address
// that is not there, without nearMore, is none of the host's.
const (
	nearBits   = 8
	nearLen    = 8 << nearBits
	nearMore   = 0x800
	nearFactor = -0x61c88647 // Knuth's, 2^32 divided by the golden ratio
)

// nearPlace returns the place of an address, and the address as the programs load it.
func nearPlace(a [4]byte) (place int, word uint32) {
	factor := int32(nearFactor)
	word = binary.NativeEndian.Uint32(a[:])
	return int(word * uint32(factor) >> (32 - nearBits)), word
}

// near makes the places for the host's addresses.
func near(hosts map[[4]byte]uint32) (places [1 << nearBits]uint64) {
	for a, what := range hosts {
		i, word := nearPlace(a)
		entry := uint64(what)<<32 | uint64(word)
		switch old := places[i]; {
		case old == 0:
			places[i] = entry
		case what == addressOwn: // unicast is what most datagrams are
			places[i] = entry | nearMore<<32
		default:
			places[i] = old | nearMore<<32
		}
	}
	return places
}

// syncNear has the programs know the host's addresses. Those that stay are never away.
func (m *maps) syncNear(hosts map[[4]byte]uint32) {
	for i, entry := range near(hosts) {
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&m.widths[nearAt+8*i])), entry)
	}
}
