package stack

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/udp"
)

// groupFlows remembers which sockets multicasts and broadcasts to an address and a port
// are for. A datagram to one that is known costs about what a unicast one costs,
// however many groups there are and whoever sends it: nothing is kept by source, since
// sources can be forged. Each lane has its own.
type groupFlows struct {
	slots   []groupFlow // none, or a power of two, at most half of them used
	shift   uint        // 64 - log2(len(slots))
	used    int         // slots used
	held    int         // sockets that they name
	secret  [2]uint64   // the second is odd
	maxUsed int         // how many flows are remembered
	maxHeld int         // how many sockets they name: one flow more may be above
	drops   uint64      // how often all were forgotten since there were too many
}

// A groupFlow is an address, a port and an interface, and whom datagrams to those are
// for.
type groupFlow struct {
	dst   ipv4.Addr
	dport uint16
	plain bool   // all are all, whatever the source
	index int32  // of the interface
	gen   uint64 // the flow holds while this is Stack.flowGeneration; 0: it is empty
	// all are the sockets that any source's datagrams are for; some, those of whom that
	// depends on the source, is nil if there are none.
	all  []*UDPSocket
	some *sourceFlows
}

// sourceFlows are sockets that take datagrams of some sources only.
type sourceFlows struct {
	excluding []*UDPSocket               // with a list of sources not to take: nearly all are for them
	including map[ipv4.Addr][]*UDPSocket // by the sources that they take
	connected map[flowPeer][]*UDPSocket  // by their peer
	count     int
}

// flowPeer is the peer of a connected socket; port 0 stands for all.
type flowPeer struct {
	addr ipv4.Addr
	port uint16
}

const minGroupFlows = 1 << 8

func (c *groupFlows) init(l *Limits, random func() uint64) {
	c.secret = [2]uint64{random(), random() | 1}
	c.maxUsed, c.maxHeld = l.GroupFlows, l.GroupFlowSockets
}

// memberCount is how many memberships all sockets have, and how often they have changed.
type memberCount struct {
	members int
	changes uint64
}

// membersChanged takes in that memberships have, and that there are d more of them. All
// lanes are locked.
func (s *Stack) membersChanged(d int) {
	s.flowing.changes++
	s.flowing.members += d
	for _, l := range *s.lanes.all.Load() {
		l.flows.fit(s.flowing.members)
	}
}

// fit makes room for the flows of some memberships.
func (c *groupFlows) fit(members int) {
	switch n := len(c.slots); {
	case members == 0 && n > minGroupFlows:
		*c = groupFlows{secret: c.secret, maxUsed: c.maxUsed, maxHeld: c.maxHeld, drops: c.drops}
	case members == 0:
		c.clear() // which lets go of sockets that are closed; who joins next finds it made
	case n < 2*members:
		c.grow(2 * members)
	}
}

// clear forgets all.
func (c *groupFlows) clear() {
	clear(c.slots)
	c.used, c.held = 0, 0
}

// grow makes room for n flows, or for as many as are remembered at most.
func (c *groupFlows) grow(n int) {
	n = 1 << bits.Len(uint(max(min(n, 2*c.maxUsed), minGroupFlows)-1))
	if n <= len(c.slots) {
		return
	}
	old := c.slots
	c.slots, c.shift = make([]groupFlow, n), uint(65-bits.Len(uint(n)))
	for i := range old {
		if f := &old[i]; f.gen != 0 {
			*c.place(f.dst, f.dport, f.index) = *f
		}
	}
}

// flowGeneration changes whenever a flow may be for other sockets. It is never 0.
func (s *Stack) flowGeneration() uint64 { return 1 + s.flowing.changes + s.udp.Changes() }

// place returns the slot of a flow, or the free one where it belongs.
func (c *groupFlows) place(dst ipv4.Addr, dport uint16, index int32) *groupFlow {
	h := uint64(binary.NativeEndian.Uint32(dst[:]))<<32 | uint64(dport)<<16
	h = (h ^ uint64(uint32(index))*0x9e3779b97f4a7c15 ^ c.secret[0]) * c.secret[1]
	h = (h ^ h>>32) * 0x9e3779b97f4a7c15
	for i := h >> c.shift; ; i++ {
		f := &c.slots[i&uint64(len(c.slots)-1)]
		if f.gen == 0 || f.dport == dport && f.dst == dst && f.index == index {
			return f
		}
	}
}

// findFlow returns the flow that a UDP datagram to a group belongs to, nil if that is not
// remembered.
func (l *lane) findFlow(a *arrival, payload []byte) *groupFlow {
	if len(l.flows.slots) == 0 || len(payload) < 4 || a.h.Protocol() != ipv4.ProtocolUDP || a.h.IsFragment() {
		return nil
	}
	f := l.flows.place(a.dst, binary.BigEndian.Uint16(payload[2:]), a.ifc.dev.Index)
	if f.gen != l.s.flowGeneration() {
		return nil
	}
	return f
}

// flowTo returns the flow of a datagram to a broadcast or a group, nil if no socket is
// bound to its port.
func (l *lane) flowTo(dst ipv4.Addr, dport uint16, index int32) *groupFlow {
	c := &l.flows
	if !l.s.udp.Taken(dport) {
		return nil
	}
	var f *groupFlow
	if len(c.slots) > 0 {
		f = c.place(dst, dport, index)
	}
	gen := l.s.flowGeneration()
	switch {
	case f != nil && f.gen == gen:
		return f
	case c.held > c.maxHeld || (f == nil || f.gen == 0) && c.used >= c.maxUsed:
		c.clear()
		c.drops++
	case 2*(c.used+1) > len(c.slots):
		c.grow(2 * len(c.slots))
	}
	f = c.place(dst, dport, index)
	l.fillFlow(f, groupFlow{dst: dst, dport: dport, index: index, gen: gen})
	return f
}

// fillFlow looks for the sockets that a flow is for.
func (l *lane) fillFlow(f *groupFlow, as groupFlow) {
	c := &l.flows
	if f.gen == 0 {
		c.used++
	}
	c.held -= f.count()
	clear(f.all)
	as.all = f.all[:0]
	*f = as
	multicast := f.dst.IsMulticast()
	l.s.udp.Each(f.dst, f.dport, f.index, func(b *udp.Binding[*UDPSocket]) {
		var m *groupMembership
		if multicast {
			o := &b.Owner.multicast
			if m = o.groups.get(f.dst, f.index); m == nil && o.membersOnly.Load() {
				return
			}
		}
		f.add(b, m)
	})
	if cap(f.all) > 2*len(f.all) {
		f.all = slices.Clone(f.all)
	}
	c.held += f.count()
	f.plain = f.some == nil && (!multicast || l.s.anySource(f.dst, f.index))
}

// add enters a socket, whose membership in the group is m, nil for none.
func (f *groupFlow) add(b *udp.Binding[*UDPSocket], m *groupMembership) {
	k := b.Owner
	if !b.Connected() && (m == nil || m.mode == igmp.Exclude && len(m.sources) == 0) {
		f.all = append(f.all, k)
		return
	}
	if f.some == nil {
		f.some = &sourceFlows{including: make(map[ipv4.Addr][]*UDPSocket), connected: make(map[flowPeer][]*UDPSocket)}
	}
	switch l := f.some; {
	case b.Connected():
		p := flowPeer{b.Remote, b.RemotePort}
		l.connected[p] = append(l.connected[p], k)
		l.count++
	case m.mode == igmp.Exclude:
		l.excluding = append(l.excluding, k)
		l.count++
	default:
		for _, src := range m.sources {
			l.including[src] = append(l.including[src], k)
		}
		l.count += len(m.sources)
	}
}

// count returns how many sockets the flow names.
func (f *groupFlow) count() int {
	if f.some != nil {
		return len(f.all) + f.some.count
	}
	return len(f.all)
}

// appendSome appends those of the sockets that take some sources only that take this one.
func (f *groupFlow) appendSome(sockets []*UDPSocket, src ipv4.Addr, sport uint16) []*UDPSocket {
	l := f.some
	sockets = append(sockets, l.including[src]...)
	lists := [...][]*UDPSocket{l.excluding, l.connected[flowPeer{src, 0}], nil}
	if sport != 0 {
		lists[2] = l.connected[flowPeer{src, sport}]
	}
	for _, list := range lists {
		for _, k := range list {
			if !f.dst.IsMulticast() || k.multicast.admits(f.dst, f.index, src) {
				sockets = append(sockets, k)
			}
		}
	}
	return sockets
}

// anySource reports whether the interface takes what anybody sends to a group.
func (s *Stack) anySource(group ipv4.Addr, index int32) bool {
	i := interfaceOf(s.routes.Net().ByIndex(index))
	if i == nil {
		return false
	}
	if g := i.groups.host.Lookup(group); g != nil {
		return g.AcceptsAll()
	}
	return group == allHosts
}
