package stack

import (
	"slices"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// What an interface's device is like decides which of its addresses and routes count,
// as in Linux: routes by a device that is set down lead nowhere, its addresses are still
// ours; those of one that is gone are not. Without a carrier all count. Unlike in Linux,
// where somebody has to add them again, all is back as soon as the device is.

// count fills in the addresses and routes that count now.
func (n *network) count() {
	n.addresses, n.routes = n.allAddresses, n.allRoutes
	for _, i := range n.interfaces {
		state := i.info.Load().State
		if state.Enabled() || i.loopback {
			continue
		}
		if state == link.Gone {
			n.addresses = slices.DeleteFunc(slices.Clone(n.addresses),
				func(a ipv4.Address) bool { return a.Iface == int(i.index) })
		}
		routes := n.routes.Clone()
		for _, r := range n.routes.All() {
			if r.Iface == int(i.index) && (r.Type != ipv4.Local || state == link.Gone) {
				routes.Delete(r)
			}
		}
		n.routes = routes
	}
}

// present returns the interface of an index, nil if there is none, or its device is gone:
// then nothing new refers to it.
func (n *network) present(index int32) *Interface {
	if i := n.byIndex[index]; i != nil && i.info.Load().State != link.Gone {
		return i
	}
	return nil
}

// usable returns why no datagram leaves by the interface of an index: ENODEV, there is
// none or its device is gone, or ENETUNREACH, it is down; else 0.
func (n *network) usable(index int32) unix.Errno {
	i := n.byIndex[index]
	if i == nil {
		return unix.ENODEV
	}
	switch i.info.Load().State {
	case link.Gone:
		return unix.ENODEV
	case link.Down:
		return unix.ENETUNREACH
	default:
		return 0
	}
}

// lostDevice returns what a route would have said to a datagram whose link says ENETDOWN:
// the device went down, or away, and the stack has not been told yet.
func (k *Endpoint) lostDevice() unix.Errno {
	if i := k.s.net.Load().byIndex[int32(k.Device())]; i != nil && i.link.Info().State == link.Gone {
		return unix.ENODEV
	}
	return unix.ENETUNREACH
}

// linkChanged takes in the link's new properties. It is called by the link.
func (i *Interface) linkChanged() {
	s := i.s
	i.neighMu.Lock()
	old := i.info.Load()
	info := i.link.Info()
	if info.State != link.Up {
		i.groups.lost.Store(true)
	}
	i.info.Store(&info)
	if k := stateEvents[info.State]; k != stateEvents[old.State] {
		i.untold = append(i.untold, k)
	}
	now := s.clock.Now()
	if info.HardwareAddr != old.HardwareAddr {
		i.neigh.SetHardwareAddr(info.HardwareAddr)
	}
	switch {
	case info.State == link.Up && old.State != link.Up:
		i.neigh.LinkUp(now)
	case info.State != link.Up && old.State == link.Up:
		i.neigh.LinkDown()
	}
	i.postEventsLocked()
	deadline := i.neigh.Deadline()
	i.neighMu.Unlock()
	s.timers.set(i.neighTimer, deadline)
	if info.State != old.State {
		_ = s.configure(func(*network) error { return nil }) // a stack that is closed has none
	}
	i.renewGroups()
	s.gen.changed()
	i.tellStates()
	s.wakeSleepers()
	s.rooms.look()
	i.s.sendOutbox()
	if !info.State.Enabled() && old.State.Enabled() {
		s.tapsDown(i, false)
	}
}
