package stack

import (
	"slices"
	"sync/atomic"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/internal/list"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// The groups that sockets are members of, with their source filters (ip(7),
// RFC 3376 section 2 and 3.1). The rules are Linux' (net/ipv4/igmp.c), errno for
// errno.

const (
	// defaultMaxMemberships and defaultMaxSources are Linux'
	// net.ipv4.igmp_max_memberships and igmp_max_msf.
	defaultMaxMemberships = 20
	defaultMaxSources     = 10
	// defaultMulticastTTL is the time to live of multicasts (ip(7), IP_MULTICAST_TTL).
	defaultMulticastTTL = 1
	// indexFrom is from how many memberships on a socket finds them by a map.
	indexFrom = 8
)

// allHosts is the group that every host is in (RFC 1112, section 4).
var allHosts = ipv4.Addr{224, 0, 0, 1}

// A GroupRequest names a group on an interface, as struct ip_mreqn in ip(7) does:
// by the interface's index if it is not 0, else by an address of the interface if
// that is not zero, else by the route to the group.
type GroupRequest struct {
	Group     ipv4.Addr
	Address   ipv4.Addr
	Interface int
}

// groupMembership is a socket's membership in one group on one interface.
type groupMembership struct {
	group   ipv4.Addr
	address ipv4.Addr // as the request gave it
	ifc     *Interface
	mode    igmp.Mode
	// sources are in the order in which they were given. listed says that a list
	// was ever given: Linux tells an empty one from none.
	sources []ipv4.Addr
	listed  bool

	node list.Node[groupMembership] // in groupSet.order
}

// groupKey names a membership within a socket.
type groupKey struct {
	group ipv4.Addr
	index int32
}

// groupSet is the memberships of a socket, latest first. Stack.groupMu is held to
// change it, and the locks of all lanes too; it or one of theirs to read it.
type groupSet struct {
	order list.List[groupMembership]
	index map[groupKey]*groupMembership // nil for few
}

// Multicast is what a socket has of multicasts: the groups that it is a member of, with
// their source filters, and how it sends to groups (ip(7)).
type Multicast struct {
	k      *IPSocket
	groups groupSet
	// membersOnly says that datagrams to groups that the socket is not in are not
	// for it, though others of the host are members (IP_MULTICAST_ALL is 0).
	membersOnly atomic.Bool

	// Guarded by Endpoint.mu.
	ifIndex int32
	ifAddr  ipv4.Addr
	ttl     int32
	quiet   bool // IP_MULTICAST_LOOP is 0
}

// get returns the membership in a group on an interface, nil if there is none.
func (g *groupSet) get(group ipv4.Addr, index int32) *groupMembership {
	if g.index != nil {
		return g.index[groupKey{group, index}]
	}
	for m := g.order.Newest(); m != nil; m = m.node.Older() {
		if m.group == group && m.ifc.dev.Index == index {
			return m
		}
	}
	return nil
}

func (g *groupSet) add(m *groupMembership) {
	g.order.Append(&m.node, m)
	if g.order.Len() == indexFrom {
		g.index = make(map[groupKey]*groupMembership)
		for o := g.order.Newest(); o != nil; o = o.node.Older() {
			g.index[groupKey{o.group, o.ifc.dev.Index}] = o
		}
	} else if g.index != nil {
		g.index[groupKey{m.group, m.ifc.dev.Index}] = m
	}
}

func (g *groupSet) remove(m *groupMembership) {
	g.order.Remove(&m.node)
	delete(g.index, groupKey{m.group, m.ifc.dev.Index})
}

// admits reports whether a datagram from src to a group that came by an interface is
// for the socket (Linux' ip_mc_sf_allow). A lane's lock is held.
func (o *Multicast) admits(group ipv4.Addr, index int32, src ipv4.Addr) bool {
	if o.groups.order.Len() == 0 {
		return !o.membersOnly.Load()
	}
	m := o.groups.get(group, index)
	if m == nil {
		return !o.membersOnly.Load()
	}
	if len(m.sources) == 0 {
		return m.mode == igmp.Exclude
	}
	return slices.Contains(m.sources, src) == (m.mode == igmp.Include)
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

// filter returns the membership as package igmp wants it: sorted.
func (m *groupMembership) filter() igmp.Filter {
	f := igmp.Filter{Mode: m.mode, Sources: slices.Clone(m.sources)}
	slices.SortFunc(f.Sources, func(a, b ipv4.Addr) int { return slices.Compare(a[:], b[:]) })
	return f
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
	if h, e := s.routes.Find(route.Flow{Dst: r.Group}); e == 0 {
		return interfaceOf(h.Device)
	}
	return nil
}

// JoinGroup makes the socket a member of a group, of all sources
// (IP_ADD_MEMBERSHIP, MCAST_JOIN_GROUP). EINVAL: not a group. ENODEV: no such
// interface. EADDRINUSE: the socket is a member. ENOBUFS: it is in as many groups
// as it may be (Config.MaxMemberships).
func (o *Multicast) JoinGroup(r GroupRequest) error {
	if o.k.Closed() {
		return unix.EBADF
	}
	return o.joinGroup(r, igmp.Exclude)
}

func (o *Multicast) joinGroup(r GroupRequest, mode igmp.Mode) error {
	if !r.Group.IsMulticast() {
		return unix.EINVAL
	}
	s := o.k.s
	s.groupMu.Lock()
	defer s.groupMu.Unlock()
	if o.k.Closed() {
		return unix.EBADF // Close has left all groups, or waits for groupMu
	}
	ifc := s.groupInterface(r)
	if ifc == nil {
		return unix.ENODEV
	}
	g := &o.groups
	if g.get(r.Group, ifc.dev.Index) != nil {
		return unix.EADDRINUSE
	}
	if g.order.Len() >= s.maxMemberships {
		return unix.ENOBUFS
	}
	if o.k.Closed() {
		return unix.EBADF
	}
	m := &groupMembership{group: r.Group, address: r.Address, ifc: ifc, mode: mode}
	if err := ifc.enterGroup(r.Group); err != nil {
		return err
	}
	s.changeGroup(g, m, igmp.NotMember, m.filter(), func() { g.add(m) })
	return nil
}

// LeaveGroup ends a membership, whatever its sources (IP_DROP_MEMBERSHIP,
// MCAST_LEAVE_GROUP). ENODEV: the request names no interface, and there is no route
// to the group. EADDRNOTAVAIL: the socket is not a member.
func (o *Multicast) LeaveGroup(r GroupRequest) error {
	if o.k.Closed() {
		return unix.EBADF
	}
	o.k.s.groupMu.Lock()
	defer o.k.s.groupMu.Unlock()
	return o.leaveGroupLocked(r)
}

func (o *Multicast) leaveGroupLocked(r GroupRequest) error {
	switch ifc := o.k.s.groupInterface(r); {
	case ifc != nil:
		r.Interface = int(ifc.dev.Index)
	case r.Interface == 0 && r.Address.IsUnspecified():
		return unix.ENODEV
	}
	for m := o.groups.order.Newest(); m != nil; m = m.node.Older() {
		if m.group == r.Group && r.names(m) {
			o.dropMembership(m)
			return nil
		}
	}
	return unix.EADDRNOTAVAIL
}

// names reports whether a membership is the one that is to be left: the address
// counts only if no interface has it any more.
func (r *GroupRequest) names(m *groupMembership) bool {
	if r.Interface != 0 {
		return int(m.ifc.dev.Index) == r.Interface
	}
	return r.Address == m.address
}

// dropMembership takes a membership away. groupMu is held.
func (o *Multicast) dropMembership(m *groupMembership) {
	g := &o.groups
	o.k.s.changeGroup(g, m, m.filter(), igmp.NotMember, func() { g.remove(m) })
	m.ifc.exitGroup(m.group)
}

// dropGroups ends all memberships of a socket that is closed.
func (o *Multicast) dropGroups() {
	o.k.s.groupMu.Lock()
	defer o.k.s.groupMu.Unlock()
	for m := o.groups.order.Newest(); m != nil; m = o.groups.order.Newest() {
		o.dropMembership(m)
	}
}

// JoinSource adds a source to those of which the socket receives what they send to
// a group, and makes it a member if it is not (IP_ADD_SOURCE_MEMBERSHIP,
// MCAST_JOIN_SOURCE_GROUP). EINVAL: the socket is a member for all sources but some.
// EADDRNOTAVAIL: the source is there. ENOBUFS: too many (Config.MaxSources). Else as
// JoinGroup.
func (o *Multicast) JoinSource(r GroupRequest, source ipv4.Addr) error {
	if o.k.Closed() {
		return unix.EBADF
	}
	if err := o.joinGroup(r, igmp.Include); err != nil && err != unix.EADDRINUSE {
		return err
	}
	return o.addSource(r, source, igmp.Include)
}

// LeaveSource undoes JoinSource (IP_DROP_SOURCE_MEMBERSHIP, MCAST_LEAVE_SOURCE_GROUP).
// With the last source goes the membership. EADDRNOTAVAIL: the source is not there.
// EINVAL: no membership of that kind.
func (o *Multicast) LeaveSource(r GroupRequest, source ipv4.Addr) error {
	if o.k.Closed() {
		return unix.EBADF
	}
	return o.removeSource(r, source, igmp.Include)
}

// BlockSource drops what a source sends to a group (IP_BLOCK_SOURCE,
// MCAST_BLOCK_SOURCE), of which the socket is a member for all other sources: else
// EINVAL. EADDRNOTAVAIL: it is blocked. ENOBUFS: too many.
func (o *Multicast) BlockSource(r GroupRequest, source ipv4.Addr) error {
	if o.k.Closed() {
		return unix.EBADF
	}
	return o.addSource(r, source, igmp.Exclude)
}

// UnblockSource undoes BlockSource (IP_UNBLOCK_SOURCE, MCAST_UNBLOCK_SOURCE).
// EADDRNOTAVAIL: it is not blocked. EINVAL: no membership of that kind.
func (o *Multicast) UnblockSource(r GroupRequest, source ipv4.Addr) error {
	if o.k.Closed() {
		return unix.EBADF
	}
	return o.removeSource(r, source, igmp.Exclude)
}

// sourceMembership returns the membership whose sources are to be changed, in a
// mode. One without sources ever takes the other mode. groupMu is held.
func (o *Multicast) sourceMembership(r GroupRequest, mode igmp.Mode) (*groupMembership, error) {
	if !r.Group.IsMulticast() {
		return nil, unix.EINVAL
	}
	ifc := o.k.s.groupInterface(r)
	if ifc == nil {
		return nil, unix.ENODEV
	}
	m := o.groups.get(r.Group, ifc.dev.Index)
	if m == nil || m.listed && m.mode != mode {
		return nil, unix.EINVAL
	}
	if m.mode != mode {
		o.setSources(m, mode, nil, false)
	}
	return m, nil
}

func (o *Multicast) addSource(r GroupRequest, source ipv4.Addr, mode igmp.Mode) error {
	o.k.s.groupMu.Lock()
	defer o.k.s.groupMu.Unlock()
	m, err := o.sourceMembership(r, mode)
	switch {
	case err != nil:
		return err
	case len(m.sources) >= o.k.s.maxSources:
		return unix.ENOBUFS
	case slices.Contains(m.sources, source):
		return unix.EADDRNOTAVAIL
	}
	o.setSources(m, mode, append(slices.Clone(m.sources), source), true)
	return nil
}

func (o *Multicast) removeSource(r GroupRequest, source ipv4.Addr, mode igmp.Mode) error {
	o.k.s.groupMu.Lock()
	defer o.k.s.groupMu.Unlock()
	m, err := o.sourceMembership(r, mode)
	if err != nil {
		return err
	}
	at := slices.Index(m.sources, source)
	if at < 0 {
		return unix.EADDRNOTAVAIL
	}
	if len(m.sources) == 1 && mode == igmp.Include {
		return o.leaveGroupLocked(r)
	}
	o.setSources(m, mode, slices.Delete(slices.Clone(m.sources), at, at+1), true)
	return nil
}

// SetGroupFilter replaces the mode and the sources of a membership (IP_MSFILTER,
// MCAST_MSFILTER, RFC 3678). INCLUDE without sources leaves the group. EINVAL: no
// group, no mode, or the socket is not a member. ENODEV: no such interface. ENOBUFS:
// too many sources. f.Sources may be in any order, and is not kept.
func (o *Multicast) SetGroupFilter(r GroupRequest, f igmp.Filter) error {
	if o.k.Closed() {
		return unix.EBADF
	}
	if !r.Group.IsMulticast() || f.Mode != igmp.Include && f.Mode != igmp.Exclude {
		return unix.EINVAL
	}
	o.k.s.groupMu.Lock()
	defer o.k.s.groupMu.Unlock()
	ifc := o.k.s.groupInterface(r)
	if ifc == nil {
		return unix.ENODEV
	}
	if f.Mode == igmp.Include && len(f.Sources) == 0 {
		return o.leaveGroupLocked(r)
	}
	m := o.groups.get(r.Group, ifc.dev.Index)
	if m == nil {
		return unix.EINVAL
	}
	if len(f.Sources) > o.k.s.maxSources {
		return unix.ENOBUFS
	}
	o.setSources(m, f.Mode, slices.Clone(f.Sources), len(f.Sources) > 0)
	return nil
}

// GroupFilter returns the mode and the sources of a membership, in the order in
// which they were given. EADDRNOTAVAIL: the socket is not a member. Else as
// SetGroupFilter.
func (o *Multicast) GroupFilter(r GroupRequest) (igmp.Filter, error) {
	if o.k.Closed() {
		return igmp.Filter{}, unix.EBADF
	}
	if !r.Group.IsMulticast() {
		return igmp.Filter{}, unix.EINVAL
	}
	o.k.s.groupMu.Lock()
	defer o.k.s.groupMu.Unlock()
	ifc := o.k.s.groupInterface(r)
	if ifc == nil {
		return igmp.Filter{}, unix.ENODEV
	}
	return o.filterLocked(r.Group, ifc.dev.Index)
}

// filterLocked returns what a membership lets pass. groupMu is held.
func (o *Multicast) filterLocked(group ipv4.Addr, index int32) (igmp.Filter, error) {
	m := o.groups.get(group, index)
	if m == nil {
		return igmp.Filter{}, unix.EADDRNOTAVAIL
	}
	return igmp.Filter{Mode: m.mode, Sources: slices.Clone(m.sources)}, nil
}

// GroupFilterOn is GroupFilter for an interface's index.
func (o *Multicast) GroupFilterOn(group ipv4.Addr, index int) (igmp.Filter, error) {
	if o.k.Closed() {
		return igmp.Filter{}, unix.EBADF
	}
	if !group.IsMulticast() {
		return igmp.Filter{}, unix.EINVAL
	}
	o.k.s.groupMu.Lock()
	defer o.k.s.groupMu.Unlock()
	return o.filterLocked(group, int32(index))
}

// MaxSources returns how many sources a membership may have (net.ipv4.igmp_max_msf).
func (o *Multicast) MaxSources() int { return o.k.s.maxSources }

// setSources gives a membership other sources. groupMu is held.
func (o *Multicast) setSources(m *groupMembership, mode igmp.Mode, sources []ipv4.Addr, listed bool) {
	old := m.filter()
	now := groupMembership{mode: mode, sources: sources}
	o.k.s.changeGroup(&o.groups, m, old, now.filter(), func() { m.mode, m.sources, m.listed = mode, sources, listed })
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

// SetAll says whether the socket receives datagrams to all groups that
// anybody of the stack is a member of, not only to its own (IP_MULTICAST_ALL). Its
// filters hold for its own groups in any case.
func (o *Multicast) SetAll(on bool) {
	o.k.s.lockLanes()
	defer o.k.s.unlockLanes()
	o.membersOnly.Store(!on)
	o.k.s.membersChanged(0)
}

// All returns what SetAll set, or true.
func (o *Multicast) All() bool { return !o.membersOnly.Load() }
