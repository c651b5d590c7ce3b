package inband

import (
	"math"

	"golang.org/x/sys/unix"
)

// usualLimit is net.core.rmem_max and wmem_max where nobody has set them.
const usualLimit = 212992

// BufferLimit returns how many bytes a socket may ask for by unix.SO_RCVBUF or unix.SO_SNDBUF on
// this host, before the kernel doubles them: net.core.rmem_max and wmem_max, which may change at
// any time, and which not every network namespace shows.
func BufferLimit(option int) uint32 {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return usualLimit
	}
	defer unix.Close(fd)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, math.MaxInt32) != nil {
		return usualLimit
	}
	doubled, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	if err != nil {
		return usualLimit
	}
	return uint32(doubled) / 2
}
