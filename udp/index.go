package udp

import (
	"encoding/binary"
	"math/bits"

	"github.com/outband/outband/ipv4"
)

// A key names a local address and port, and a peer's if there is one.
type key struct {
	addrs uint64 // local, remote
	ports uint32 // remote, local
}

func peerKey(local ipv4.Addr, lport uint16, remote ipv4.Addr, rport uint16) key {
	return key{uint64(binary.NativeEndian.Uint32(local[:]))<<32 | uint64(binary.NativeEndian.Uint32(remote[:])),
		uint32(rport)<<16 | uint32(lport)}
}

func localKey(local ipv4.Addr, lport uint16) key {
	return key{uint64(binary.NativeEndian.Uint32(local[:])) << 32, uint32(lport)}
}

// A secret keys the hashes, so that nobody can choose addresses that collide.
type secret struct{ a, b uint64 }

func (s *secret) hash(k key) uint64 {
	hi, lo := bits.Mul64(k.addrs^s.a, uint64(k.ports)^s.b)
	return hi ^ lo
}

// next returns another secret, as random as s (splitmix64).
func (s secret) next() secret {
	for _, v := range [...]*uint64{&s.a, &s.b} {
		*v += 0x9e3779b97f4a7c15
		*v = (*v ^ *v>>30) * 0xbf58476d1ce4e5b9
		*v = (*v ^ *v>>27) * 0x94d049bb133111eb
		*v ^= *v >> 31
	}
	return s
}

// even is hash with all its bits stirred, to divide flows among several: ports
// in a row come to all of them.
func (s *secret) even(k key) uint32 {
	h := s.hash(k)
	h = (h ^ h>>29) * 0x9e3779b97f4a7c15 // the golden ratio's bits
	return uint32(h >> 32)
}

// An index maps keys to pointers: a hash table with linear probing, at most
// half full. It is a map[key]*V that is faster to look up in.
type index[V any] struct {
	entries []entry[V] // a power of two; nil while empty
	n       int
	secret  secret
	chosen  int // n when secret was
}

type entry[V any] struct {
	key key
	v   *V // nil: free
}

const minIndex = 16 // entries in the smallest index

// maxProbes is how far from its home an entry may come to lie before the index takes
// another secret. hash is quick, and leaves neighbours neighbours, which caches like; but
// with one secret in a hundred keys in a row, such as the peers of one port, crowd in few
// places. With a good one few lie that far, and only where there are many.
const maxProbes = 32

func (x *index[V]) get(k key) *V {
	mask := uint64(len(x.entries) - 1)
	if x.n == 0 {
		return nil
	}
	for i := x.secret.hash(k) & mask; ; i = (i + 1) & mask {
		if e := &x.entries[i]; e.v == nil || e.key == k {
			return e.v
		}
	}
}

// put sets the value of k, not nil.
func (x *index[V]) put(k key, v *V) {
	if 2*(x.n+1) > len(x.entries) {
		x.resize(max(minIndex, 2*len(x.entries)))
	}
	e, far := x.place(k)
	if far > maxProbes && x.n >= 2*x.chosen { // a secret is chosen seldom, whatever the keys are
		x.secret, x.chosen = x.secret.next(), x.n
		x.resize(len(x.entries))
		e, _ = x.place(k)
	}
	if e.v == nil {
		x.n++
	}
	*e = entry[V]{k, v}
}

// place returns the entry of k, or the free one where it belongs, and how far that is
// from its home.
func (x *index[V]) place(k key) (e *entry[V], far int) {
	mask := uint64(len(x.entries) - 1)
	for i := x.secret.hash(k) & mask; ; i = (i + 1) & mask {
		if e := &x.entries[i]; e.v == nil || e.key == k {
			return e, far
		}
		far++
	}
}

func (x *index[V]) delete(k key) {
	if x.n == 0 {
		return
	}
	mask := uint64(len(x.entries) - 1)
	i := x.secret.hash(k) & mask
	for ; x.entries[i].key != k || x.entries[i].v == nil; i = (i + 1) & mask {
		if x.entries[i].v == nil {
			return
		}
	}
	// Entries behind the gap move into it, unless that is before their home.
	for j := (i + 1) & mask; x.entries[j].v != nil; j = (j + 1) & mask {
		home := x.secret.hash(x.entries[j].key) & mask
		if (j-home)&mask >= (j-i)&mask {
			x.entries[i] = x.entries[j]
			i = j
		}
	}
	x.entries[i] = entry[V]{}
	x.n--
	if len(x.entries) > minIndex && 8*x.n < len(x.entries) {
		x.resize(len(x.entries) / 2)
	}
}

func (x *index[V]) resize(size int) {
	old := x.entries
	x.entries = make([]entry[V], size)
	for _, e := range old {
		if e.v != nil {
			to, _ := x.place(e.key)
			*to = e
		}
	}
}
