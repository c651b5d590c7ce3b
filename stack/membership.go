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
// (PACKET_ADD_MEMBERSHIP). PACKET_MR_MULTICAST opens the link's filter for a
// group, until it is dropped as often as it was added or the socket is closed.
// The other types ask for frames to other hosts: loopback, which filters
// nothing, grants them; for other links that is decided when they are opened
// (tpacket.Options.Promiscuous), and they are refused with EOPNOTSUPP. ENODEV: no
// such interface. EINVAL: not a hardware address of the interface's kind.
func (k *Socket) AddMembership(m Membership) error {
	if k.packet == nil {
		return unix.ENOPROTOOPT
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
	for i := range k.packet.memberships {
		if have := &k.packet.memberships[i]; have.Membership == m {
			have.count++
			return nil
		}
	}
	if err := ifc.member(m); err != nil {
		return err
	}
	k.packet.memberships = append(k.packet.memberships, membership{m, 1})
	return nil
}

// DropMembership undoes AddMembership (PACKET_DROP_MEMBERSHIP). As on Linux,
// dropping what was never added is no error.
func (k *Socket) DropMembership(m Membership) error {
	if k.packet == nil {
		return unix.ENOPROTOOPT
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.packet.memberships {
		have := &k.packet.memberships[i]
		if have.Membership != m {
			continue
		}
		if have.count--; have.count == 0 {
			k.leave(m)
			k.packet.memberships = slices.Delete(k.packet.memberships, i, i+1)
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
		return i.link.JoinGroup(m.Addr)
	case unix.PACKET_MR_UNICAST:
		if m.Len != len(m.Addr) {
			return unix.EINVAL
		}
		if m.Addr == i.info.Load().HardwareAddr {
			return nil // it receives that anyway
		}
	case unix.PACKET_MR_PROMISC, unix.PACKET_MR_ALLMULTI:
	default:
		return nil // Linux: a type that means nothing asks for nothing
	}
	if i.loopback {
		return nil
	}
	return unix.EOPNOTSUPP
}

// leave undoes Interface.member.
func (k *Socket) leave(m Membership) {
	if ifc := k.s.InterfaceByIndex(m.Interface); ifc != nil && m.Type == unix.PACKET_MR_MULTICAST {
		ifc.link.LeaveGroup(m.Addr)
	}
}

// leaveAllLocked drops all memberships of a socket that is closed. k.mu is held.
func (k *Socket) leaveAllLocked() {
	for _, m := range k.packet.memberships {
		k.leave(m.Membership)
	}
	k.packet.memberships = nil
}
