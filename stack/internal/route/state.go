package route

import (
	"slices"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// What a device is like decides which of its addresses and routes count, as in Linux:
// routes by a device that is set down lead nowhere, its addresses are still ours; those
// of one that is gone are not. Without a carrier all count. Unlike in Linux, where
// somebody has to add them again, all is back as soon as the device is.

// count fills in the addresses and routes that count now.
func (n *Network) count() {
	n.addresses, n.routes = n.allAddresses, n.allRoutes
	for _, d := range n.Devices {
		state := d.Info().State
		if state.Enabled() || d.Loopback {
			continue
		}
		if state == link.Gone {
			n.addresses = slices.DeleteFunc(slices.Clone(n.addresses),
				func(a ipv4.Address) bool { return a.Iface == int(d.Index) })
		}
		routes := n.routes.Clone()
		for _, r := range n.routes.All() {
			if r.Iface == int(d.Index) && (r.Type != ipv4.Local || state == link.Gone) {
				routes.Delete(r)
			}
		}
		n.routes = routes
	}
}

// Present returns the device of an index, nil if there is none, or it is gone: then
// nothing new refers to it.
func (n *Network) Present(index int32) *Device {
	if d := n.byIndex[index]; d != nil && d.Info().State != link.Gone {
		return d
	}
	return nil
}

// usable returns why no datagram leaves by the device of an index: ENODEV, there is
// none or it is gone, or ENETUNREACH, it is down; else 0.
func (n *Network) usable(index int32) unix.Errno {
	d := n.byIndex[index]
	if d == nil {
		return unix.ENODEV
	}
	switch d.Info().State {
	case link.Gone:
		return unix.ENODEV
	case link.Down:
		return unix.ENETUNREACH
	default:
		return 0
	}
}

// gone reports whether the link says that its device is gone.
func (d *Device) gone() bool { return d.Link.Info().State == link.Gone }
