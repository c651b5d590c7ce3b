package group

import (
	"slices"
	"sync/atomic"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// A Socket is what memberships are of.
type Socket interface{ Closed() bool }

// Memberships are the groups that a socket is a member of, with their source filters.
type Memberships struct {
	of     *Groups
	socket Socket
	set    set
	// membersOnly says that datagrams to groups that the socket is not in are not
	// for it, though others of the host are members (IP_MULTICAST_ALL is 0).
	membersOnly atomic.Bool
}

// Options are what a socket's owner can ask of its memberships.
type Options struct{ m *Memberships }

// Options returns what the socket's owner can ask.
func (o *Memberships) Options() Options { return Options{o} }

// Init makes ready.
func (o *Memberships) Init(of *Groups, s Socket) { o.of, o.socket = of, s }

// Len returns how many there are. A lane's lock is held.
func (o *Memberships) Len() int { return o.set.order.Len() }

// Get returns the membership in a group on an interface, nil if there is none; wanted says
// that datagrams to the group are for the socket, or may be. A lane's lock is held.
func (o *Memberships) Get(group ipv4.Addr, index int32) (m *Membership, wanted bool) {
	m = o.set.get(key{group, index})
	return m, m != nil || !o.membersOnly.Load()
}

// Admits reports whether a datagram from src to a group that came by an interface is
// for the socket (Linux' ip_mc_sf_allow). A lane's lock is held.
func (o *Memberships) Admits(group ipv4.Addr, index int32, src ipv4.Addr) bool {
	if o.set.order.Len() == 0 {
		return !o.membersOnly.Load()
	}
	m := o.set.get(key{group, index})
	if m == nil {
		return !o.membersOnly.Load()
	}
	if len(m.sources) == 0 {
		return m.mode == igmp.Exclude
	}
	return slices.Contains(m.sources, src) == (m.mode == igmp.Include)
}

// JoinGroup makes the socket a member of a group, of all sources
// (IP_ADD_MEMBERSHIP, MCAST_JOIN_GROUP). EINVAL: not a group. ENODEV: no such
// interface. EADDRINUSE: the socket is a member. ENOBUFS: it is in as many groups
// as it may be (Config.MaxMemberships).
func (o Options) JoinGroup(r Request) error {
	if o.m.socket.Closed() {
		return unix.EBADF
	}
	return o.m.joinGroup(r, igmp.Exclude)
}

func (o *Memberships) joinGroup(r Request, mode igmp.Mode) error {
	if !r.Group.IsMulticast() {
		return unix.EINVAL
	}
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	if o.socket.Closed() {
		return unix.EBADF // Close has left all groups, or waits for Groups.mu
	}
	ifc := o.of.host.Find(r)
	if ifc == nil {
		return unix.ENODEV
	}
	g := &o.set
	if g.get(key{r.Group, ifc.dev.Index}) != nil {
		return unix.EADDRINUSE
	}
	if g.order.Len() >= o.of.Max.Memberships {
		return unix.ENOBUFS
	}
	if o.socket.Closed() {
		return unix.EBADF
	}
	m := &Membership{key: key{r.Group, ifc.dev.Index}, address: r.Address, ifc: ifc, mode: mode}
	if err := ifc.enter(r.Group); err != nil {
		return err
	}
	if err := o.of.changeLocked(g, m, igmp.NotMember, m.filter(), func() { g.add(m) }); err != nil {
		o.dropMembership(m)
		return err
	}
	return nil
}

// A Joined is a group that a socket is a member of, on the interface that the request names by
// its index, with its source filter.
type Joined struct {
	Request Request
	Filter  igmp.Filter
}

// Joined returns the socket's memberships, in the order in which it joined.
func (o Options) Joined() (all []Joined) {
	o.m.of.mu.Lock()
	defer o.m.of.mu.Unlock()
	for m := o.m.set.order.Oldest(); m != nil; m = m.node.Newer() {
		all = append(all, Joined{Request{Group: m.key.group, Interface: int(m.key.index)}, m.filter()})
	}
	return all
}

// LeaveGroup ends a membership, whatever its sources (IP_DROP_MEMBERSHIP,
// MCAST_LEAVE_GROUP). ENODEV: the request names no interface, and there is no route
// to the group. EADDRNOTAVAIL: the socket is not a member.
func (o Options) LeaveGroup(r Request) error {
	if o.m.socket.Closed() {
		return unix.EBADF
	}
	o.m.of.mu.Lock()
	defer o.m.of.mu.Unlock()
	return o.m.leaveGroupLocked(r)
}

func (o *Memberships) leaveGroupLocked(r Request) error {
	switch ifc := o.of.host.Find(r); {
	case ifc != nil:
		r.Interface = int(ifc.dev.Index)
	case r.Interface == 0 && r.Address.IsUnspecified():
		return unix.ENODEV
	}
	for m := o.set.order.Newest(); m != nil; m = m.node.Older() {
		if m.key.group == r.Group && m.named(&r) {
			o.dropMembership(m)
			return nil
		}
	}
	return unix.EADDRNOTAVAIL
}

// dropMembership takes a membership away. Groups.mu is held.
func (o *Memberships) dropMembership(m *Membership) {
	g := &o.set
	o.of.changeLocked(g, m, m.filter(), igmp.NotMember, func() { g.remove(m) })
	m.ifc.exit(m.key.group)
}

// LeaveAll ends all memberships of a socket that is closed.
func (o *Memberships) LeaveAll() {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	for m := o.set.order.Newest(); m != nil; m = o.set.order.Newest() {
		o.dropMembership(m)
	}
}

// SetAll says whether the socket receives datagrams to all groups that
// anybody of the stack is a member of, not only to its own (IP_MULTICAST_ALL). Its
// filters hold for its own groups in any case.
func (o Options) SetAll(on bool) {
	o.m.of.host.Lock()
	defer o.m.of.host.Unlock()
	o.m.membersOnly.Store(!on)
	o.m.of.ChangedLocked(0)
}

// All returns what SetAll set, or true.
func (o Options) All() bool { return !o.m.membersOnly.Load() }
