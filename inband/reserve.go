package inband

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A reservation is held by a listening socket at an abstract address (unix(7)), which
// belongs to the network namespace of the device and goes with the process. Its name
// has the namespace in it too, for processes that may not enter that: they hold it in
// their own.

// holderName is the abstract address for an IPv4 address on a device.
func (g *Guest) holderName(addr [4]byte) string {
	return fmt.Sprintf("@outband/%d/%d/%s", g.space.id(), g.index, netip.AddrFrom4(addr))
}

// holdLocked opens the holder of an address. The descriptor is -1 without an error if
// none can be had: then nobody is kept from the address. The error, which wraps
// EADDRINUSE, names the process that has it.
func (g *Guest) holdLocked(addr [4]byte) (fd int, err error) {
	at := &unix.SockaddrUnix{Name: g.holderName(addr)}
	taken := false
	open := func() error {
		fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		if err = unix.Bind(fd, at); err == nil {
			err = unix.Listen(fd, 1)
		}
		if err != nil {
			taken = err == unix.EADDRINUSE
			who := ""
			if taken {
				who = holderProcess(fd, at)
			}
			unix.Close(fd)
			fd = -1
			err = fmt.Errorf("%s has %s on %s: %w", who, netip.AddrFrom4(addr), g.name, err)
		}
		return err
	}
	if e := g.space.do(open); e != nil && !taken {
		if open(); taken { // in the caller's own
			return -1, err
		}
	}
	if taken {
		return -1, err
	}
	return fd, nil
}

// holderProcess names the process that listens at an abstract address (SO_PEERCRED).
func holderProcess(fd int, at unix.Sockaddr) string {
	if unix.Connect(fd, at) == nil {
		if c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && c.Pid != 0 {
			return fmt.Sprintf("a stack of process %d", c.Pid)
		}
	}
	return "a stack of another process"
}

func (r *reservation) release() {
	if r.holder >= 0 {
		unix.Close(r.holder)
		r.holder = -1
	}
}
