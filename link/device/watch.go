package device

import (
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// eventPause keeps the watcher from turning in circles should the netlink
// socket report errors without end.
const eventPause = 100 * time.Millisecond

// watch looks at the device whenever something may have happened to it, until EndLocked.
func (d *Device) watch() {
	d.Refresh() // what happened while the link was being opened
	for {
		msgs, from, err := d.events.Receive()
		select {
		case <-d.quit:
			return
		default:
		}
		switch {
		case err == unix.ENOBUFS: // events were lost
			d.Refresh()
		case err != nil:
			select {
			case <-d.quit:
				return
			case <-time.After(eventPause):
				d.Refresh()
			}
		case from.Pid == nl.PidKernel && d.concerned(msgs):
			d.Refresh()
		}
	}
}

// concerned reports whether one of msgs is about the device, or about one of the name
// that it was opened by.
func (d *Device) concerned(msgs []syscall.NetlinkMessage) bool {
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
