package ipv4

import (
	"math/bits"
	"net/netip"
	"slices"
)

// A routeNode is one level of a trie that takes a byte of the address at a
// time, so a lookup visits five nodes at most. What a byte can lead to is told
// by bits, one per value, and stands in a slice that has room only for the bits
// set. A prefix that is alone below a byte needs no node of its own.
//
// A node is never changed once it can be seen: a change copies the nodes on
// the way to it. That is why a table is cloned by copying its root, and why a
// lookup needs no lock.
type routeNode struct {
	// own has a bit for each prefix that ends within this byte, 0 to 7 bits
	// of it. Bit 1 is the prefix of no bits, bits 2 and 3 those of one bit,
	// and so on: the children of i are 2i and 2i+1, as in a heap.
	own bitset
	// below has a bit for each byte that has something longer below it.
	below   bitset
	entries []routeEntry // one for each bit of own, in order
	kids    []routeKid   // one for each bit of below, in order
}

// A routeEntry is the routes of one prefix, in the order of compareRoutes.
type routeEntry struct {
	key    prefixKey
	routes []Route
}

// A routeKid is what stands below a byte: a node, or a single entry.
type routeKid struct {
	node *routeNode
	leaf *routeEntry
}

// A prefixKey is a prefix in numbers: the address, and how many of its bits.
type prefixKey struct {
	addr uint32
	bits uint8
}

func keyOf(p netip.Prefix) prefixKey {
	return prefixKey{Addr(p.Addr().As4()).Uint32(), uint8(p.Bits())}
}

// byteAt returns the byte that a node at this depth looks at.
func (k prefixKey) byteAt(depth int) uint8 { return uint8(k.addr >> (24 - 8*depth)) }

// endsAt reports whether the prefix ends within the byte of a node at depth.
func (k prefixKey) endsAt(depth int) bool { return int(k.bits/8) == depth }

// index returns the prefix' bit in the node in which it ends.
func (k prefixKey) index() uint8 {
	n := k.bits % 8
	if n == 0 {
		return 1
	}
	return 1<<n | k.byteAt(int(k.bits/8))>>(8-n)
}

// covers holds, for each byte, the bits of all prefixes in a node that hold it.
var covers = func() (c [256]bitset) {
	for b := range c {
		for n := range 8 {
			c[b].set(uint8(1<<n | b>>(8-n)))
		}
	}
	return c
}()

// A wanted route is one over iface (0 for any), of this scope or a narrower one.
type wanted struct {
	iface int
	scope uint8
}

// lookup returns the best route for dst that is wanted, nil for none.
func (n *routeNode) lookup(dst Addr, want wanted) *Route {
	if n == nil {
		return nil
	}
	var path [5]*routeNode
	var at [5]uint8 // the fifth node has no byte to look at: 0 does, as it holds bit 1 alone
	copy(at[:], dst[:])
	depth := 0
	for {
		path[depth] = n
		if depth == 4 || !n.below.has(at[depth]) {
			break
		}
		kid := &n.kids[n.below.rank(at[depth])]
		if kid.leaf != nil {
			if r := kid.leaf.match(dst.Uint32(), want); r != nil {
				return r
			}
			break
		}
		n = kid.node
		depth++
	}
	for ; depth >= 0; depth-- {
		if r := path[depth].longest(at[depth], want); r != nil {
			return r
		}
	}
	return nil
}

// longest returns the best route among the node's own prefixes that hold b.
func (n *routeNode) longest(b uint8, want wanted) *Route {
	for w := 3; w >= 0; w-- {
		for m := n.own[w] & covers[b][w]; m != 0; {
			i := bits.Len64(m) - 1
			m &^= 1 << i
			if r := n.entries[n.own.rank(uint8(w*64+i))].pick(want); r != nil {
				return r
			}
		}
	}
	return nil
}

// match is pick for an entry that may be for other addresses.
func (e *routeEntry) match(dst uint32, want wanted) *Route {
	if (dst^e.key.addr)&maskOf(int(e.key.bits)) != 0 {
		return nil
	}
	return e.pick(want)
}

// pick returns the first route that is wanted.
func (e *routeEntry) pick(want wanted) *Route {
	for i := range e.routes {
		if r := &e.routes[i]; (want.iface == 0 || r.Iface == want.iface || r.Iface == 0) && r.Scope >= want.scope {
			return r
		}
	}
	return nil
}

// routes returns the routes of exactly the prefix k.
func (n *routeNode) routes(k prefixKey) []Route {
	for depth := 0; n != nil; depth++ {
		if k.endsAt(depth) {
			if i := k.index(); n.own.has(i) {
				return n.entries[n.own.rank(i)].routes
			}
			return nil
		}
		b := k.byteAt(depth)
		if !n.below.has(b) {
			return nil
		}
		kid := n.kids[n.below.rank(b)]
		if kid.leaf != nil {
			if kid.leaf.key == k {
				return kid.leaf.routes
			}
			return nil
		}
		n = kid.node
	}
	return nil
}

// with returns a copy of the node, which stands at depth, in which e is what
// there is for its prefix. Without routes the prefix, which must be there, is
// taken out.
func (n *routeNode) with(depth int, e routeEntry) *routeNode {
	c := *n
	if e.key.endsAt(depth) {
		c.entries = put(&c.own, c.entries, e.key.index(), e, len(e.routes) > 0)
		return &c
	}
	b := e.key.byteAt(depth)
	var kid routeKid
	if c.below.has(b) {
		kid = c.kids[c.below.rank(b)].with(depth+1, e)
	} else {
		kid = leafOf(e)
	}
	c.kids = put(&c.below, c.kids, b, kid, kid != routeKid{})
	return &c
}

// with is routeNode.with for what stands below a byte: the empty kid if nothing
// is left.
func (k routeKid) with(depth int, e routeEntry) routeKid {
	node := k.node
	if k.leaf != nil {
		if k.leaf.key == e.key {
			return leafOf(e)
		}
		node = (&routeNode{}).with(depth, *k.leaf)
	}
	return node.with(depth, e).asKid()
}

// leafOf returns an entry as a kid, the empty kid if it has no routes.
func leafOf(e routeEntry) routeKid {
	if len(e.routes) == 0 {
		return routeKid{}
	}
	return routeKid{leaf: &e}
}

// asKid returns the node, or what stands for it if it holds no more than one
// prefix. It holds one at least: before a node is empty it has become a leaf.
func (n *routeNode) asKid() routeKid {
	switch {
	case len(n.entries) == 1 && len(n.kids) == 0:
		return routeKid{leaf: &n.entries[0]}
	case len(n.entries) == 0 && len(n.kids) == 1 && n.kids[0].leaf != nil:
		return n.kids[0]
	}
	return routeKid{node: n}
}

// appendAll appends all routes below the node.
func (n *routeNode) appendAll(all []Route) []Route {
	if n == nil {
		return all
	}
	for i := range n.entries {
		all = append(all, n.entries[i].routes...)
	}
	for _, kid := range n.kids {
		if kid.leaf != nil {
			all = append(all, kid.leaf.routes...)
		}
		all = kid.node.appendAll(all)
	}
	return all
}

// put returns a copy of s, which has an item for each bit of set, in which v is
// the item of bit i; or there is none if keep is false.
func put[T any](set *bitset, s []T, i uint8, v T, keep bool) []T {
	at, had := set.rank(i), set.has(i)
	switch {
	case keep && had:
		s = slices.Clone(s)
		s[at] = v
	case keep:
		set.set(i)
		s = slices.Concat(s[:at], []T{v}, s[at:])
	case had:
		set.clear(i)
		s = slices.Concat(s[:at], s[at+1:])
	}
	return s
}

// A bitset is a set of bytes.
type bitset [4]uint64

func (s *bitset) has(i uint8) bool { return s[i>>6]>>(i&63)&1 != 0 }
func (s *bitset) set(i uint8)      { s[i>>6] |= 1 << (i & 63) }
func (s *bitset) clear(i uint8)    { s[i>>6] &^= 1 << (i & 63) }

// rank returns how many members are less than i.
func (s *bitset) rank(i uint8) int {
	n := bits.OnesCount64(s[i>>6] & (1<<(i&63) - 1))
	for w := range i >> 6 {
		n += bits.OnesCount64(s[w])
	}
	return n
}
