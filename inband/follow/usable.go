package follow

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// vrf is the kind of devices that are routing tables. They call themselves Ethernet, but
// no frame goes by them.
const vrf = "vrf"

// CheckDevice returns why a device cannot have a ring for the host's addresses, nil if it
// can: ENODEV if there is none with that index; EINVAL, with a sentence, for what is a
// port of a bridge or part of a bond, as the master has its traffic, and for what carries
// no Ethernet. The loopback device can have one.
func (s Snapshot) CheckDevice(index int32) error {
	d, ok := s.Device(index)
	if !ok {
		return fmt.Errorf("device %d: %w", index, unix.ENODEV)
	}
	if m, ok := s.Device(d.Master); ok && m.Kind != vrf {
		return fmt.Errorf("%s is part of %s, which has its traffic: use %s: %w", d.Name, m.Name, m.Name, unix.EINVAL)
	}
	if d.Kind == vrf || !d.Ethernet && !d.Loopback {
		return fmt.Errorf("%s carries no Ethernet frames: what goes by it goes in-band: %w", d.Name, unix.EINVAL)
	}
	return nil
}

// Usable returns the devices that get a ring where the caller names none: those that carry
// Ethernet and have an address, whether they are up or not.
func Usable(s Snapshot) []Device {
	var all []Device
	for _, d := range s.Devices {
		if d.Ethernet && s.hasAddress(d.Index) && s.CheckDevice(d.Index) == nil {
			all = append(all, d)
		}
	}
	return all
}

func (s Snapshot) hasAddress(device int32) bool {
	for _, a := range s.Addresses {
		if a.Device == device {
			return true
		}
	}
	return false
}
