package tpacket

import (
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// maxGroups bounds the groups of a link: no device filters that many.
const maxGroups = 4096

// JoinGroup opens the device's filter for a multicast hardware address
// (PACKET_MR_MULTICAST). It sends no IGMP. While the device is gone, it is noted
// for the next. Errors: EINVAL (not a multicast address), ENOBUFS (too many
// groups), ENETDOWN (closed).
func (l *Link) JoinGroup(group link.MAC) error {
	if group[0]&1 == 0 {
		return unix.EINVAL
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed.Load():
		return unix.ENETDOWN
	case l.groups[group] == 0 && len(l.groups) == maxGroups:
		return unix.ENOBUFS
	case l.groups[group] == 0:
		if err := l.memberLocked(unix.PACKET_ADD_MEMBERSHIP, group); err != nil {
			return err
		}
	}
	l.groups[group]++
	return nil
}

// LeaveGroup undoes one JoinGroup. EADDRNOTAVAIL: the group is not joined.
func (l *Link) LeaveGroup(group link.MAC) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed.Load():
		return unix.ENETDOWN
	case l.groups[group] == 0:
		return unix.EADDRNOTAVAIL
	case l.groups[group] > 1:
		l.groups[group]--
		return nil
	}
	delete(l.groups, group)
	return l.memberLocked(unix.PACKET_DROP_MEMBERSHIP, group)
}

// memberLocked adds or drops a membership on the device, if there is one.
func (l *Link) memberLocked(opt int, group link.MAC) error {
	index := boundTo(l.rx.fd)
	if index <= 0 {
		return nil
	}
	err := l.control.member(opt, index, unix.PACKET_MR_MULTICAST, group[:])
	if err == unix.ENODEV {
		return nil // it is going away just now, and the table remembers
	}
	return err
}
