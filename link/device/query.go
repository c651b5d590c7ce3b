package device

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// byName asks for the device of the name that was opened. No such device is ENODEV.
func (d *Device) byName() (netlink.Link, error) {
	found, err := d.queries.LinkByName(d.name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, unix.ENODEV
	}
	return found, err
}

// isLoopback reports whether a device is the loopback device.
func isLoopback(found netlink.Link) bool { return found.Attrs().EncapType == "loopback" }

// usable returns EINVAL for a device that does not carry Ethernet frames.
func usable(found netlink.Link) error {
	a := found.Attrs()
	if len(a.HardwareAddr) != len(link.MAC{}) && !isLoopback(found) {
		return fmt.Errorf("a device of type %q carries no Ethernet frames: %w", a.EncapType, unix.EINVAL)
	}
	return nil
}

// infoOf returns what a device is like, without what its holder can do.
func infoOf(found netlink.Link) link.Info {
	a := found.Attrs()
	info := link.Info{Name: a.Name, Index: a.Index, MTU: a.MTU, State: stateOf(a.RawFlags)}
	info.Dormant = info.State == link.Up && a.RawFlags&unix.IFF_RUNNING == 0
	if isLoopback(found) {
		info.Caps = link.CapLoopback
	}
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
