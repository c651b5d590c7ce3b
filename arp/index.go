package arp

import (
	"iter"
	"math/bits"

	"github.com/outband/outband/ipv4"
)

// An index finds entries by address: an open-addressed hash table with linear
// probing, at most half full. With 100,000 entries the cost of a lookup is that
// of its cache misses; here there are two, one for the slot and one for the entry,
// where Go's map takes four or five.
type index struct {
	slots []slot // length a power of two
	shift uint   // 64 - log2(len(slots))
	n     int    // entries
	// mul is a random odd number, so that nobody can choose addresses that
	// collide.
	mul uint64
}

// A slot is empty if its entry is nil. The key stands beside the entry so that
// those of others are passed over without a look at them.
type slot struct {
	key uint32
	e   *Entry
}

const minIndex = 32

// newIndex returns an empty index; random decides where addresses go.
func newIndex(random uint64) index {
	x := index{mul: random | 1}
	x.resize(minIndex)
	return x
}

// home returns the slot at which the search for a key begins.
func (x *index) home(k uint32) uint64 {
	h := uint64(k) * x.mul
	h ^= h >> 32
	return h * 0x9e3779b97f4a7c15 >> x.shift
}

// get returns the entry with the address, nil if there is none.
func (x *index) get(ip ipv4.Addr) *Entry {
	k, mask := key(ip), uint64(len(x.slots)-1)
	for i := x.home(k); ; i++ {
		s := &x.slots[i&mask]
		if s.key == k || s.e == nil {
			return s.e
		}
	}
}

// put adds an entry whose address is not there yet. At each doubling all entries
// move: a millisecond or two at 65,536 entries, once.
func (x *index) put(e *Entry) {
	if x.n++; 2*x.n > len(x.slots) {
		x.resize(2 * len(x.slots))
	}
	x.place(slot{key(e.addr), e})
}

// place stores a slot in the first empty place.
func (x *index) place(s slot) {
	mask := uint64(len(x.slots) - 1)
	i := x.home(s.key)
	for x.slots[i&mask].e != nil {
		i++
	}
	x.slots[i&mask] = s
}

// resize makes room for n slots, a power of two.
func (x *index) resize(n int) {
	old := x.slots
	x.slots, x.shift = make([]slot, n), uint(65-bits.Len(uint(n)))
	for _, s := range old {
		if s.e != nil {
			x.place(s)
		}
	}
}

// remove takes out an entry that is there, and moves up those that had to pass it by.
func (x *index) remove(e *Entry) {
	mask := uint64(len(x.slots) - 1)
	hole := x.home(key(e.addr)) & mask
	for x.slots[hole].e != e {
		hole = (hole + 1) & mask
	}
	x.n--
	for i := (hole + 1) & mask; x.slots[i].e != nil; i = (i + 1) & mask {
		// The slot may move to the hole if its home is not between the two.
		if (i-x.home(x.slots[i].key))&mask >= (i-hole)&mask {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = slot{}
}

// all yields every entry. None may be added or removed meanwhile.
func (x *index) all() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, s := range x.slots {
			if s.e != nil && !yield(s.e) {
				return
			}
		}
	}
}
