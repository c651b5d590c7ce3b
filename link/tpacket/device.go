package tpacket

import (
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/device"
)

// A hold is how a Link holds on to its device: the device.Holder of it.
type hold struct{ *Link }

var _ device.Holder = hold{}

// Held returns the index of the device that the ring is bound to.
func (h hold) Held() int { return boundTo(h.rx.fd) }

// Take binds all sockets to the device. The ring comes last: if it is bound, all are.
func (h hold) Take(index int, name string) error {
	if err := h.tx.bind(index); err != nil {
		return step("bind", err)
	}
	for _, q := range h.queues {
		if err := q.bind(index); err != nil {
			return step("bind", err)
		}
	}
	if err := h.attachHost(index, name); err != nil {
		return err
	}
	if err := bind(h.rx.fd, ethPAll, index); err != nil {
		return step("bind", err)
	}
	// To bind to a device that is down leaves an error on the socket, and a
	// poller would find it. The state says it already.
	clearError(h.rx.fd)
	return nil
}

// kinds are the memberships of packet(7) by which a device lets frames in.
var kinds = [...]uint16{
	device.Group:     unix.PACKET_MR_MULTICAST,
	device.AllGroups: unix.PACKET_MR_ALLMULTI,
	device.All:       unix.PACKET_MR_PROMISC,
}

// Admit adds or drops a membership.
func (h hold) Admit(index int, what device.Frames, on bool) error {
	opt := unix.PACKET_DROP_MEMBERSHIP
	if on {
		opt = unix.PACKET_ADD_MEMBERSHIP
	}
	var addr []byte
	if what.Kind == device.Group {
		addr = what.Group[:]
	}
	return h.control.member(opt, index, kinds[what.Kind], addr)
}

// Pass changes the ring's filter.
func (h hold) Pass(m link.Mode, on bool) error {
	switch {
	case m != link.Promiscuous || h.opts.Share != nil: // whose filter knows who wants what
		return nil
	case on:
		return attachFilter(h.rx.fd, h.filters.promiscuous)
	default:
		return attachFilter(h.rx.fd, h.filters.usual)
	}
}

// Caps returns what a link over the device can do. GSO packets are as the device's
// settings say: one that is not to cut them has the kernel do it, which with
// PACKET_QDISC_BYPASS drops them instead. rtnetlink tells of a change of settings as of
// any other (NETDEV_FEAT_CHANGE).
func (h hold) Caps(i link.Info) link.Caps {
	caps := link.CapChecksum | link.CapTimestamps | link.CapMark
	if h.opts.NoGSO || !kernelHasUSO() {
		return caps
	}
	if on, err := device.SegmentsUDP(h.rx.fd, i.Name); err == nil && on {
		caps |= link.CapGSO
	}
	return caps
}

// PollError clears the error that poll(2) saw. If the device is gone, FD returns
// -1 until one of its name is there.
func (l *Link) PollError() {
	l.mu.Lock()
	if !l.closed.Load() {
		clearError(l.rx.fd)
	}
	l.mu.Unlock()
	l.dev.CheckHeld()
}

// JoinGroup opens the device's filter for a multicast hardware address
// (PACKET_MR_MULTICAST), or for all of them if there are more than 512
// (PACKET_MR_ALLMULTI). It sends no IGMP. While the device is gone, it is noted for the
// next. Errors: EINVAL (not a multicast address), ENOBUFS (65536 groups are joined),
// ENETDOWN (closed).
func (l *Link) JoinGroup(mac link.MAC) error { return l.dev.JoinGroup(mac) }

// LeaveGroup undoes one JoinGroup. EADDRNOTAVAIL: the group is not joined.
func (l *Link) LeaveGroup(mac link.MAC) error { return l.dev.LeaveGroup(mac) }

// AddMode has the device receive more than what is for the link, until DropMode
// was called as often. In promiscuous mode the default filter lets frames to other
// hosts pass; [Options.Filter] stays as it is. While the device is gone, it is
// noted for the next. Errors: EINVAL (no such mode), ENETDOWN (closed).
func (l *Link) AddMode(m link.Mode) error { return l.dev.AddMode(m) }

// DropMode undoes one AddMode. EADDRNOTAVAIL: the mode is not on.
func (l *Link) DropMode(m link.Mode) error { return l.dev.DropMode(m) }
