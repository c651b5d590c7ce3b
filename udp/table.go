package udp

import (
	"iter"
	"math/bits"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// Linux' ephemeral ports (ip_local_port_range in ip-sysctl.rst).
const (
	DefaultPortLow  = 32768
	DefaultPortHigh = 60999
)

var anyAddr ipv4.Addr // 0.0.0.0, INADDR_ANY

// A Table finds the socket that a datagram is for. It is not safe for
// concurrent use: the stack's receive lock guards it.
//
// Its rules are Linux' (net/ipv4/udp.c, net/core/sock_reuseport.c). Where Linux' hash chains grow with the
// number of sockets on a port, the Table goes on by index: a Lookup takes as
// long with 100,000 sockets as with ten.
type Table[T any] struct {
	flags    [1 << 16]uint8 // of each port's slot, 0 if it has none
	ports    [1 << 16]*slot[T]
	peers    index[Binding[T]] // whole peers -> latest connected, linked by inReady
	locals   index[chain[T]]   // local addresses other than 0.0.0.0
	used     portSet           // ports with a slot
	reserved portSet           // not to be chosen as ephemeral ports
	lo, hi   uint16
	n        int
	changes  uint64 // of what Each goes by
	clock    uint64 // the last seq or rank given out
	flow     secret // of the choice within a group
	rnd      func() uint64
	cpu      func() int32 // that the caller runs on
}

// NewTable returns an empty table. rnd returns unpredictable numbers: ephemeral
// ports (RFC 6056) and hash keys come from it.
func NewTable[T any](rnd func() uint64) *Table[T] {
	t := &Table[T]{lo: DefaultPortLow, hi: DefaultPortHigh, rnd: rnd, cpu: func() int32 { return -1 }}
	t.peers.secret = secret{rnd(), rnd()}
	t.locals.secret = secret{rnd(), rnd()}
	t.flow = secret{rnd(), rnd()}
	return t
}

// Len returns the number of bindings.
func (t *Table[T]) Len() int { return t.n }

// Changes returns a number that grows whenever Each may find others than before.
func (t *Table[T]) Changes() uint64 { return t.changes }

// All yields every binding, by port, latest bound first. The table must not
// change meanwhile.
func (t *Table[T]) All() iter.Seq[*Binding[T]] {
	return func(yield func(*Binding[T]) bool) {
		for w, set := range t.used {
			for ; set != 0; set &= set - 1 {
				s := t.ports[w<<6+bits.TrailingZeros64(set)]
				for b := s.all.head; b != nil; b = b.links[inSlot].next {
					if !yield(b) {
						return
					}
				}
			}
		}
	}
}

// At yields the bindings to a port whose datagrams come, latest bound first. The table must
// not change meanwhile.
func (t *Table[T]) At(port uint16) iter.Seq[*Binding[T]] {
	return func(yield func(*Binding[T]) bool) {
		s := t.ports[port]
		if s == nil {
			return
		}
		for b := s.all.head; b != nil; b = b.links[inSlot].next {
			if !b.reserved && !yield(b) {
				return
			}
		}
	}
}

// Bind claims b.LocalPort at b.Local for b, unconnected. With port 0 it chooses
// an ephemeral port at random and writes it to b.LocalPort. The errors are
// bind(2)'s: EINVAL if b is bound already, EADDRINUSE if another binding does
// not let b have the port, or no ephemeral port is left. The table keeps b until
// Unbind.
//
// It is Reserve and Publish in one.
func (t *Table[T]) Bind(b *Binding[T]) unix.Errno {
	if e := t.Reserve(b); e != 0 {
		return e
	}
	t.Publish(b)
	return 0
}

// Reserve is the first half of Bind: b keeps others from the port as if it were bound,
// but no datagram is for it. Publish or Unbind is to follow. Meanwhile only SetReuse,
// SetCPU and Attach may be called for it.
func (t *Table[T]) Reserve(b *Binding[T]) unix.Errno {
	if b.slot != nil {
		return unix.EINVAL
	}
	if b.LocalPort == 0 {
		port, ok := t.ephemeral(b)
		if !ok {
			return unix.EADDRINUSE
		}
		b.LocalPort = port
	} else if t.conflicts(b, b.LocalPort) {
		return unix.EADDRINUSE
	}
	b.Remote, b.RemotePort, b.connected = anyAddr, 0, false

	s := t.ports[b.LocalPort]
	if s == nil {
		s = new(slot[T])
		t.ports[b.LocalPort] = s
		t.used.add(b.LocalPort)
	}
	t.clock++
	b.seq, b.slot, b.reserved = t.clock, s, true
	t.n++
	s.n++
	s.all.push(b, inSlot)
	t.enterChain(b)
	if !b.ReuseAddr {
		s.strict++
		b.chain.strict++
	}
	return 0
}

// Publish is the second half of Bind: from now on datagrams are for b. Nothing happens
// if b is not reserved.
func (t *Table[T]) Publish(b *Binding[T]) {
	if !b.reserved {
		return
	}
	b.reserved = false
	joinGroup(b)
	t.enterLookup(b)
}

// Unbind gives the port up, or the reservation of it. Nothing happens if b has neither.
func (t *Table[T]) Unbind(b *Binding[T]) {
	s := b.slot
	if s == nil {
		return
	}
	if !b.reserved { // else it is in neither, but for a group of its own: see Attach
		t.leaveLookup(b)
		leaveGroup(b)
	}
	if !b.ReuseAddr {
		s.strict--
		b.chain.strict--
	}
	t.leaveChain(b)
	t.flags[b.LocalPort] = s.flags()
	s.all.remove(b, inSlot)
	s.n--
	t.n--
	if s.n == 0 {
		t.ports[b.LocalPort] = nil
		t.used.remove(b.LocalPort)
	}
	b.Remote, b.RemotePort, b.connected, b.slot, b.reserved = anyAddr, 0, false, nil, false
}

// Connect sets b's peer, and its local address, which the route to the peer
// gives if the socket is bound to none. From now on b takes datagrams from its
// peer only, and takes them before any binding that has none. A peer's port of 0
// stands for all its ports. It leaves its SO_REUSEPORT group. EINVAL if b is not
// bound or remote is 0.0.0.0.
func (t *Table[T]) Connect(b *Binding[T], local, remote ipv4.Addr, rport uint16) unix.Errno {
	if !b.Bound() || remote == anyAddr {
		return unix.EINVAL
	}
	if b.group != nil && b.Local == local {
		b.group.hadConns = true // if the address changes, Linux has b leave first
	}
	t.leaveLookup(b)
	leaveGroup(b)
	t.move(b, local)
	b.Remote, b.RemotePort, b.connected = remote, rport, true
	t.enterLookup(b)
	return 0
}

// Disconnect takes b's peer away (connect(2) with AF_UNSPEC), and sets its local
// address: 0.0.0.0 unless the socket was bound to one. EINVAL if b is not bound.
//
// A binding with SO_REUSEPORT is in a group again then. (In Linux it stays
// out, and may take all that the group's members shared.) Linux also makes the
// socket forget its device: the caller is to Rebind.
func (t *Table[T]) Disconnect(b *Binding[T], local ipv4.Addr) unix.Errno {
	if !b.Bound() {
		return unix.EINVAL
	}
	t.leaveLookup(b)
	if b.Local != local {
		leaveGroup(b)
	}
	t.move(b, local)
	if b.group != nil {
		b.group.count(b, -1)
	}
	b.Remote, b.RemotePort, b.connected = anyAddr, 0, false
	if b.group != nil {
		b.group.count(b, 1)
	}
	joinGroup(b)
	t.enterLookup(b)
	return 0
}

// Rebind sets b's device, and so its SO_REUSEPORT group. (In Linux it is in none
// then.) As in Linux it is not asked whether that makes a conflict. EINVAL if b is not bound.
func (t *Table[T]) Rebind(b *Binding[T], device int32) unix.Errno {
	if !b.Bound() {
		return unix.EINVAL
	}
	if b.Device != device {
		leaveGroup(b)
	}
	if b.full() { // keeps its place among those with the same peer
		b.Device = device
		t.changes++
		return 0
	}
	t.leaveLookup(b)
	b.Device = device
	joinGroup(b)
	t.enterLookup(b)
	return 0
}

// SetReuse changes b's options, whether it is bound or not. As in Linux it is
// not asked whether that makes a conflict, and b is in an SO_REUSEPORT group if
// it had the option when it was bound: without it now, it shares nothing, but
// keeps its place.
func (t *Table[T]) SetReuse(b *Binding[T], addr, port bool) {
	if b.slot != nil && b.ReuseAddr != addr {
		d := 1
		if addr {
			d = -1
		}
		b.slot.strict += d
		b.chain.strict += d
	}
	b.ReuseAddr, b.ReusePort = addr, port
}

// move gives b, which is out of the lookup structures, another local address.
func (t *Table[T]) move(b *Binding[T], local ipv4.Addr) {
	if b.Local == local {
		return
	}
	if !b.ReuseAddr {
		b.chain.strict--
	}
	t.leaveChain(b)
	b.Local = local
	t.enterChain(b) // the caller's enterLookup renews the flags
	if !b.ReuseAddr {
		b.chain.strict++
	}
}

// enterChain puts b into the chain of its local address, with a new rank.
func (t *Table[T]) enterChain(b *Binding[T]) {
	c := &b.slot.wild
	if b.Local != anyAddr {
		k := localKey(b.Local, b.LocalPort)
		if c = t.locals.get(k); c == nil {
			c = new(chain[T])
			t.locals.put(k, c)
			b.slot.chains++
		}
	}
	t.clock++
	b.rank, b.chain = t.clock, c
	c.members.insert(b, inChain, boundLater)
}

func (t *Table[T]) leaveChain(b *Binding[T]) {
	b.chain.members.remove(b, inChain)
	if b.chain.members.head == nil && b.Local != anyAddr {
		t.locals.delete(localKey(b.Local, b.LocalPort))
		b.slot.chains--
	}
	b.chain = nil
}

// enterLookup makes Lookup find b.
func (t *Table[T]) enterLookup(b *Binding[T]) {
	defer t.refresh(b)
	t.changes++
	if !b.full() {
		b.chain.ready.insert(b, inReady, ranksHigher)
		if b.special() {
			b.chain.special++
		}
		return
	}
	k := peerKey(b.Local, b.LocalPort, b.Remote, b.RemotePort)
	l := list[T]{t.peers.get(k)}
	l.push(b, inReady)
	t.peers.put(k, b)
	if b.Local == anyAddr {
		b.slot.wildConns++
	} else {
		b.slot.conns++
	}
}

// leaveLookup makes Lookup not find b. It is to be called before anything
// changes that enterLookup went by.
func (t *Table[T]) leaveLookup(b *Binding[T]) {
	defer t.refresh(b)
	t.changes++
	if !b.full() {
		b.chain.ready.remove(b, inReady)
		if b.special() {
			b.chain.special--
		}
		return
	}
	k := peerKey(b.Local, b.LocalPort, b.Remote, b.RemotePort)
	l := list[T]{t.peers.get(k)}
	l.remove(b, inReady)
	if l.head == nil {
		t.peers.delete(k)
	} else {
		t.peers.put(k, l.head)
	}
	if b.Local == anyAddr {
		b.slot.wildConns--
	} else {
		b.slot.conns--
	}
}

// refresh renews what is kept of b's chain and port for Lookup.
func (t *Table[T]) refresh(b *Binding[T]) {
	b.chain.refresh()
	t.flags[b.LocalPort] = b.slot.flags()
}
