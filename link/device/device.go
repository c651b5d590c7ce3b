package device

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// A Device is one network device in its changes, and all that come after it under the
// name that it was opened by. Its methods may be called by any goroutine at any time.
type Device struct {
	holder  Holder
	name    string // that it was opened by, and is looked for by once it is gone
	info    atomic.Pointer[link.Info]
	changed atomic.Pointer[func()]
	again   atomic.Uint64 // how often one came back
	events  *nl.NetlinkSocket
	queries *netlink.Handle
	quit    chan struct{} // closed by EndLocked

	mu     *sync.Mutex // the link's, guards what follows
	ended  bool
	groups groups
	modes  [link.Modes]int // how often each is on
}

// A Holder is a link that holds on to a device, by sockets that are bound to it. Its
// methods are called with the link's lock held.
type Holder interface {
	// Held returns the index of the device that is held, below 1 if that is gone. The
	// holder knows best: a device that was moved away and came back may have kept its
	// index, but not the holder's sockets.
	Held() int
	// Take takes hold of another device. If it fails, the device counts as gone.
	Take(index int, name string) error
	// Admit has a device's filter let frames in, or stop to.
	Admit(index int, what Frames, on bool) error
	// Pass has the link itself let the frames of a mode pass, or stop to: what the
	// device has let in, it may filter once more.
	Pass(m link.Mode, on bool) error
	// Caps returns what a link over a device like that can do, CapLoopback left out.
	Caps(i link.Info) link.Caps
}

// Frames are frames that a device does not let in by itself.
type Frames struct {
	Kind  Kind
	Group link.MAC // if Kind is Group
}

// A Kind is a kind of Frames.
type Kind uint8

const (
	Group     Kind = iota // those to a multicast address
	AllGroups             // those to any multicast address
	All                   // all that pass
)

// String names the kind for errors.
func (k Kind) String() string {
	switch k {
	case Group:
		return "group"
	case AllGroups:
		return "all groups"
	default:
		return "promiscuous mode"
	}
}

// Open looks for the device of that name in the calling thread's network namespace, and
// begins to follow events there. mu is the lock of the link, which h is. Modes that are
// given are on from the beginning. Close has to be called also after an error: ENODEV (no
// such device), EINVAL (it does not carry Ethernet frames).
func (d *Device) Open(name string, mu *sync.Mutex, h Holder, on ...link.Mode) (err error) {
	d.name, d.mu, d.holder, d.quit = name, mu, h, make(chan struct{})
	d.groups.joined = map[link.MAC]group{}
	for _, m := range on {
		d.modes[m]++
	}
	// Events first: what happens to the device from here on is not missed.
	if d.events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK); err == nil {
		d.queries, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	}
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	found, err := d.byName()
	if err != nil {
		return err
	}
	if err := usable(found); err != nil {
		return err
	}
	info := infoOf(found)
	d.info.Store(&info)
	return nil
}

// Start has the holder take hold of the device that Open has found, and follows it from
// then on.
func (d *Device) Start() error {
	d.mu.Lock()
	info := d.Info()
	err := d.takeLocked(info.Index, info.Name)
	if err == nil {
		info.Caps |= d.holder.Caps(info)
		d.info.Store(&info)
	}
	d.mu.Unlock()
	if err == nil {
		go d.watch()
	}
	return err
}

// Info returns what the device is like now.
func (d *Device) Info() link.Info { return *d.info.Load() }

// State returns the State of Info.
func (d *Device) State() link.State { return d.info.Load().State }

// Reopened returns how often the device had gone and came back.
func (d *Device) Reopened() uint64 { return d.again.Load() }

// SetNotify registers what is called when Info would give another answer, nil for
// nothing. It is called on any goroutine, without the lock.
func (d *Device) SetNotify(changed func()) {
	if changed == nil {
		d.changed.Store(nil)
		return
	}
	d.changed.Store(&changed)
}

// Tell calls what SetNotify registered.
func (d *Device) Tell() {
	if changed := d.changed.Load(); changed != nil {
		(*changed)()
	}
}

// Refresh asks the kernel what the device is like, and tells if that is new.
func (d *Device) Refresh() {
	d.mu.Lock()
	changed := !d.ended && d.RefreshLocked()
	d.mu.Unlock()
	if changed {
		d.Tell()
	}
}

// RefreshLocked asks the kernel what the device is like, and reports whether that is new.
func (d *Device) RefreshLocked() bool {
	info := d.lookLocked()
	if info.State != link.Gone {
		info.Caps = info.Caps&link.CapLoopback | d.holder.Caps(info)
	}
	return d.publishLocked(info)
}

// CheckHeld looks whether the device is still held, and tells if it is not.
func (d *Device) CheckHeld() {
	d.mu.Lock()
	changed := !d.ended && d.holder.Held() <= 0 && d.publishLocked(d.gone())
	d.mu.Unlock()
	if changed {
		d.Tell()
	}
}

// EndLocked lets go of the device: it is Gone for good. The caller calls Tell without the
// lock, and Close.
func (d *Device) EndLocked() {
	d.publishLocked(d.gone())
	d.ended = true
	close(d.quit)
}

// Close gives back what following the device took.
func (d *Device) Close() {
	if d.events != nil {
		d.events.Close()
	}
	if d.queries != nil {
		d.queries.Close()
	}
}

// publishLocked makes info what Info returns, and reports whether it is new.
func (d *Device) publishLocked(info link.Info) bool {
	if info == d.Info() {
		return false
	}
	d.info.Store(&info)
	return true
}

// takeLocked has a device let in what the link asks of it, and the holder take hold of
// it, in that order: once it is held, all of it is done.
func (d *Device) takeLocked(index int, name string) error {
	if err := d.renewLocked(index); err != nil {
		return err
	}
	return d.holder.Take(index, name)
}

// lookLocked returns what the device is like now. If its holder has lost it, it looks
// for one of the name that it was opened by, and has the holder take that.
func (d *Device) lookLocked() link.Info {
	if index := d.holder.Held(); index > 0 {
		found, err := d.queries.LinkByIndex(index)
		if err == nil {
			return infoOf(found)
		}
		if !errors.As(err, &netlink.LinkNotFoundError{}) {
			return d.Info()
		}
	}
	found, err := d.byName()
	if err != nil || usable(found) != nil {
		return d.gone()
	}
	info := infoOf(found)
	if d.takeLocked(info.Index, info.Name) != nil {
		return d.gone()
	}
	d.again.Add(1)
	return info
}

// gone returns what the device is like when there is none: it goes by the name that
// is waited for.
func (d *Device) gone() link.Info {
	info := d.Info()
	info.State, info.Dormant, info.Index, info.Name = link.Gone, false, 0, d.name
	return info
}
