package tpacket

import (
	"errors"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// eventPause keeps the watcher from turning in circles should the netlink
// socket report errors without end.
const eventPause = 100 * time.Millisecond

// watch follows link events until Close.
func (l *Link) watch(events *nl.NetlinkSocket) {
	l.refresh() // what happened while the link was being opened
	for {
		msgs, from, err := events.Receive()
		switch {
		case err != nil && l.closed.Load():
			return
		case err == unix.ENOBUFS: // events were lost
			l.refresh()
		case err != nil:
			select {
			case <-l.quit:
				return
			case <-time.After(eventPause):
				l.refresh()
			}
		case from.Pid == nl.PidKernel && l.concerned(msgs):
			l.refresh()
		}
	}
}

// concerned reports whether one of msgs is about the link's device, or about
// one of its name.
func (l *Link) concerned(msgs []syscall.NetlinkMessage) bool {
	info := l.Info()
	for _, m := range msgs {
		if m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK ||
			len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		header := unix.NlMsghdr(m.Header)
		dev, err := netlink.LinkDeserialize(&header, m.Data)
		if err != nil || dev.Attrs().Index == info.Index || dev.Attrs().Name == info.Name {
			return true // what cannot be read may concern us
		}
	}
	return false
}

// refresh asks the kernel how the device is, and tells changed if that is new.
func (l *Link) refresh() {
	l.mu.Lock()
	changed := !l.closed.Load() && l.publishLocked(l.lookLocked())
	l.mu.Unlock()
	if changed {
		l.notifyChanged()
	}
}

// lookLocked returns what the device is like now. If the sockets have lost
// theirs, it looks for one of the same name, and binds them to it.
func (l *Link) lookLocked() link.Info {
	info := l.Info()
	// The socket knows best whether it still has its device: a device that was
	// moved away and came back may have kept its index, but not our sockets.
	if index := boundTo(l.rx.fd); index > 0 {
		dev, err := l.queries.LinkByIndex(index)
		if err == nil {
			return l.infoOf(dev)
		}
		if !errors.As(err, &netlink.LinkNotFoundError{}) {
			return info
		}
	}
	dev, err := l.byName(info.Name)
	if err != nil || usable(dev) != nil || l.attachLocked(dev.Attrs().Index) != nil {
		return goneFrom(info)
	}
	l.reopened++
	l.caps = capsOf(dev)
	return l.infoOf(dev)
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
	l.info.Store(&info)
	return true
}

// attachLocked binds all sockets to the device of that index, and renews the
// memberships there. The ring comes last: if it is bound, all are.
func (l *Link) attachLocked(index int) error {
	if err := l.tx.bind(index); err != nil {
		return step("bind", err)
	}
	if err := l.renewLocked(index); err != nil {
		return err
	}
	if l.claim != nil && l.claim.Attach(index) != nil {
		l.claim.Close()
		l.claim = nil
	}
	if err := bind(l.rx.fd, ethPAll, index); err != nil {
		return step("bind", err)
	}
	// To bind to a device that is down leaves an error on the socket, and a
	// poller would find it. The state says it already.
	clearError(l.rx.fd)
	l.ringFD.Store(int32(l.rx.fd))
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
			changed = l.publishLocked(goneFrom(l.Info()))
		}
	}
	l.mu.Unlock()
	if changed {
		l.notifyChanged()
	}
}

// byName asks for the device of that name. No such device is ENODEV.
func (l *Link) byName(name string) (netlink.Link, error) {
	dev, err := l.queries.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, unix.ENODEV
	}
	return dev, err
}

// usable returns EINVAL for a device that does not carry Ethernet frames.
func usable(dev netlink.Link) error {
	a := dev.Attrs()
	if len(a.HardwareAddr) != len(link.MAC{}) && a.EncapType != "loopback" {
		return invalid("a device of type %q carries no Ethernet frames", a.EncapType)
	}
	return nil
}

// infoOf returns what a device is like.
func (l *Link) infoOf(dev netlink.Link) link.Info {
	a := dev.Attrs()
	info := link.Info{Name: a.Name, Index: a.Index, MTU: a.MTU, Caps: l.caps}
	copy(info.HardwareAddr[:], a.HardwareAddr)
	if up := uint32(unix.IFF_UP | unix.IFF_RUNNING); a.RawFlags&up == up {
		info.State = link.Up
	}
	return info
}

// goneFrom returns info for a device that is no more.
func goneFrom(info link.Info) link.Info {
	info.State, info.Index = link.Gone, 0
	return info
}

// capsOf returns what a link over dev can do.
func capsOf(dev netlink.Link) link.Caps {
	caps := link.CapChecksum | link.CapTimestamps | link.CapMark
	if kernelHasUSO() {
		caps |= link.CapGSO
	}
	if dev.Attrs().EncapType == "loopback" {
		caps |= link.CapLoopback
	}
	return caps
}
