// Package groupflow remembers which sockets multicasts and broadcasts to an address and a
// port are for. A datagram to one that is known costs about what a unicast one costs,
// however many groups there are and whoever sends it: nothing is kept by source, since
// sources can be forged.
//
// It is on the way of each such datagram: nothing here calls back, and what is found
// allocates nothing. S is what stands for a socket: a pointer.
package groupflow

import (
	"math/bits"
	"slices"

	"github.com/outband/outband/ipv4"
)

// Flows are the flows that a lane remembers. The lane's lock is held for all of it.
type Flows[S any] struct {
	slots  []Flow[S] // none, or a power of two, at most half of them used
	shift  uint      // 64 - log2(len(slots))
	used   int       // slots used
	held   int       // sockets that they name
	secret [2]uint64 // the second is odd
	max    Limits
	drops  uint64 // how often all were forgotten since there were too many
}

// Limits bound what is remembered.
type Limits struct {
	Flows   int
	Sockets int // that the flows name: one flow more may be above
}

// A Key is the address, the port and the interface that datagrams of a flow come to. Its
// fields are numbers: it is passed in registers, which an array is not.
type Key struct {
	dst   uint32
	Port  uint16
	Index int32
}

// KeyOf returns the key of an address, a port and the index of an interface.
func KeyOf(dst ipv4.Addr, port uint16, index int32) Key { return Key{dst.Uint32(), port, index} }

// Dst returns the key's address.
func (k Key) Dst() ipv4.Addr { return ipv4.AddrFrom(k.dst) }

const minSlots = 1 << 8

// Init makes ready. random returns unpredictable bits.
func (c *Flows[S]) Init(max Limits, random func() uint64) {
	c.secret, c.max = [2]uint64{random(), random() | 1}, max
}

// Fit makes room for the flows of some memberships.
func (c *Flows[S]) Fit(members int) {
	switch n := len(c.slots); {
	case members == 0 && n > minSlots:
		*c = Flows[S]{secret: c.secret, max: c.max, drops: c.drops}
	case members == 0:
		c.clear() // which lets go of sockets that are closed; who joins next finds it made
	case n < 2*members:
		c.grow(2 * members)
	}
}

// clear forgets all.
func (c *Flows[S]) clear() {
	clear(c.slots)
	c.used, c.held = 0, 0
}

// grow makes room for n flows, or for as many as are remembered at most.
func (c *Flows[S]) grow(n int) {
	n = 1 << bits.Len(uint(max(min(n, 2*c.max.Flows), minSlots)-1))
	if n <= len(c.slots) {
		return
	}
	old := c.slots
	c.slots, c.shift = make([]Flow[S], n), uint(65-bits.Len(uint(n)))
	for i := range old {
		if f := &old[i]; f.gen != 0 {
			*c.place(f.Key) = *f
		}
	}
}

// place returns the slot of a flow, or the free one where it belongs.
func (c *Flows[S]) place(k Key) *Flow[S] {
	h := uint64(k.dst)<<32 | uint64(k.Port)<<16
	h = (h ^ uint64(uint32(k.Index))*0x9e3779b97f4a7c15 ^ c.secret[0]) * c.secret[1]
	h = (h ^ h>>32) * 0x9e3779b97f4a7c15
	for i := h >> c.shift; ; i++ {
		f := &c.slots[i&uint64(len(c.slots)-1)]
		if f.gen == 0 || f.Key == k {
			return f
		}
	}
}

// Find returns the flow of that key, nil if it is not remembered. A flow holds while the
// generation is that which it was made in.
func (c *Flows[S]) Find(k Key, gen uint64) *Flow[S] {
	if len(c.slots) == 0 {
		return nil
	}
	if f := c.place(k); f.gen == gen {
		return f
	}
	return nil
}

// New returns the flow of a key that is not remembered, without sockets, for Flow.Add and
// then Filled. It is remembered from now on, until too many are. gen is not 0.
func (c *Flows[S]) New(k Key, gen uint64) *Flow[S] {
	var f *Flow[S]
	if len(c.slots) > 0 {
		f = c.place(k)
	}
	switch {
	case c.held > c.max.Sockets || (f == nil || f.gen == 0) && c.used >= c.max.Flows:
		c.clear()
		c.drops++
	case 2*(c.used+1) > len(c.slots):
		c.grow(2 * len(c.slots))
	}
	f = c.place(k)
	if f.gen == 0 {
		c.used++
	}
	c.held -= f.count()
	clear(f.All)
	*f = Flow[S]{Key: k, gen: gen, All: f.All[:0]}
	return f
}

// Filled takes in that all sockets of a flow have been added. anySource says that its
// datagrams are taken whatever their source.
func (c *Flows[S]) Filled(f *Flow[S], anySource bool) {
	if cap(f.All) > 2*len(f.All) {
		f.All = slices.Clone(f.All)
	}
	c.held += f.count()
	f.Plain = f.some == nil && anySource
}

// Len returns how many flows are remembered, and how many sockets they name.
func (c *Flows[S]) Len() (flows, sockets int) { return c.used, c.held }

// Drops returns how often all flows were forgotten since there were too many.
func (c *Flows[S]) Drops() uint64 { return c.drops }
