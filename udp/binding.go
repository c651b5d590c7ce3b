package udp

// A Binding is one socket's claim to a port. The socket fills in the exported
// fields before Bind; from then until Unbind they are to be read only, and
// change through the Table's methods. T is what Lookup returns, usually a
// pointer to the socket.
type Binding[T any] struct {
	Owner T
	// Local is the address that datagrams must be for; zero takes all.
	Local [4]byte
	// Remote and RemotePort are the connected peer, zero if there is none. Bind
	// clears them.
	Remote                [4]byte
	LocalPort, RemotePort uint16
	// Device is the interface that datagrams must arrive on (SO_BINDTODEVICE);
	// 0 takes all.
	Device int32
	// UID is the socket's owner; only sockets of one owner share a port by
	// SO_REUSEPORT.
	UID uint32
	// ReuseAddr and ReusePort are SO_REUSEADDR and SO_REUSEPORT, socket(7).
	ReuseAddr, ReusePort bool

	connected bool
	seq       uint64    // when it was bound: higher is later
	rank      uint64    // when it was bound or got its present local address
	slot      *slot[T]  // nil: not bound
	chain     *chain[T] // of its local address
	group     *group[T] // SO_REUSEPORT; nil: none, or left
	index     int       // in group.members
	links     [numLists]link[T]
}

// Bound reports whether the binding is in a table.
func (b *Binding[T]) Bound() bool { return b.slot != nil }

// Connected reports whether the binding has a peer.
func (b *Binding[T]) Connected() bool { return b.connected }

// full reports whether the peer is a whole one. A socket may be connected to
// port 0, and then takes datagrams from all of its peer's ports.
func (b *Binding[T]) full() bool { return b.connected && b.RemotePort != 0 }

// special reports whether an unconnected binding does not take all datagrams
// for its local address, or scores more than one that does.
func (b *Binding[T]) special() bool { return b.Device != 0 || b.connected }

// takesDevice reports whether the binding takes datagrams that arrived on dev.
func (b *Binding[T]) takesDevice(dev int32) bool { return b.Device == 0 || b.Device == dev }

// A slot is what one port is bound by.
type slot[T any] struct {
	all       list[T]  // every binding, latest bound first
	wild      chain[T] // those to 0.0.0.0
	n         int      // bindings
	strict    int      // of them without ReuseAddr
	chains    int      // local addresses other than 0.0.0.0
	conns     int      // bindings with a whole peer and a local address
	wildConns int      // those with a whole peer and no local address
}

// A chain is the bindings to one port and local address.
type chain[T any] struct {
	members list[T] // every one, latest bound first
	ready   list[T] // those without a whole peer, highest rank first
	special int     // of those in ready
	strict  int     // of members, those without ReuseAddr
}

// A group is the bindings that share an address, a port, a device and a user
// by SO_REUSEPORT. Linux' struct sock_reuseport.
type group[T any] struct {
	members  []*Binding[T] // none connected
	hadConns bool          // one was connected while it was a member
}

func (g *group[T]) add(b *Binding[T]) {
	b.group, b.index = g, len(g.members)
	g.members = append(g.members, b)
}

func (g *group[T]) remove(b *Binding[T]) {
	last := len(g.members) - 1
	g.members[b.index] = g.members[last]
	g.members[b.index].index = b.index
	g.members[last] = nil
	g.members = g.members[:last]
	b.group = nil
}

// The lists that a binding is in, at most one of each kind.
const (
	inSlot   = iota // slot.all
	inChain         // chain.members
	inReady         // chain.ready, or the list of those with the same peer
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
