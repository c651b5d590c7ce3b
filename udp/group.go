package udp

import (
	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// A group is the bindings that share an address, a port, a device and an owner
// by SO_REUSEPORT. Linux' struct sock_reuseport.
type group[T any] struct {
	members  []*Binding[T]
	hadConns bool    // one was connected, and left
	conns    int     // members that are connected: they were before there was a group
	cpus     int     // members that prefer a CPU
	program  Program // SO_ATTACH_REUSEPORT_CBPF; nil: the hash chooses
}

// A Program chooses the member of an SO_REUSEPORT group that a datagram is for:
// it returns the member's index, or a number beyond the last to leave it to the
// hash. It sees the payload, and what the view has beside it.
//
// Members are numbered from 0 in the order in which they were bound. When one
// leaves, the last takes its number.
type Program func(v *bpf.View) uint32

func (g *group[T]) add(b *Binding[T]) {
	b.group, b.index = g, int32(len(g.members))
	g.members = append(g.members, b)
	g.count(b, 1)
}

// remove takes b out, with whose place the last member fills the gap
// (__reuseport_detach_sock).
func (g *group[T]) remove(b *Binding[T]) {
	last := len(g.members) - 1
	g.members[b.index] = g.members[last]
	g.members[b.index].index = b.index
	g.members[last] = nil
	g.members = g.members[:last]
	g.count(b, -1)
	b.group = nil
}

func (g *group[T]) count(b *Binding[T], n int) {
	if b.CPU != 0 {
		g.cpus += n
	}
	if b.connected {
		g.conns += n
	}
}

// shares reports whether datagrams for b are the whole group's.
func (b *Binding[T]) shares() bool { return b.group != nil && b.ReusePort }

// joinGroup puts b, which is in its chain, into the group of those with its
// address, device and owner, if it has SO_REUSEPORT (udp_reuseport_add_sock). It
// stays in a group that it shares; one of its own, since a program was attached
// before it was bound, it gives up for another's.
func joinGroup[T any](b *Binding[T]) {
	if !b.ReusePort || b.connected || b.group != nil && len(b.group.members) > 1 {
		return
	}
	for c := b.chain.members.head; c != nil; c = c.links[inChain].next {
		if c == b || c.reserved || !c.ReusePort || c.Device != b.Device || c.UID != b.UID {
			continue
		}
		if c.group == nil { // it got the option after it was bound, or was connected
			new(group[T]).add(c)
		}
		if c.group != b.group {
			leaveGroup(b)
			c.group.add(b)
		}
		return
	}
	if b.group == nil {
		new(group[T]).add(b)
	}
}

func leaveGroup[T any](b *Binding[T]) {
	if b.group != nil {
		b.group.remove(b)
	}
}

// member chooses from a group by a hash of the flow: as Linux'
// reuseport_select_sock_by_hash the first from there on that is not connected,
// and that prefers this CPU, if any member prefers one.
func (t *Table[T]) member(g *group[T], dst ipv4.Addr, dport uint16, src ipv4.Addr, sport uint16) *Binding[T] {
	h := t.flow.even(peerKey(dst, dport, src, sport))
	n := len(g.members)
	at := int(scale(h, uint32(n)))
	b := g.members[at]
	if g.conns == 0 && g.cpus == 0 {
		return b
	}
	cpu := int32(-1)
	if g.cpus > 0 {
		cpu = t.cpu()
	}
	var first *Binding[T]
	for i := range n {
		c := g.members[(at+i)%n]
		switch {
		case c.connected:
		case g.cpus == 0, c.CPU == cpu+1:
			return c
		case first == nil:
			first = c
		}
	}
	if first != nil {
		return first
	}
	return b
}

// SetCPUSource has the table ask cpu for the CPU that the caller of Lookup runs
// on. It is called only where a binding has a CPU.
func (t *Table[T]) SetCPUSource(cpu func() int32) { t.cpu = cpu }

// SetCPU sets b's CPU, plus one, whether it is bound or not; 0: none.
func (t *Table[T]) SetCPU(b *Binding[T], cpu int32) {
	bound := b.Bound() && !b.full()
	if bound {
		t.leaveLookup(b)
	}
	if b.group != nil {
		b.group.count(b, -1)
	}
	b.CPU = cpu
	if b.group != nil {
		b.group.count(b, 1)
	}
	if bound {
		t.enterLookup(b)
	}
}

// Attach sets the program of b's group, in place of another, and returns the
// group's members. It may be attached before b is bound: then b founds a group
// with it, and cannot share a port by SO_REUSEPORT with sockets that are bound already. EINVAL: b was bound
// without SO_REUSEPORT, or is not bound and has not got it.
func (t *Table[T]) Attach(b *Binding[T], p Program) ([]*Binding[T], unix.Errno) {
	if b.group == nil {
		if b.Bound() || !b.ReusePort {
			return nil, unix.EINVAL
		}
		new(group[T]).add(b)
	}
	b.group.program = p
	return b.group.members, 0
}

// Detach takes the program of b's group away. ENOENT: there is none. EINVAL: b
// has not got SO_REUSEPORT.
func (t *Table[T]) Detach(b *Binding[T]) unix.Errno {
	switch {
	case b.group == nil && !b.ReusePort:
		return unix.EINVAL
	case b.group == nil || b.group.program == nil:
		return unix.ENOENT
	}
	b.group.program = nil
	return 0
}

// Steered reports whether a program chooses in b's group.
func (b *Binding[T]) Steered() bool { return b.group != nil && b.group.program != nil }

// Steer returns the owner of the socket that a unicast datagram is for that Lookup chose b for: the
// choice of the group's program, if there is one and it makes one, or else b's
// owner. A connected binding keeps what its peer sends.
func (t *Table[T]) Steer(b *Binding[T], v *bpf.View) T {
	if g := b.group; g != nil && g.program != nil && b.ReusePort && !b.connected {
		if i := g.program(v); i < uint32(len(g.members)) {
			return g.members[i].Owner
		}
	}
	return b.Owner
}
