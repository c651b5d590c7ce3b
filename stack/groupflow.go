package stack

import (
	"encoding/binary"
	"math/bits"

	"github.com/outband/outband/ipv4"
)

// groupFlows remembers which sockets flows of multicasts are for: which are members,
// at that port, and whose filters admit the source. A datagram of a flow that is known
// costs about what a unicast one costs, however many groups there are. It is guarded
// by the receive lock.
type groupFlows struct {
	slots   []groupFlow // none, or a power of two
	shift   uint        // 64 - log2(len(slots))
	members int         // memberships of all sockets
	changes uint64      // of memberships
}

// A groupFlow is one flow, and whom it is for.
type groupFlow struct {
	group, src   [4]byte
	sport, dport uint16
	index        int32  // of the interface
	gen          uint64 // the flow holds while this is Stack.flowGeneration
	sockets      []*Socket
}

const (
	minGroupFlows = 1 << 8
	maxGroupFlows = 1 << 16
)

// changed takes in that memberships have, and that there are d more of them.
func (c *groupFlows) changed(d int) {
	c.changes++
	c.members += d
	switch n := len(c.slots); {
	case c.members == 0 && n > minGroupFlows:
		c.slots = nil
	case c.members == 0:
		clear(c.slots) // which lets go of sockets that are closed; who joins next finds it made
	case n < maxGroupFlows && n < 2*c.members:
		n = min(max(minGroupFlows, 1<<bits.Len(uint(2*c.members))), maxGroupFlows)
		c.slots, c.shift = make([]groupFlow, n), uint(65-bits.Len(uint(n)))
	}
}

// flowGeneration changes whenever a flow may be for other sockets.
func (s *Stack) flowGeneration() uint64 { return s.flows.changes + s.udp.Changes() }

// find returns the flow that a UDP datagram to a group belongs to, nil if that
// is not remembered. The flow may not hold.
func (c *groupFlows) find(a *arrival, payload []byte) *groupFlow {
	if len(c.slots) == 0 || len(payload) < 4 || a.h.Protocol() != ipv4.ProtocolUDP || a.h.IsFragment() {
		return nil
	}
	ports := binary.NativeEndian.Uint32(payload)
	addrs := uint64(binary.NativeEndian.Uint32(a.src[:]))<<32 | uint64(binary.NativeEndian.Uint32(a.dst[:]))
	h := (addrs ^ uint64(ports)<<16) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0x9e3779b97f4a7c15
	f := &c.slots[h>>c.shift]
	sport, dport := binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])
	if f.group != a.dst || f.src != a.src || f.sport != sport || f.dport != dport || f.index != a.ifc.index {
		clear(f.sockets)
		*f = groupFlow{group: a.dst, src: a.src, sport: sport, dport: dport, index: a.ifc.index, sockets: f.sockets[:0]}
	}
	return f
}
