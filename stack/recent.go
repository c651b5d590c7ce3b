package stack

import (
	"encoding/binary"
	"sync/atomic"
)

// recentSlots is how many destinations a stack remembers, a power of two: four
// bytes each.
const recentSlots = 1 << 14

// recentDestinations remembers which sockets sent to whom lately: an ICMP error
// about a datagram to anybody else is forged. A server has many peers, so all
// sockets share one table, in which new ones push out old ones; it is asked for
// errors only, and written to when a path is made.
type recentDestinations struct {
	secret uint64
	slots  [recentSlots]atomic.Uint32
}

// place returns the slot of a destination, and what stands there: never 0.
func (r *recentDestinations) place(socket uint64, dst [4]byte) (slot *atomic.Uint32, tag uint32) {
	h := (socket<<32 ^ uint64(binary.BigEndian.Uint32(dst[:])) ^ r.secret) * 0x9e3779b97f4a7c15
	h = (h ^ h>>29) * 0xbf58476d1ce4e5b9
	return &r.slots[h>>50], uint32(h) | 1
}

// add notes that a socket sends to dst.
func (r *recentDestinations) add(socket uint64, dst [4]byte) {
	slot, tag := r.place(socket, dst)
	if slot.Load() != tag {
		slot.Store(tag)
	}
}

// has reports whether the socket sent to dst lately.
func (r *recentDestinations) has(socket uint64, dst [4]byte) bool {
	slot, tag := r.place(socket, dst)
	return slot.Load() == tag
}
