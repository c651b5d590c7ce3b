package stack

import (
	"slices"

	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

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
