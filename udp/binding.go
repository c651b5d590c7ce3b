package udp

import "github.com/outband/outband/ipv4"

// A Binding is one socket's claim to a port. The socket fills in the exported
// fields before Bind; from then until Unbind they are to be read only, and
// change through the Table's methods. T is what Lookup returns, usually a
// pointer to the socket.
type Binding[T any] struct {
	Owner T
	// Local is the address that datagrams must be for; zero takes all.
	Local ipv4.Addr
	// Remote and RemotePort are the connected peer, zero if there is none. Bind
	// clears them.
	Remote                ipv4.Addr
	LocalPort, RemotePort uint16
	// Device is the interface that datagrams must arrive on (SO_BINDTODEVICE);
	// 0 takes all.
	Device int32
	// UID is the socket's owner; only sockets of one owner share a port by
	// SO_REUSEPORT.
	UID uint32
	// ReuseAddr and ReusePort are SO_REUSEADDR and SO_REUSEPORT, socket(7).
	ReuseAddr, ReusePort bool
	// CPU is, plus one, the CPU whose datagrams the socket prefers
	// (SO_INCOMING_CPU); 0: none. SetCPU changes it.
	CPU int32

	connected bool
	links     [numLists]link[T]
	seq       uint64    // when it was bound: higher is later
	rank      uint64    // when it was bound or got its present local address
	slot      *slot[T]  // nil: not bound
	reserved  bool      // in slot and chain only, see Reserve
	chain     *chain[T] // of its local address
	group     *group[T] // nil: bound without SO_REUSEPORT, or connected since
	index     int32     // in group.members
}

// Bound reports whether the binding is in a table, and not only reserved there.
func (b *Binding[T]) Bound() bool { return b.slot != nil && !b.reserved }

// Connected reports whether the binding has a peer.
func (b *Binding[T]) Connected() bool { return b.connected }

// full reports whether the peer is a whole one. A socket may be connected to
// port 0, and then takes datagrams from all of its peer's ports.
func (b *Binding[T]) full() bool { return b.connected && b.RemotePort != 0 }

// special reports whether an unconnected binding does not take all datagrams
// for its local address, or scores more than one that does.
func (b *Binding[T]) special() bool { return b.Device != 0 || b.connected || b.CPU != 0 }

// takesDevice reports whether the binding takes datagrams that arrived on dev.
func (b *Binding[T]) takesDevice(dev int32) bool { return b.Device == 0 || b.Device == dev }

// A slot is what one port is bound by.
type slot[T any] struct {
	wild      chain[T] // bindings to 0.0.0.0
	all       list[T]  // every binding, latest bound first
	n         int      // bindings
	strict    int      // of them without ReuseAddr
	chains    int      // local addresses other than 0.0.0.0
	conns     int      // bindings with a whole peer and a local address
	wildConns int      // those with a whole peer and no local address
}

// What a port is bound by, in one byte, so that Lookup need not look where
// nothing is.
const (
	hasWild      = 1 << iota // bindings to 0.0.0.0 without a whole peer
	hasChains                // bindings to a local address
	hasConns                 // bindings with a whole peer and a local address
	hasWildConns             // those with a whole peer and no local address
)

func (s *slot[T]) flags() (f uint8) {
	for _, has := range [...]struct {
		n   int
		bit uint8
	}{{s.chains, hasChains}, {s.conns, hasConns}, {s.wildConns, hasWildConns}} {
		if has.n > 0 {
			f |= has.bit
		}
	}
	if s.wild.ready.head != nil {
		f |= hasWild
	}
	return f
}

// A chain is the bindings to one port and local address.
type chain[T any] struct {
	// simple is true if every datagram that comes to the chain is for owner:
	// the ordinary case, kept here to spare Lookup the way to the binding.
	simple  bool
	owner   T
	ready   list[T] // bindings without a whole peer, highest rank first
	special int     // of those in ready
	members list[T] // every binding, latest bound first
	strict  int     // of members, those without ReuseAddr
}

// refresh sets simple and owner after ready has changed.
func (c *chain[T]) refresh() {
	var none T
	b := c.ready.head
	if c.simple, c.owner = b != nil && b.group == nil && c.special == 0, none; c.simple {
		c.owner = b.Owner
	}
}

// The lists that a binding is in, at most one of each kind.
const (
	inReady  = iota // chain.ready, or the list of those with the same peer
	inChain         // chain.members
	inSlot          // slot.all
	numLists        // how many kinds there are
)

type link[T any] struct{ prev, next *Binding[T] }

// A list is a doubly linked list through Binding.links.
type list[T any] struct{ head *Binding[T] }

func (l *list[T]) push(b *Binding[T], kind int) {
	b.links[kind] = link[T]{next: l.head}
	if l.head != nil {
		l.head.links[kind].prev = b
	}
	l.head = b
}

// insert puts b before the first that is not newer than it.
func (l *list[T]) insert(b *Binding[T], kind int, newer func(a, b *Binding[T]) bool) {
	var prev *Binding[T]
	next := l.head
	for next != nil && newer(next, b) {
		prev, next = next, next.links[kind].next
	}
	if prev == nil {
		l.push(b, kind)
		return
	}
	b.links[kind] = link[T]{prev, next}
	prev.links[kind].next = b
	if next != nil {
		next.links[kind].prev = b
	}
}

func (l *list[T]) remove(b *Binding[T], kind int) {
	k := b.links[kind]
	if k.prev != nil {
		k.prev.links[kind].next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.links[kind].prev = k.prev
	}
	b.links[kind] = link[T]{}
}

func boundLater[T any](a, b *Binding[T]) bool  { return a.seq > b.seq }
func ranksHigher[T any](a, b *Binding[T]) bool { return a.rank > b.rank }
