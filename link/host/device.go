package host

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

// A Device stands for a device of the host's that no ring is on, so that a stack has an
// interface for it: sockets are bound to it and join groups there. No frame passes: what
// comes by the device the holders bring, and what is to go by it the kernel sends
// (link.TxFrame.Device), both over the stack's [Link]. It is a [link.InBander].
type Device struct {
	info   atomic.Pointer[link.Info]
	closed atomic.Bool
	notify atomic.Pointer[notify]
	groups memory.Groups
	modes  memory.Modes
}

var (
	_ link.Link     = (*Device)(nil)
	_ link.InBander = (*Device)(nil)
)

// NewDevice returns the link of a device.
func NewDevice(i link.Info) *Device {
	d := &Device{}
	d.info.Store(&i)
	return d
}

// SetInfo says that the device is otherwise than before. If it is not, nothing happens.
func (d *Device) SetInfo(i link.Info) {
	if *d.info.Swap(&i) != i {
		d.tell()
	}
}

func (d *Device) tell() {
	if n := d.notify.Load(); n != nil && n.changed != nil {
		n.changed()
	}
}

// InBand implements [link.InBander].
func (d *Device) InBand() bool { return true }

// Info implements [link.Link].
func (d *Device) Info() link.Info {
	i := *d.info.Load()
	if d.closed.Load() {
		i.State = link.Gone
	}
	return i
}

// Receive returns that there is nothing.
func (d *Device) Receive([]link.Frame) int { return 0 }

// Release does nothing.
func (d *Device) Release() {}

// Send refuses a frame: EOPNOTSUPP, or ENETDOWN after Close.
func (d *Device) Send([]byte) error {
	if d.closed.Load() {
		return unix.ENETDOWN
	}
	return unix.EOPNOTSUPP
}

// SendBatch refuses frames, as Send does.
func (d *Device) SendBatch(frames []link.TxFrame) (int, error) {
	if len(frames) == 0 && !d.closed.Load() {
		return 0, nil
	}
	return 0, d.Send(nil)
}

// Stats returns that nothing has passed.
func (d *Device) Stats() link.Stats { return link.Stats{} }

// SetNotify registers changed, which SetInfo and Close call.
func (d *Device) SetNotify(readable, changed func()) { d.notify.Store(&notify{readable, changed}) }

// FD returns -1: nothing comes.
func (d *Device) FD() int { return -1 }

// PollError does nothing.
func (d *Device) PollError() {}

// JoinGroup counts a membership: the kernel has the device's filter.
func (d *Device) JoinGroup(group link.MAC) error { return d.groups.Join(group) }

// LeaveGroup undoes one JoinGroup. EADDRNOTAVAIL: there was none.
func (d *Device) LeaveGroup(group link.MAC) error { return d.groups.Leave(group) }

// AddMode counts a mode, of which nothing comes.
func (d *Device) AddMode(m link.Mode) error { return d.modes.Add(m) }

// DropMode undoes one AddMode. EADDRNOTAVAIL: there was none.
func (d *Device) DropMode(m link.Mode) error { return d.modes.Drop(m) }

// Close ends the link. Another Close does nothing.
func (d *Device) Close() error {
	if !d.closed.Swap(true) {
		d.tell()
	}
	return nil
}
