// Package index has a hash table that finds things by a 32-bit number, such as an IPv4
// address, with fewer cache misses than Go's map.
package index

import "iter"

// A Seed decides where keys go. It is to be random, so that nobody can choose keys that
// collide, and the same in all calls of an Index's methods: many indexes share one.
type Seed uint64

// home returns the slot at which the search for a key begins, if the number of slots is
// taken as a mask. The lower half of the first product spreads keys that follow each
// other, the upper half those that differ in their first bytes; the second, with the bits
// of the golden ratio, mixes both.
func (s Seed) home(k uint32) uint64 {
	h := uint64(k) * uint64(s|1)
	h ^= h >> 32
	return h * 0x9e3779b97f4a7c15 >> 32
}

// An Index finds entries by key: an open-addressed hash table with linear probing, at
// most half full. The zero Index is empty. It is not safe for concurrent use.
//
// With 100,000 entries the cost of Get is that of its cache misses: here there are two,
// one for the slot and one for the entry, where Go's map takes four or five.
type Index[E any] struct {
	slots []slot[E] // length 0 or a power of two
	n     int       // entries
}

// A slot is empty if its entry is nil. The key stands beside the entry so that others are
// passed over without a look at them.
type slot[E any] struct {
	key uint32
	e   *E
}

const minSlots = 8

// Len returns the number of entries.
func (x *Index[E]) Len() int { return x.n }

// Get returns the entry of a key, nil if there is none.
func (x *Index[E]) Get(k uint32, seed Seed) *E {
	slots := x.slots
	if len(slots) == 0 {
		return nil
	}
	for i := seed.home(k); ; i++ {
		s := &slots[i&uint64(len(slots)-1)]
		if s.key == k || s.e == nil {
			return s.e
		}
	}
}

// Put adds an entry whose key is not there yet. At each doubling all entries move: a
// millisecond or two at 65,536 entries, once.
func (x *Index[E]) Put(k uint32, e *E, seed Seed) {
	if x.n++; 2*x.n > len(x.slots) {
		x.resize(max(minSlots, 2*len(x.slots)), seed)
	}
	x.place(slot[E]{k, e}, seed)
}

// place stores a slot in the first empty place. An entry whose key is 0 and an empty
// slot are told apart by the entry.
func (x *Index[E]) place(s slot[E], seed Seed) {
	mask := uint64(len(x.slots) - 1)
	i := seed.home(s.key)
	for x.slots[i&mask].e != nil {
		i++
	}
	x.slots[i&mask] = s
}

// resize makes room for n slots, a power of two.
func (x *Index[E]) resize(n int, seed Seed) {
	old := x.slots
	x.slots = make([]slot[E], n)
	for _, s := range old {
		if s.e != nil {
			x.place(s, seed)
		}
	}
}

// Remove takes out the entry of a key that is there, and gives memory back when the table
// has become far too large.
func (x *Index[E]) Remove(k uint32, seed Seed) {
	mask := uint64(len(x.slots) - 1)
	hole := seed.home(k) & mask
	for x.slots[hole].key != k || x.slots[hole].e == nil {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; x.slots[i].e != nil; i = (i + 1) & mask {
		// The slot may move to the hole if its home is not between the two.
		if (i-seed.home(x.slots[i].key))&mask >= (i-hole)&mask {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = slot[E]{}
	switch x.n--; {
	case x.n == 0:
		x.slots = nil
	case 16*x.n < len(x.slots) && len(x.slots) > minSlots:
		x.resize(len(x.slots)/4, seed)
	}
}

// All yields every entry, in no particular order. None may be added or removed
// meanwhile.
func (x *Index[E]) All() iter.Seq[*E] {
	return func(yield func(*E) bool) {
		for _, s := range x.slots {
			if s.e != nil && !yield(s.e) {
				return
			}
		}
	}
}
