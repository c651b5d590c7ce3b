package device

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// modeFrames is what the device is to let in for each mode.
var modeFrames = [link.Modes]Frames{
	link.Promiscuous:  {Kind: All},
	link.AllMulticast: {Kind: AllGroups},
}

// AddMode has the link receive more than what is for it, until DropMode was called as
// often. While the device is gone, it is noted for the next. Errors: EINVAL (no such
// mode), ENETDOWN (ended).
func (d *Device) AddMode(m link.Mode) error {
	if m >= link.Modes {
		return unix.EINVAL
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return unix.ENETDOWN
	}
	if d.modes[m] == 0 {
		if err := d.admitLocked(modeFrames[m], true); err != nil {
			return err
		}
		if err := d.holder.Pass(m, true); err != nil {
			_ = d.admitLocked(modeFrames[m], false) // the first error says it
			return err
		}
	}
	d.modes[m]++
	return nil
}

// DropMode undoes one AddMode. EADDRNOTAVAIL: the mode is not on.
func (d *Device) DropMode(m link.Mode) error {
	if m >= link.Modes {
		return unix.EINVAL
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ended:
		return unix.ENETDOWN
	case d.modes[m] == 0:
		return unix.EADDRNOTAVAIL
	}
	if d.modes[m]--; d.modes[m] > 0 {
		return nil
	}
	err := d.holder.Pass(m, false)
	if e := d.admitLocked(modeFrames[m], false); err == nil {
		err = e
	}
	return err
}

// admitLocked has the device let frames in, or stop to, if there is one.
func (d *Device) admitLocked(what Frames, on bool) error {
	index := d.holder.Held()
	if index <= 0 {
		return nil
	}
	err := d.holder.Admit(index, what, on)
	if err == unix.ENODEV {
		return nil // it is going away just now, and the next is told
	}
	return err
}

// renewLocked has a device that was just found let in all that the link asks of its kind.
func (d *Device) renewLocked(index int) error {
	add := func(what Frames) error {
		if err := d.holder.Admit(index, what, true); err != nil {
			return fmt.Errorf("%s: %w", what.Kind, err)
		}
		return nil
	}
	for mode, n := range d.modes {
		if n > 0 {
			if err := add(modeFrames[mode]); err != nil {
				return err
			}
		}
	}
	if d.groups.all {
		if err := add(Frames{Kind: AllGroups}); err != nil {
			return err
		}
	}
	for mac, g := range d.groups.joined {
		if !g.filtered {
			continue
		}
		if err := add(Frames{Group, mac}); err != nil {
			return err
		}
	}
	return nil
}
