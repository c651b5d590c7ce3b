package tpacket

import (
	"github.com/vishvananda/netlink"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/link"
)

var _ holder = (*Link)(nil)

// refresh asks the kernel how the device is, and tells changed if that is new.
func (l *Link) refresh() {
	l.mu.Lock()
	changed := !l.closed.Load() && l.publishLocked(l.lookLocked())
	l.mu.Unlock()
	if changed {
		l.notifyChanged()
	}
}

// lookLocked returns what the device is like now, and takes one of its name if it is
// gone.
func (l *Link) lookLocked() link.Info {
	info, again := l.life.lookLocked(l)
	if again {
		l.reopened++
	}
	if info.State != link.Gone {
		l.caps = l.capsOf(info.Name, l.caps&link.CapLoopback)
	}
	info.Caps = l.caps
	return info
}

// publishLocked makes info what Info returns, and reports whether it is new.
func (l *Link) publishLocked(info link.Info) bool {
	fd := l.rx.fd
	if info.State == link.Gone {
		fd = -1
	}
	l.ringFD.Store(int32(fd))
	if info == l.Info() {
		return false
	}
	l.life.info.Store(&info)
	return true
}

// boundTo returns the index of the device that the ring is bound to.
func (l *Link) boundTo() int { return boundTo(l.rx.fd) }

// attachLocked binds all sockets to the device, and renews the memberships there. The
// ring comes last: if it is bound, all are.
func (l *Link) attachLocked(dev netlink.Link) error {
	index := dev.Attrs().Index
	if err := l.tx.bind(index); err != nil {
		return step("bind", err)
	}
	for _, q := range l.queues {
		if err := q.bind(index); err != nil {
			return step("bind", err)
		}
	}
	if err := l.renewLocked(index); err != nil {
		return err
	}
	if l.guest != nil {
		l.guest.Attach(index, l.Info().Name)
	}
	if err := bind(l.rx.fd, ethPAll, index); err != nil {
		return step("bind", err)
	}
	// To bind to a device that is down leaves an error on the socket, and a
	// poller would find it. The state says it already.
	clearError(l.rx.fd)
	l.ringFD.Store(int32(l.rx.fd))
	l.caps = l.capsOf(dev.Attrs().Name, loopbackCap(dev))
	return nil
}

// PollError clears the error that poll(2) saw. If the device is gone, FD returns
// -1 until one of its name is there.
func (l *Link) PollError() {
	l.mu.Lock()
	changed := false
	if !l.closed.Load() {
		clearError(l.rx.fd)
		if boundTo(l.rx.fd) <= 0 {
			changed = l.publishLocked(l.life.gone())
		}
	}
	l.mu.Unlock()
	if changed {
		l.notifyChanged()
	}
}

// capsOf returns what a link over the device of that name can do, with what is said of
// it already. Super-packets are as the device's settings say: one that is not to cut
// them has the kernel do it, which with PACKET_QDISC_BYPASS drops them instead. rtnetlink
// tells of a change of settings as of any other (NETDEV_FEAT_CHANGE).
func (l *Link) capsOf(device string, caps link.Caps) link.Caps {
	caps |= link.CapChecksum | link.CapTimestamps | link.CapMark
	if l.opts.NoSuperPackets || !kernelHasUSO() {
		return caps
	}
	if on, err := inband.SegmentsUDP(l.rx.fd, device); err == nil && on {
		caps |= link.CapGSO
	}
	return caps
}

// loopbackCap returns link.CapLoopback for the loopback device.
func loopbackCap(dev netlink.Link) link.Caps {
	if dev.Attrs().EncapType == "loopback" {
		return link.CapLoopback
	}
	return 0
}
