package stack

import (
	"encoding/binary"
	"slices"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/group"
	"github.com/outband/outband/stack/internal/groupflow"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// igmpTOS is the type of service of IGMP messages: internetwork control (RFC 3376,
// section 4).
const igmpTOS = 0xc0

// groupHost is a stack as package group sees it.
type groupHost struct{ allLanes }

// Now implements group.Host.
func (h groupHost) Now() int64 { return h.s.clock.Now() }

// Find implements group.Host (Linux' ip_mc_find_dev).
func (h groupHost) Find(r GroupRequest) *group.Interface {
	if i := h.s.groupInterface(r); i != nil {
		return &i.groups
	}
	return nil
}

// MembersChanged implements group.Host.
func (h groupHost) MembersChanged(members int) {
	for _, l := range *h.s.lanes.all.Load() {
		l.flows.Fit(members)
	}
}

// Updated implements group.Host.
func (h groupHost) Updated(g *group.Interface) {
	i := interfaceOf(g.Device())
	i.afterGroups(i.lane)
}

// Changed implements group.Host.
func (h groupHost) Changed(group ipv4.Addr) { h.s.routes.Generations.ChangedTo(group) }

// groupTimers does what is due of an interface's groups, and takes in what has
// changed of the link and its address. The first lane's lock is held.
func (i *Interface) groupTimers(now int64) {
	first := &i.s.lanes.first
	if i.lane != first {
		i.lane.drive.Lock.Take()
		defer i.lane.drive.Unlock()
	}
	i.groups.Advance(now)
	i.afterGroups(first)
}

// renewGroups has groupTimers look at the link and the address soon.
func (i *Interface) renewGroups() { i.s.timers.Set(i.groupTimer, i.s.clock.Now()) }

// afterGroups leaves the messages about the interface's groups to the flush of a lane, and
// sets their timer. The locks of that lane and of the interface's are held.
func (i *Interface) afterGroups(l *lane) {
	for t, ok := i.groups.Next(); ok; t, ok = i.groups.Next() {
		switch {
		case i.dev.Loopback: // nobody would hear it
		case i.policy.IgnoreGroups:
			l.count[counter.GroupsIgnored]++
		default:
			i.sendIGMP(l, &t)
		}
	}
	i.s.timers.Set(i.groupTimer, i.groups.Deadline())
}

// sendIGMP leaves an IGMP message to a lane's flush, in a frame.
func (i *Interface) sendIGMP(l *lane, t *igmp.Transmit) {
	s := i.s
	f := ipv4.Fields{TOS: igmpTOS, TTL: 1, Protocol: ipv4.ProtocolIGMP, DontFragment: true, Src: i.dev.Primary,
		Dst: t.Dst, Options: routerAlert}
	b := s.pool.Get(link.HeaderLen + ipv4.MinHeaderLen + len(routerAlert) + len(t.Message))
	ether.Put(b, t.Dst.MulticastMAC(), i.dev.Info().HardwareAddr, ether.TypeIPv4)
	n := link.HeaderLen + f.Put(b[link.HeaderLen:], len(t.Message))
	copy(b[n:], t.Message)
	l.count[counter.IGMPOutMsgs]++
	l.pending.out = append(l.pending.out, output.OutPacket{Dev: &i.dev, Frame: b})
}

// routerAlert is the IP option with which IGMP messages are sent (RFC 2113).
var routerAlert = ipv4.AppendRouterAlert(nil)

// hearsOwn reports whether a multicast that leaves by the interface comes back to
// this host: somebody is in the group.
func (i *Interface) hearsOwn(group, src ipv4.Addr) bool {
	i.lane.begin()
	defer i.lane.end()
	return i.groups.Accepts(group, src)
}

// igmpInput processes an IGMP message.
func (l *lane) igmpInput(a *arrival, b []byte) {
	l.count[counter.IGMPInMsgs]++
	if a.ifc.dev.Loopback {
		return
	}
	alert := false
	if len(a.h) > ipv4.MinHeaderLen {
		set, _, c := ipv4.ParseOptions(a.h.Options())
		alert = c == ipv4.CauseNone && set.RouterAlert != 0
	}
	now := l.s.clock.Now()
	a.ifc.groups.Input(now, igmp.Packet{Src: a.src, Dst: a.dst, TTL: a.h.TTL(), RouterAlert: alert,
		ToHost: a.kind == route.Unicast, Payload: b})
	a.ifc.afterGroups(l)
}

// leaveGroups tells the link that we are in no group any more.
func (i *Interface) leaveGroups() {
	i.lane.begin()
	i.groups.LeaveAll(i.s.clock.Now())
	i.afterGroups(i.lane)
	i.lane.end()
}

// Groups returns the groups that sockets are members of on the interface, and what is
// known of its queriers. Times in it are of the stack's clock.
func (i *Interface) Groups() ([]igmp.GroupInfo, igmp.Status) {
	i.lane.begin()
	defer i.lane.end()
	return i.groups.Info()
}

// GroupStats returns the counters of the interface's IGMP: what was sent and heard,
// by kind, and why messages had no effect.
func (i *Interface) GroupStats() igmp.Stats {
	i.lane.begin()
	defer i.lane.end()
	return i.groups.Stats()
}

// groupFlow is whom multicasts and broadcasts to an address and a port are for. Each lane
// remembers its own.
type groupFlow = groupflow.Flow[*UDPSocket]

// findFlow returns the flow that a UDP datagram to a group belongs to, nil if that is not
// remembered.
func (l *lane) findFlow(a *arrival, payload []byte) *groupFlow {
	if len(payload) < 4 || a.h.Protocol() != ipv4.ProtocolUDP || a.h.IsFragment() {
		return nil
	}
	port := binary.BigEndian.Uint16(payload[2:])
	return l.flows.Find(groupflow.KeyOf(a.dst, port, a.ifc.dev.Index), l.s.flowGeneration())
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
	multicast := f.Dst().IsMulticast()
	l.s.udp.Each(f.Dst(), f.Port, f.Index, func(b *udp.Binding[*UDPSocket]) {
		var m *group.Membership
		if multicast {
			var wanted bool
			if m, wanted = b.Owner.multicast.members.Get(f.Dst(), f.Index); !wanted {
				return
			}
		}
		addFlow(f, b, m)
	})
	l.flows.Filled(f, !multicast || l.s.anySource(f.Dst(), f.Index))
	return f
}

// addFlow enters a socket, whose membership in the group is m, nil for none.
func addFlow(f *groupFlow, b *udp.Binding[*UDPSocket], m *group.Membership) {
	switch k := b.Owner; {
	case b.Connected():
		f.AddConnected(k, groupflow.Peer{Addr: b.Remote, Port: b.RemotePort})
	case m == nil || m.Mode() == igmp.Exclude && len(m.Sources()) == 0:
		f.Add(k)
	case m.Mode() == igmp.Exclude:
		f.AddExcluding(k)
	default:
		f.AddIncluding(k, m.Sources())
	}
}

// selected appends those of a flow's selective sockets that take what a peer sends.
func selected(sockets []*UDPSocket, f *groupFlow, src ipv4.Addr, sport uint16) []*UDPSocket {
	sockets = append(sockets, f.Including(src)...)
	for _, list := range f.Maybe(src, sport) {
		for _, k := range list {
			if !f.Dst().IsMulticast() || k.multicast.members.Admits(f.Dst(), f.Index, src) {
				sockets = append(sockets, k)
			}
		}
	}
	return sockets
}

// anySource reports whether the interface takes what anybody sends to a group.
func (s *Stack) anySource(group ipv4.Addr, index int32) bool {
	i := interfaceOf(s.routes.Net().ByIndex(index))
	return i != nil && i.groups.AcceptsAll(group)
}

// defaultMulticastTTL is the time to live of multicasts (ip(7), IP_MULTICAST_TTL).
const defaultMulticastTTL = 1

// A GroupRequest names a group on an interface, as struct ip_mreqn in ip(7) does:
// by the interface's index if it is not 0, else by an address of the interface if
// that is not zero, else by the route to the group.
type GroupRequest = group.Request

// Multicast is what a socket has of multicasts: the groups that it is a member of, with
// their source filters, and how it sends to groups (ip(7)).
type Multicast struct {
	group.Options
	members group.Memberships
	k       *IPSocket

	// Guarded by Endpoint.mu.
	ifIndex int32
	ifAddr  ipv4.Addr
	ttl     int32
	quiet   bool // IP_MULTICAST_LOOP is 0
}

func (o *Multicast) init(s *Stack, k *IPSocket) {
	o.members.Init(&s.groups, k)
	o.Options = o.members.Options()
	o.k, o.ttl = k, defaultMulticastTTL
}

// apply gives the flow of a multicast its device and source if it has none yet.
// Endpoint.mu is held.
func (o *Multicast) apply(f *route.Flow) {
	if !f.Dst.IsMulticast() {
		return
	}
	if f.Device == 0 {
		f.Device = o.ifIndex
	}
	if f.Src.IsUnspecified() {
		f.Src = o.ifAddr
	}
}

// SetInterface says by which interface multicasts leave, and with which
// source address, unless the socket is bound to others (IP_MULTICAST_IF); the zero
// request: as the routes say. EADDRNOTAVAIL: no such interface. EINVAL: the socket is
// bound to another. The request's Group does not matter.
func (o *Multicast) SetInterface(r GroupRequest) error {
	if o.k.Closed() {
		return unix.EBADF
	}
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	index := int32(r.Interface)
	addr := r.Address
	switch {
	case index != 0:
		if o.k.s.routes.Net().Present(index) == nil {
			return unix.EADDRNOTAVAIL
		}
	case !addr.IsUnspecified():
		ifc := o.k.s.groupInterface(r)
		if ifc == nil {
			return unix.EADDRNOTAVAIL
		}
		index = ifc.dev.Index
	}
	if index != 0 && o.k.device != 0 && o.k.device != index {
		return unix.EINVAL
	}
	o.ifIndex, o.ifAddr = index, addr
	o.k.RenewPaths()
	return nil
}

// Interface returns what SetInterface set.
func (o *Multicast) Interface() (index int, addr ipv4.Addr) {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	return int(o.ifIndex), o.ifAddr
}

// SetTTL sets the time to live of multicasts, 0 to 255: those with 0 do not
// leave the host (IP_MULTICAST_TTL).
func (o *Multicast) SetTTL(ttl int) {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	o.ttl = int32(ttl)
	o.k.RenewPaths()
}

// TTL returns what SetTTL set, or 1.
func (o *Multicast) TTL() int {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	return int(o.ttl)
}

// SetLoop says whether the stack's own sockets, this one among them, hear
// the multicasts that the socket sends (IP_MULTICAST_LOOP).
func (o *Multicast) SetLoop(on bool) {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	o.quiet = !on
	o.k.RenewPaths()
}

// Loop returns what SetLoop set, or true.
func (o *Multicast) Loop() bool {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	return !o.quiet
}

// groupInterface returns the interface that a request names (ip_mc_find_dev). With
// Address, that of 0.0.0.0 is the one that the route gives.
func (s *Stack) groupInterface(r GroupRequest) *Interface {
	n := s.routes.Net()
	if r.Interface != 0 {
		return interfaceOf(n.Present(int32(r.Interface)))
	}
	if !r.Address.IsUnspecified() {
		return interfaceOf(n.With(r.Address))
	}
	if r.Group.IsUnspecified() {
		return interfaceOf(n.Loopback) // the zero address is this host
	}
	h, e := s.routes.Find(route.Flow{Dst: r.Group})
	switch {
	case e != 0:
		return nil
	case h.Via != 0:
		return interfaceOf(n.Present(h.Via))
	default:
		return interfaceOf(h.Device)
	}
}

// A Membership is what a packet socket asks an interface to receive beside what
// is for it (struct packet_mreq in packet(7)).
type Membership struct {
	Interface int
	Type      uint16 // unix.PACKET_MR_*
	Len       int    // bytes of Addr
	Addr      link.MAC
}

// membership is a Membership that a socket has, and how often.
type membership struct {
	Membership
	count int
}

// AddMembership has an interface receive what it otherwise would not
// (PACKET_ADD_MEMBERSHIP), until it is dropped as often as it was added or the
// socket is closed: PACKET_MR_MULTICAST a group's frames, PACKET_MR_ALLMULTI those
// of all groups, PACKET_MR_PROMISC all frames. PACKET_MR_UNICAST, for a further
// address of the device's, takes all frames too, as Linux does with a device that
// cannot filter for several.
// ENODEV: no such interface. EINVAL: not a hardware address of the interface's kind.
func (k *PacketSocket) AddMembership(m Membership) error {
	if k.Closed() {
		return unix.EBADF
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.Closed() {
		return unix.EBADF
	}
	ifc := k.s.InterfaceByIndex(m.Interface)
	if ifc == nil {
		return unix.ENODEV
	}
	if m.Len > len(m.Addr) {
		return unix.EINVAL
	}
	for i := range k.memberships {
		if have := &k.memberships[i]; have.Membership == m {
			have.count++
			return nil
		}
	}
	if err := ifc.member(m); err != nil {
		return err
	}
	k.memberships = append(k.memberships, membership{m, 1})
	return nil
}

// DropMembership undoes AddMembership (PACKET_DROP_MEMBERSHIP). As on Linux,
// dropping what was never added is no error.
func (k *PacketSocket) DropMembership(m Membership) error {
	if k.Closed() {
		return unix.EBADF
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.memberships {
		have := &k.memberships[i]
		if have.Membership != m {
			continue
		}
		if have.count--; have.count == 0 {
			k.undo(m)
			k.memberships = slices.Delete(k.memberships, i, i+1)
		}
		return nil
	}
	return nil
}

// member asks the interface's link for what a membership is about.
func (i *Interface) member(m Membership) error {
	switch m.Type {
	case unix.PACKET_MR_MULTICAST:
		if m.Len != len(m.Addr) {
			return unix.EINVAL
		}
		return i.dev.Link.JoinGroup(m.Addr)
	case unix.PACKET_MR_UNICAST:
		if m.Len != len(m.Addr) {
			return unix.EINVAL
		}
	}
	if mode, ok := modeOf(m); ok {
		return i.dev.Link.AddMode(mode)
	}
	return nil // Linux: a type that means nothing asks for nothing
}

// modeOf returns the link's mode that a membership asks for; false for none.
func modeOf(m Membership) (link.Mode, bool) {
	switch m.Type {
	case unix.PACKET_MR_PROMISC, unix.PACKET_MR_UNICAST:
		return link.Promiscuous, true
	case unix.PACKET_MR_ALLMULTI:
		return link.AllMulticast, true
	default:
		return 0, false
	}
}

// undo undoes Interface.member.
func (k *PacketSocket) undo(m Membership) {
	ifc := k.s.InterfaceByIndex(m.Interface)
	if ifc == nil {
		return // its link is closed
	}
	// Whether a link can undo it is nothing to a socket that wants no more of it.
	if mode, ok := modeOf(m); ok {
		_ = ifc.dev.Link.DropMode(mode)
	} else if m.Type == unix.PACKET_MR_MULTICAST {
		_ = ifc.dev.Link.LeaveGroup(m.Addr)
	}
}

// leaveAllLocked drops all memberships of a socket that is closed. k.mu is held.
func (k *PacketSocket) leaveAllLocked() {
	for _, m := range k.memberships {
		k.undo(m.Membership)
	}
	k.memberships = nil
}
