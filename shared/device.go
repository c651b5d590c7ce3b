package shared

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/follow"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
)

// A device is one that has a ring.
type device struct {
	index int32
	name  string // that it was opened by
}

// openDevices opens the rings that the configuration asks for.
func (h *Host) openDevices() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.kernel.Snapshot()
	for _, name := range h.cfg.Devices {
		at := slices.IndexFunc(s.Devices, func(d follow.Device) bool { return d.Name == name })
		if at < 0 {
			return fmt.Errorf("%s: %w", name, unix.ENODEV)
		}
		if err := h.openLocked(s, s.Devices[at]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := h.followLocked(s); err != nil {
		return err
	}
	h.addressesLocked(s)
	return nil
}

// openLocked opens a ring on a device.
func (h *Host) openLocked(s follow.Snapshot, d follow.Device) error {
	if err := s.CheckDevice(d.Index); err != nil {
		return err
	}
	if d.Loopback { // which has its ring already
		if h.cfg.NoLo {
			return fmt.Errorf("the loopback device, and no ring on it: %w", unix.EINVAL)
		}
		return nil
	}
	t, err := h.openRing(d.Name)
	if err != nil {
		return err
	}
	l, err := h.wrap(t)
	if err != nil {
		return err
	}
	index := int32(t.Info().Index)
	if h.ringless[index] != nil {
		h.dropRinglessLocked(index)
	}
	_, err = h.st.AddLink(l, stack.InterfaceConfig{Index: int(index), Policy: stack.SharedPolicy(),
		Groups: &reporter{h.groups, index}})
	if err != nil {
		l.Close()
		return err
	}
	h.devices = append(h.devices, &device{index, d.Name})
	return nil
}

// openRing opens a ring on a device, on whatever thread it is called.
func (h *Host) openRing(name string) (t *tpacket.Link, err error) {
	o := h.cfg.Ring
	o.Share = h.sharer()
	err = h.space.Do(func() (err error) {
		t, err = tpacket.Open(name, o)
		return err
	})
	return t, err
}

// closeLocked gives up the ring of a device that is gone, or part of another one.
func (h *Host) closeLocked(d *device) {
	if err := h.ring(d.index, false); err != nil {
		h.log(slog.LevelError, "datagrams of a device without a ring are dropped", "device", d.name, "error", err)
	}
	h.claims.Detach(int(d.index))
	h.st.RemoveLink(int(d.index)) // it is there
	h.devices = slices.DeleteFunc(h.devices, func(other *device) bool { return other == d })
	h.forgetAddressesLocked(d.index)
	h.dropStrayLocked()
}

// dropStrayLocked takes back what a ring that is closed has taken over by itself: a device of
// the name that it was opened by, made before it was known that the one before is gone.
func (h *Host) dropStrayLocked() {
	h.ringMu.Lock()
	all := slices.Collect(maps.Keys(h.rings))
	h.ringMu.Unlock()
	for _, index := range all {
		if index == loIndex || slices.ContainsFunc(h.devices, func(d *device) bool { return d.index == index }) {
			continue
		}
		if err := h.ring(index, false); err != nil {
			h.log(slog.LevelError, "datagrams of a device without a ring are dropped", "index", index, "error", err)
		}
		h.claims.Detach(int(index))
	}
}

// ring takes in that what comes by a device comes by a ring, or does not any more.
func (h *Host) ring(index int32, on bool) error {
	h.ringMu.Lock()
	defer h.ringMu.Unlock()
	if h.rings[index] == on {
		return nil
	}
	if on {
		h.rings[index] = true
	} else {
		delete(h.rings, index)
	}
	return h.holders.SetRings(slices.Sorted(maps.Keys(h.rings)))
}

// A sharer is what divides a device's frames: tpacket.Sharer. Its rings are opened with
// Host.mu held, and come back by themselves without it.
type sharer struct{ h *Host }

var _ tpacket.Sharer = sharer{}

func (h *Host) sharer() tpacket.Sharer { return sharer{h} }

func (s sharer) AttachFilter(fd int) error { return s.h.claims.AttachFilter(fd) }
func (s sharer) RemoveFilter(fd int)       { s.h.claims.RemoveFilter(fd) }

// Attach implements tpacket.Sharer.
func (s sharer) Attach(index int, name string) error {
	if err := s.h.ring(int32(index), true); err != nil {
		return err
	}
	c := s.h.claims
	if err := c.Attach(index, name); err != nil {
		return err
	}
	if rung := c.RungOf(index); rung < c.Rung() {
		s.h.log(slog.LevelWarn, "the kernel processes more of a device's than it has to", "device", name, "by", rung.String(), "reason", c.WhyOf(index))
	}
	return nil
}

// followLocked brings rings up to date with the kernel's devices: those that are gone are
// closed, and those that have become part of another; those that are back, or new where all
// are wanted, are opened.
func (h *Host) followLocked(s follow.Snapshot) error {
	for _, d := range slices.Clone(h.devices) {
		if err := s.CheckDevice(d.index); err != nil {
			if !errors.Is(err, unix.ENODEV) {
				h.log(slog.LevelWarn, "a device has no ring any more", "device", d.name, "reason", err)
			}
			h.closeLocked(d)
		}
	}
	var errs []error
	for _, d := range h.wantedLocked(s) {
		err := h.openLocked(s, d)
		if h.saidLocked(s, d.Index, err) {
			errs = append(errs, fmt.Errorf("%s: %w", d.Name, err))
		}
	}
	h.ringlessLocked(s)
	return errors.Join(errs...)
}

// saidLocked reports whether an error of opening a device's ring is another one than last time, as
// it is not where a capability is missing.
func (h *Host) saidLocked(s follow.Snapshot, index int32, err error) bool {
	maps.DeleteFunc(h.refused, func(other int32, _ string) bool {
		_, there := s.Device(other)
		return !there || other == index && err == nil
	})
	if err == nil || h.refused[index] == err.Error() {
		return false
	}
	h.refused[index] = err.Error()
	return true
}

// wantedLocked returns the devices that are to have a ring, and have none.
func (h *Host) wantedLocked(s follow.Snapshot) (wanted []follow.Device) {
	candidates := s.Devices
	if len(h.cfg.Devices) == 0 {
		candidates = follow.Usable(s)
	}
	for _, d := range candidates {
		has := slices.ContainsFunc(h.devices, func(o *device) bool { return o.index == d.Index })
		named := len(h.cfg.Devices) == 0 || slices.Contains(h.cfg.Devices, d.Name)
		if !has && named && s.CheckDevice(d.Index) == nil && !d.Loopback {
			wanted = append(wanted, d)
		}
	}
	return wanted
}
