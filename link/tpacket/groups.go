package tpacket

import (
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

const (
	// maxGroups bounds the groups of a link.
	maxGroups = 1 << 16
	// filterGroups is how many groups the device is asked to filter. The kernel
	// keeps a packet socket's memberships in a list, which each join and leave
	// walks: 512 joins take 2 ms, 10,000 nearly a second. Beyond it the device
	// takes the frames of all groups (PACKET_MR_ALLMULTI), as drivers do when
	// their own filters are full; who receives looks at the group in any case.
	filterGroups = 512
	// refilterGroups is how few groups there have to be until the device filters
	// again: far enough below that no group at the limit turns it on and off.
	refilterGroups = filterGroups / 2
)

// A group is how often a multicast group was joined, and whether the device has
// been told of it.
type group struct {
	count    int
	filtered bool
}

// groups are the multicast groups of a link.
type groups struct {
	joined   map[link.MAC]group
	filtered int  // how many the device has been told of
	all      bool // it takes the frames of all groups: PACKET_MR_ALLMULTI
}

// JoinGroup opens the device's filter for a multicast hardware address
// (PACKET_MR_MULTICAST), or for all of them if there are more than 512. It sends
// no IGMP. While the device is gone, it is noted for the next. Errors: EINVAL (not
// a multicast address), ENOBUFS (65536 groups are joined), ENETDOWN (closed).
func (l *Link) JoinGroup(mac link.MAC) error {
	if mac[0]&1 == 0 {
		return unix.EINVAL
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return unix.ENETDOWN
	}
	g, have := l.groups.joined[mac]
	if !have {
		if len(l.groups.joined) == maxGroups {
			return unix.ENOBUFS
		}
		filtered, err := l.openForLocked(mac)
		if err != nil {
			return err
		}
		g.filtered = filtered
	}
	g.count++
	l.groups.joined[mac] = g
	return nil
}

// openForLocked has the device take a new group's frames, and reports whether it
// filters for that group.
func (l *Link) openForLocked(mac link.MAC) (filtered bool, err error) {
	g := &l.groups
	switch {
	case g.all:
		return false, nil
	case g.filtered < filterGroups:
		if err := l.memberLocked(unix.PACKET_ADD_MEMBERSHIP, unix.PACKET_MR_MULTICAST, mac[:]); err != nil {
			return false, err
		}
		g.filtered++
		return true, nil
	default:
		if err := l.memberLocked(unix.PACKET_ADD_MEMBERSHIP, unix.PACKET_MR_ALLMULTI, nil); err != nil {
			return false, err
		}
		g.all = true
		return false, nil
	}
}

// LeaveGroup undoes one JoinGroup. EADDRNOTAVAIL: the group is not joined.
func (l *Link) LeaveGroup(mac link.MAC) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return unix.ENETDOWN
	}
	g, have := l.groups.joined[mac]
	switch {
	case !have:
		return unix.EADDRNOTAVAIL
	case g.count > 1:
		g.count--
		l.groups.joined[mac] = g
		return nil
	}
	delete(l.groups.joined, mac)
	var err error
	if g.filtered {
		l.groups.filtered--
		err = l.memberLocked(unix.PACKET_DROP_MEMBERSHIP, unix.PACKET_MR_MULTICAST, mac[:])
	}
	if l.groups.all && len(l.groups.joined) <= refilterGroups {
		l.refilterLocked()
	}
	return err
}

// refilterLocked tells the device of all groups, and then to take no others. If it
// refuses one, it goes on to take all.
func (l *Link) refilterLocked() {
	for mac, g := range l.groups.joined {
		if g.filtered {
			continue
		}
		if l.memberLocked(unix.PACKET_ADD_MEMBERSHIP, unix.PACKET_MR_MULTICAST, mac[:]) != nil {
			return
		}
		g.filtered = true
		l.groups.filtered++
		l.groups.joined[mac] = g
	}
	l.groups.all = false
	// What is left open if this fails costs time, and lets nothing wrong through.
	_ = l.memberLocked(unix.PACKET_DROP_MEMBERSHIP, unix.PACKET_MR_ALLMULTI, nil)
}

// memberLocked adds or drops a membership on the device, if there is one.
func (l *Link) memberLocked(opt int, kind uint16, addr []byte) error {
	index := boundTo(l.rx.fd)
	if index <= 0 {
		return nil
	}
	err := l.control.member(opt, index, kind, addr)
	if err == unix.ENODEV {
		return nil // it is going away just now, and the table remembers
	}
	return err
}

// renewLocked tells a device that was just found of all that the link asks of its
// kind.
func (l *Link) renewLocked(index int) error {
	add := func(what string, kind uint16, addr []byte) error {
		return step(what, l.control.member(unix.PACKET_ADD_MEMBERSHIP, index, kind, addr))
	}
	for mode, n := range l.modes {
		if n > 0 {
			if err := add(modeKinds[mode].name, modeKinds[mode].kind, nil); err != nil {
				return err
			}
		}
	}
	if l.groups.all {
		if err := add("all groups", unix.PACKET_MR_ALLMULTI, nil); err != nil {
			return err
		}
	}
	for mac, g := range l.groups.joined {
		if !g.filtered {
			continue
		}
		if err := add("group", unix.PACKET_MR_MULTICAST, mac[:]); err != nil {
			return err
		}
	}
	return nil
}
