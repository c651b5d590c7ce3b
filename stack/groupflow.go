package stack

import (
	"encoding/binary"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/groupflow"
	"github.com/outband/outband/udp"
)

// groupFlow is whom multicasts and broadcasts to an address and a port are for. Each lane
// remembers its own.
type groupFlow = groupflow.Flow[*UDPSocket]

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
		l.flows.Fit(s.flowing.members)
	}
}

// flowGeneration changes whenever a flow may be for other sockets. It is never 0.
func (s *Stack) flowGeneration() uint64 { return 1 + s.flowing.changes + s.udp.Changes() }

// findFlow returns the flow that a UDP datagram to a group belongs to, nil if that is not
// remembered.
func (l *lane) findFlow(a *arrival, payload []byte) *groupFlow {
	if len(payload) < 4 || a.h.Protocol() != ipv4.ProtocolUDP || a.h.IsFragment() {
		return nil
	}
	port := binary.BigEndian.Uint16(payload[2:])
	return l.flows.Find(groupflow.Key{Dst: a.dst, Port: port, Index: a.ifc.dev.Index}, l.s.flowGeneration())
}

// flowTo returns the flow of a datagram to a broadcast or a group, nil if no socket is
// bound to its port.
func (l *lane) flowTo(key groupflow.Key) *groupFlow {
	if !l.s.udp.Taken(key.Port) {
		return nil
	}
	gen := l.s.flowGeneration()
	if f := l.flows.Find(key, gen); f != nil {
		return f
	}
	f := l.flows.New(key, gen)
	multicast := f.Dst.IsMulticast()
	l.s.udp.Each(f.Dst, f.Port, f.Index, func(b *udp.Binding[*UDPSocket]) {
		var m *groupMembership
		if multicast {
			o := &b.Owner.multicast
			if m = o.groups.get(f.Dst, f.Index); m == nil && o.membersOnly.Load() {
				return
			}
		}
		addFlow(f, b, m)
	})
	l.flows.Filled(f, !multicast || l.s.anySource(f.Dst, f.Index))
	return f
}

// addFlow enters a socket, whose membership in the group is m, nil for none.
func addFlow(f *groupFlow, b *udp.Binding[*UDPSocket], m *groupMembership) {
	switch k := b.Owner; {
	case b.Connected():
		f.AddConnected(k, groupflow.Peer{Addr: b.Remote, Port: b.RemotePort})
	case m == nil || m.mode == igmp.Exclude && len(m.sources) == 0:
		f.Add(k)
	case m.mode == igmp.Exclude:
		f.AddExcluding(k)
	default:
		f.AddIncluding(k, m.sources)
	}
}

// selected appends those of a flow's selective sockets that take what a peer sends.
func selected(sockets []*UDPSocket, f *groupFlow, src ipv4.Addr, sport uint16) []*UDPSocket {
	sockets = append(sockets, f.Including(src)...)
	for _, list := range f.Maybe(src, sport) {
		for _, k := range list {
			if !f.Dst.IsMulticast() || k.multicast.admits(f.Dst, f.Index, src) {
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
