package lab

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// A Tap is an end whose device is a tap: what is sent by it waits in its queue until
// the test reads it.
type Tap struct {
	*Endpoint
	fd int
}

// NewTap makes an end, near0, with a tap that has room for so many frames (txqueuelen).
// With kernel, the kernel has the end's address.
func NewTap(t testing.TB, frames int, kernel bool) *Tap {
	t.Helper()
	Need(t)
	tap := &Tap{Endpoint: newEndpoint(t, 0, kernel), fd: -1}
	tap.In(t, func() (err error) {
		if tap.fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq(tap.Name)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(tap.fd, unix.TUNSETIFF, ifr)
	})
	t.Cleanup(func() { unix.Close(tap.fd) })
	check(t, tap.DisableIPv6(tap.Name))
	check(t, tap.SetHardwareAddr(tap.Name, tap.MAC))
	Output(t, tap.Namespace, NeedProgram(t, "ip"), "link", "set", tap.Name, "txqueuelen", fmt.Sprint(frames))
	tap.bringUp(t, false)
	return tap
}

// Read takes the oldest frame out of the queue, nil if there is none.
func (p *Tap) Read(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := unix.Read(p.fd, b)
	if err == unix.EAGAIN {
		return nil
	}
	check(t, err)
	return b[:n]
}
