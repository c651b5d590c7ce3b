package igmp

import (
	"encoding/binary"
	"iter"

	"github.com/outband/outband/ipv4"
)

// key returns the address as one number, to hash and to compare.
func key(ip ipv4.Addr) uint32 { return binary.BigEndian.Uint32(ip[:]) }

// address returns the address of a key.
func address(k uint32) (ip ipv4.Addr) {
	binary.BigEndian.PutUint32(ip[:], k)
	return ip
}

// An index finds entries by address: an open-addressed hash table with linear
// probing, at most half full. A lookup costs one cache miss. The zero index is empty.
type index[E any] struct {
	slots []slot[E] // length 0 or a power of two
	n     int       // entries
}

// A slot is empty if its entry is nil.
type slot[E any] struct {
	key uint32
	e   *E
}

const minIndex = 8

// home returns the slot at which the search for a key begins, if the number of slots
// is taken as a mask. mul is a random odd number, the same at each call, so that nobody
// can choose addresses that collide. The lower half of the product spreads addresses
// that follow each other, the upper half those that differ in their first bytes.
func home(k uint32, mul uint64) uint64 {
	h := uint64(k) * mul
	return h ^ h>>32
}

// get returns the entry of the key, nil if there is none.
func (x *index[E]) get(k uint32, mul uint64) *E {
	slots := x.slots
	if len(slots) == 0 {
		return nil
	}
	for i := home(k, mul); ; i++ {
		s := &slots[i&uint64(len(slots)-1)]
		if s.key == k || s.e == nil {
			return s.e
		}
	}
}

// put adds an entry whose key is not there yet.
func (x *index[E]) put(k uint32, e *E, mul uint64) {
	if x.n++; 2*x.n > len(x.slots) {
		x.resize(max(minIndex, 2*len(x.slots)), mul)
	}
	x.place(slot[E]{k, e}, mul)
}

// place stores a slot in the first empty place. An entry whose key is 0 and an empty
// slot are told apart by the entry.
func (x *index[E]) place(s slot[E], mul uint64) {
	mask := uint64(len(x.slots) - 1)
	i := home(s.key, mul)
	for x.slots[i&mask].e != nil {
		i++
	}
	x.slots[i&mask] = s
}

// resize makes room for n slots, a power of two.
func (x *index[E]) resize(n int, mul uint64) {
	old := x.slots
	x.slots = make([]slot[E], n)
	for _, s := range old {
		if s.e != nil {
			x.place(s, mul)
		}
	}
}

// remove takes out the entry of a key that is there, moves up those that had to
// pass it by, and gives memory back when the table has become far too large.
func (x *index[E]) remove(k uint32, mul uint64) {
	mask := uint64(len(x.slots) - 1)
	hole := home(k, mul) & mask
	for x.slots[hole].key != k || x.slots[hole].e == nil {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; x.slots[i].e != nil; i = (i + 1) & mask {
		// The slot may move to the hole if its home is not between the two.
		if (i-home(x.slots[i].key, mul))&mask >= (i-hole)&mask {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = slot[E]{}
	switch x.n--; {
	case x.n == 0:
		x.slots = nil
	case 16*x.n < len(x.slots) && len(x.slots) > minIndex:
		x.resize(len(x.slots)/4, mul)
	}
}

// all yields every entry, in no particular order. None may be added or removed
// meanwhile.
func (x *index[E]) all() iter.Seq[*E] {
	return func(yield func(*E) bool) {
		for _, s := range x.slots {
			if s.e != nil && !yield(s.e) {
				return
			}
		}
	}
}
