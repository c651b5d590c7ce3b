package tpacket

import (
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// A life is what becomes of one network device: what it is like now, by what name it
// was opened, and the link events of its network namespace. It knows nothing of how
// frames are carried.
type life struct {
	name    string // that it was opened by, and is looked for by once it is gone
	info    atomic.Pointer[link.Info]
	events  *nl.NetlinkSocket
	queries *netlink.Handle
}

// A holder is who holds on to a device: by sockets that are bound to it.
type holder interface {
	// boundTo returns the index of the device that is held, below 1 if that is gone.
	// The holder knows best: a device that was moved away and came back may have kept
	// its index, but not the holder's sockets.
	boundTo() int
	// attachLocked takes hold of another device, of the same name.
	attachLocked(dev netlink.Link) error
}

// open begins to follow link events in the thread's network namespace.
func (d *life) open(name string) (err error) {
	d.name = name
	// Events first: what happens to the device from here on is not missed.
	if d.events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK); err != nil {
		return step("netlink", err)
	}
	d.queries, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	return step("netlink", err)
}

// close ends the following of events.
func (d *life) close() {
	if d.events != nil {
		d.events.Close()
	}
	if d.queries != nil {
		d.queries.Close()
	}
}

// eventPause keeps the watcher from turning in circles should the netlink
// socket report errors without end.
const eventPause = 100 * time.Millisecond

// watch calls refresh whenever something may have happened to the device, until quit
// is closed.
func (d *life) watch(quit chan struct{}, refresh func()) {
	refresh() // what happened while the link was being opened
	for {
		msgs, from, err := d.events.Receive()
		select {
		case <-quit:
			return
		default:
		}
		switch {
		case err == unix.ENOBUFS: // events were lost
			refresh()
		case err != nil:
			select {
			case <-quit:
				return
			case <-time.After(eventPause):
				refresh()
			}
		case from.Pid == nl.PidKernel && d.concerned(msgs):
			refresh()
		}
	}
}

// concerned reports whether one of msgs is about the device, or about one of the name
// that it was opened by.
func (d *life) concerned(msgs []syscall.NetlinkMessage) bool {
	info := d.info.Load()
	for _, m := range msgs {
		if m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK ||
			len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		header := unix.NlMsghdr(m.Header)
		dev, err := netlink.LinkDeserialize(&header, m.Data)
		if err != nil || dev.Attrs().Index == info.Index || dev.Attrs().Name == d.name {
			return true // what cannot be read may concern us
		}
	}
	return false
}

// lookLocked returns what the device is like now. If its holder has lost it, it looks
// for one of the name that it was opened by, and has the holder take that: again is
// true then. The holder's lock is held.
func (d *life) lookLocked(h holder) (info link.Info, again bool) {
	info = *d.info.Load()
	if index := h.boundTo(); index > 0 {
		dev, err := d.queries.LinkByIndex(index)
		if err == nil {
			return infoOf(dev), false
		}
		if !errors.As(err, &netlink.LinkNotFoundError{}) {
			return info, false
		}
	}
	dev, err := d.byName(d.name)
	if err != nil || usable(dev) != nil || h.attachLocked(dev) != nil {
		return d.gone(), false
	}
	return infoOf(dev), true
}

// gone returns what the device is like when there is none: it goes by the name that
// is waited for.
func (d *life) gone() link.Info {
	info := *d.info.Load()
	info.State, info.Dormant, info.Index, info.Name = link.Gone, false, 0, d.name
	return info
}

// byName asks for the device of that name. No such device is ENODEV.
func (d *life) byName(name string) (netlink.Link, error) {
	dev, err := d.queries.LinkByName(name)
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

// infoOf returns what a device is like, all but what a link over it can do.
func infoOf(dev netlink.Link) link.Info {
	a := dev.Attrs()
	info := link.Info{Name: a.Name, Index: a.Index, MTU: a.MTU, State: stateOf(a.RawFlags)}
	info.Dormant = info.State == link.Up && a.RawFlags&unix.IFF_RUNNING == 0
	copy(info.HardwareAddr[:], a.HardwareAddr)
	return info
}

// stateOf returns the state that a device's flags say (netdevice(7)). Whether it is
// IFF_RUNNING makes no difference: a device that is dormant, before 802.1X has its
// keys for example, carries frames, or it would never get them (Linux'
// Documentation/networking/operstates.rst).
func stateOf(flags uint32) link.State {
	switch {
	case flags&unix.IFF_UP == 0:
		return link.Down
	case flags&unix.IFF_LOWER_UP == 0:
		return link.NoCarrier
	default:
		return link.Up
	}
}
