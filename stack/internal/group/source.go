package group

import (
	"slices"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// JoinSource adds a source to those of which the socket receives what they send to
// a group, and makes it a member if it is not (IP_ADD_SOURCE_MEMBERSHIP,
// MCAST_JOIN_SOURCE_GROUP). EINVAL: the socket is a member for all sources but some.
// EADDRNOTAVAIL: the source is there. ENOBUFS: too many (Config.MaxSources). Else as
// JoinGroup.
func (o Options) JoinSource(r Request, source ipv4.Addr) error {
	if o.m.socket.Closed() {
		return unix.EBADF
	}
	if err := o.m.joinGroup(r, igmp.Include); err != nil && err != unix.EADDRINUSE {
		return err
	}
	return o.m.addSource(r, source, igmp.Include)
}

// LeaveSource undoes JoinSource (IP_DROP_SOURCE_MEMBERSHIP, MCAST_LEAVE_SOURCE_GROUP).
// With the last source goes the membership. EADDRNOTAVAIL: the source is not there.
// EINVAL: no membership of that kind.
func (o Options) LeaveSource(r Request, source ipv4.Addr) error {
	if o.m.socket.Closed() {
		return unix.EBADF
	}
	return o.m.removeSource(r, source, igmp.Include)
}

// BlockSource drops what a source sends to a group (IP_BLOCK_SOURCE,
// MCAST_BLOCK_SOURCE), of which the socket is a member for all other sources: else
// EINVAL. EADDRNOTAVAIL: it is blocked. ENOBUFS: too many.
func (o Options) BlockSource(r Request, source ipv4.Addr) error {
	if o.m.socket.Closed() {
		return unix.EBADF
	}
	return o.m.addSource(r, source, igmp.Exclude)
}

// UnblockSource undoes BlockSource (IP_UNBLOCK_SOURCE, MCAST_UNBLOCK_SOURCE).
// EADDRNOTAVAIL: it is not blocked. EINVAL: no membership of that kind.
func (o Options) UnblockSource(r Request, source ipv4.Addr) error {
	if o.m.socket.Closed() {
		return unix.EBADF
	}
	return o.m.removeSource(r, source, igmp.Exclude)
}

// sourceMembership returns the membership whose sources are to be changed, in a
// mode. One without sources ever takes the other mode. Groups.mu is held.
func (o *Memberships) sourceMembership(r Request, mode igmp.Mode) (*Membership, error) {
	if !r.Group.IsMulticast() {
		return nil, unix.EINVAL
	}
	ifc := o.of.host.Find(r)
	if ifc == nil {
		return nil, unix.ENODEV
	}
	m := o.set.get(key{r.Group, ifc.dev.Index})
	if m == nil || m.listed && m.mode != mode {
		return nil, unix.EINVAL
	}
	if m.mode != mode {
		o.setSources(m, mode, nil, false)
	}
	return m, nil
}

func (o *Memberships) addSource(r Request, source ipv4.Addr, mode igmp.Mode) error {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	m, err := o.sourceMembership(r, mode)
	switch {
	case err != nil:
		return err
	case len(m.sources) >= o.of.Max.Sources:
		return unix.ENOBUFS
	case slices.Contains(m.sources, source):
		return unix.EADDRNOTAVAIL
	}
	o.setSources(m, mode, append(slices.Clone(m.sources), source), true)
	return nil
}

func (o *Memberships) removeSource(r Request, source ipv4.Addr, mode igmp.Mode) error {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
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
func (o Options) SetGroupFilter(r Request, f igmp.Filter) error {
	if o.m.socket.Closed() {
		return unix.EBADF
	}
	if !r.Group.IsMulticast() || f.Mode != igmp.Include && f.Mode != igmp.Exclude {
		return unix.EINVAL
	}
	o.m.of.mu.Lock()
	defer o.m.of.mu.Unlock()
	ifc := o.m.of.host.Find(r)
	if ifc == nil {
		return unix.ENODEV
	}
	if f.Mode == igmp.Include && len(f.Sources) == 0 {
		return o.m.leaveGroupLocked(r)
	}
	m := o.m.set.get(key{r.Group, ifc.dev.Index})
	if m == nil {
		return unix.EINVAL
	}
	if len(f.Sources) > o.m.of.Max.Sources {
		return unix.ENOBUFS
	}
	o.m.setSources(m, f.Mode, slices.Clone(f.Sources), len(f.Sources) > 0)
	return nil
}

// GroupFilter returns the mode and the sources of a membership, in the order in
// which they were given. EADDRNOTAVAIL: the socket is not a member. Else as
// SetGroupFilter.
func (o Options) GroupFilter(r Request) (igmp.Filter, error) {
	if o.m.socket.Closed() {
		return igmp.Filter{}, unix.EBADF
	}
	if !r.Group.IsMulticast() {
		return igmp.Filter{}, unix.EINVAL
	}
	o.m.of.mu.Lock()
	defer o.m.of.mu.Unlock()
	ifc := o.m.of.host.Find(r)
	if ifc == nil {
		return igmp.Filter{}, unix.ENODEV
	}
	return o.m.filterLocked(r.Group, ifc.dev.Index)
}

// filterLocked returns what a membership lets pass. Groups.mu is held.
func (o *Memberships) filterLocked(group ipv4.Addr, index int32) (igmp.Filter, error) {
	m := o.set.get(key{group, index})
	if m == nil {
		return igmp.Filter{}, unix.EADDRNOTAVAIL
	}
	return igmp.Filter{Mode: m.mode, Sources: slices.Clone(m.sources)}, nil
}

// GroupFilterOn is GroupFilter for an interface's index.
func (o Options) GroupFilterOn(group ipv4.Addr, index int) (igmp.Filter, error) {
	if o.m.socket.Closed() {
		return igmp.Filter{}, unix.EBADF
	}
	if !group.IsMulticast() {
		return igmp.Filter{}, unix.EINVAL
	}
	o.m.of.mu.Lock()
	defer o.m.of.mu.Unlock()
	return o.m.filterLocked(group, int32(index))
}

// MaxSources returns how many sources a membership may have (net.ipv4.igmp_max_msf).
func (o Options) MaxSources() int { return o.m.of.Max.Sources }

// setSources gives a membership other sources. Groups.mu is held.
func (o *Memberships) setSources(m *Membership, mode igmp.Mode, sources []ipv4.Addr, listed bool) {
	old := m.filter()
	now := Membership{mode: mode, sources: sources}
	o.of.changeLocked(&o.set, m, old, now.filter(), func() { m.mode, m.sources, m.listed = mode, sources, listed })
}
