package device

import (
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

const (
	// maxGroups bounds the groups of a link.
	maxGroups = 1 << 16
	// filterGroups is how many groups the device is asked to filter. The kernel
	// keeps a device's groups in a list, and a packet socket's memberships too, which
	// each join and leave walks: 512 joins take 2 ms, 10,000 nearly a second. Beyond
	// it the device lets the frames of all groups in, as drivers do when their own
	// filters are full; the receiver looks at the group in any case.
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
	all      bool // it lets in the frames of all groups
}

// JoinGroup opens the device's filter for a multicast hardware address, or for all of
// them if there are more than 512. While the device is gone, it is noted for the next.
// Errors: EINVAL (not a multicast address), ENOBUFS (65536 groups are joined), ENETDOWN
// (ended).
func (d *Device) JoinGroup(mac link.MAC) error {
	if mac[0]&1 == 0 {
		return unix.EINVAL
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return unix.ENETDOWN
	}
	g, have := d.groups.joined[mac]
	if !have {
		if len(d.groups.joined) == maxGroups {
			return unix.ENOBUFS
		}
		filtered, err := d.openForLocked(mac)
		if err != nil {
			return err
		}
		g.filtered = filtered
	}
	g.count++
	d.groups.joined[mac] = g
	return nil
}

// openForLocked has the device take a new group's frames, and reports whether it
// filters for that group.
func (d *Device) openForLocked(mac link.MAC) (filtered bool, err error) {
	g := &d.groups
	switch {
	case g.all:
		return false, nil
	case g.filtered < filterGroups:
		if err := d.admitLocked(Frames{Group, mac}, true); err != nil {
			return false, err
		}
		g.filtered++
		return true, nil
	default:
		if err := d.admitLocked(Frames{Kind: AllGroups}, true); err != nil {
			return false, err
		}
		g.all = true
		return false, nil
	}
}

// LeaveGroup undoes one JoinGroup. EADDRNOTAVAIL: the group is not joined.
func (d *Device) LeaveGroup(mac link.MAC) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return unix.ENETDOWN
	}
	g, have := d.groups.joined[mac]
	switch {
	case !have:
		return unix.EADDRNOTAVAIL
	case g.count > 1:
		g.count--
		d.groups.joined[mac] = g
		return nil
	}
	delete(d.groups.joined, mac)
	var err error
	if g.filtered {
		d.groups.filtered--
		err = d.admitLocked(Frames{Group, mac}, false)
	}
	if d.groups.all && len(d.groups.joined) <= refilterGroups {
		d.refilterLocked()
	}
	return err
}

// refilterLocked tells the device of all groups, and then to take no others. If it
// refuses one, it goes on to take all.
func (d *Device) refilterLocked() {
	for mac, g := range d.groups.joined {
		if g.filtered {
			continue
		}
		if d.admitLocked(Frames{Group, mac}, true) != nil {
			return
		}
		g.filtered = true
		d.groups.filtered++
		d.groups.joined[mac] = g
	}
	d.groups.all = false
	// What is left open if this fails costs time, and lets nothing wrong through.
	_ = d.admitLocked(Frames{Kind: AllGroups}, false)
}
