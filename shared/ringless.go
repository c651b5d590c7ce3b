package shared

import (
	"log/slog"
	"slices"

	"github.com/outband/outband/inband/follow"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/host"
	"github.com/outband/outband/stack"
)

// maxRingless is how many devices without a ring the stack has interfaces for. To be bound
// to another one, or to join groups there, is ENODEV.
const maxRingless = 256

// ringlessLocked brings the stack's interfaces for devices without a ring up to date: those
// that have an address. What comes and goes there the kernel sees to.
func (h *Host) ringlessLocked(s follow.Snapshot) {
	want := make(map[int32]bool)
	for _, a := range s.Addresses {
		want[a.Device] = a.Device != loIndex && h.homeless(a.Device)
	}
	for index := range h.ringless {
		if _, there := s.Device(index); !there || !want[index] {
			h.dropRinglessLocked(index)
		}
	}
	for _, d := range s.Devices {
		if !want[d.Index] {
			continue
		}
		if l := h.ringless[d.Index]; l != nil {
			l.SetInfo(infoOf(d))
		} else if len(h.ringless) < maxRingless {
			h.addRinglessLocked(d)
		}
	}
}

// homeless reports whether a device has no ring.
func (h *Host) homeless(index int32) bool {
	return !slices.ContainsFunc(h.devices, func(d *device) bool { return d.index == index })
}

// infoOf returns what a device is.
func infoOf(d follow.Device) link.Info {
	i := link.Info{Name: d.Name, Index: int(d.Index), MTU: d.MTU, HardwareAddr: d.MAC}
	switch {
	case d.Running:
		i.State = link.Up
	case d.Up:
		i.State = link.NoCarrier
	}
	return i
}

// addRinglessLocked makes an interface for a device.
func (h *Host) addRinglessLocked(d follow.Device) {
	l := host.NewDevice(infoOf(d))
	_, err := h.st.AddLink(l, stack.InterfaceConfig{Index: int(d.Index), Policy: stack.SharedPolicy(),
		Groups: &reporter{h.groups, d.Index}})
	if err != nil {
		l.Close()
		h.log(slog.LevelError, "sockets cannot be bound to a device", "device", d.Name, "error", err)
		return
	}
	h.ringless[d.Index] = l
}

// dropRinglessLocked ends the interface of a device, with its addresses.
func (h *Host) dropRinglessLocked(index int32) {
	delete(h.ringless, index)
	h.st.RemoveLink(int(index)) // it is there
	h.forgetAddressesLocked(index)
}

// forgetAddressesLocked takes in that an interface is gone with its addresses.
func (h *Host) forgetAddressesLocked(index int32) {
	for a := range h.addresses {
		if a.device == index {
			delete(h.addresses, a)
		}
	}
}
