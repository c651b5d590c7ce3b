package tpacket

import (
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// kernelHasUSO reports whether the kernel takes UDP GSO packets from packet
// sockets (VIRTIO_NET_HDR_GSO_UDP_L4), which it does since Linux 6.2.
var kernelHasUSO = sync.OnceValue(func() bool { return kernelAtLeast(6, 2) })

// kernelHasPriorityMessage reports whether packet sockets take SO_PRIORITY as a
// control message, which they do since Linux 6.14. It is a variable for tests.
var kernelHasPriorityMessage = sync.OnceValue(func() bool { return kernelAtLeast(6, 14) })

// kernelAtLeast reports whether the running kernel is major.minor or later.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(u.Release[:]), major, minor)
}

// atLeast reports whether a kernel release such as "6.18.3-rc1" is major.minor
// or later.
func atLeast(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	second := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(second)
	return err1 == nil && err2 == nil && (a > major || a == major && b >= minor)
}
