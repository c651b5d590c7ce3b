package descriptor

import (
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// A kind is what socket(2) was asked for, without flags.
type kind struct{ domain, typ, proto int }

// Sockets that take a privilege to open and none to be used: packet sockets and raw ones that
// are not bound yet. A process that has the privilege opens them, by Handover, for one
// that has not.

// kinds are what a stack needs, and how many of each Handover opens for a device and for all.
var kinds = []struct {
	kind
	device, all int
}{
	{kind{unix.AF_PACKET, unix.SOCK_RAW, 0}, 6, 6},               // rings, transmission, control, and the same on lo
	{kind{unix.AF_PACKET, unix.SOCK_DGRAM, 0}, 2, 2},             // reservations of addresses
	{kind{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW}, 0, 16}, // what goes by the kernel, for each priority
	{kind{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, 0, 1}, // raw sockets of the stack's
}

// Handover opens what a stack on so many devices needs in the calling thread's network
// namespace, for Give in another process, which inherits the descriptors: they are closed
// by exec(2) unless the caller sees to it. EPERM: CAP_NET_RAW is missing.
func Handover(devices int) (fds []int, err error) {
	for _, k := range kinds {
		for range k.device*devices + k.all {
			fd, err := unix.Socket(k.domain, k.typ|unix.SOCK_CLOEXEC, k.proto)
			if err != nil {
				for _, fd := range fds {
					unix.Close(fd)
				}
				return nil, fmt.Errorf("sockets to hand over: %w", err)
			}
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

// stash is what Give was given and Socket has not taken yet.
var stash struct {
	mu sync.Mutex // a leaf
	of map[kind][]int
}

// Give has Socket use copies of descriptors that Handover has opened in another process. Nobody
// else may use their sockets. EINVAL: one is no such socket; then none is used.
func Give(fds []int) error {
	given := map[kind][]int{}
	for _, fd := range fds {
		k, err := kindOf(fd)
		own := -1
		if err == nil {
			own, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, Floor())
		}
		if err != nil {
			closeAll(given)
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
		given[k] = append(given[k], own)
	}
	stash.mu.Lock()
	defer stash.mu.Unlock()
	if stash.of == nil {
		stash.of = map[kind][]int{}
	}
	for k, fds := range given {
		stash.of[k] = append(stash.of[k], fds...)
	}
	return nil
}

// Drop closes what Give was given and nobody has used.
func Drop() {
	stash.mu.Lock()
	defer stash.mu.Unlock()
	closeAll(stash.of)
	stash.of = nil
}

func closeAll(of map[kind][]int) {
	for _, fds := range of {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

// kindOf returns what a descriptor is: EINVAL if it is none of kinds.
func kindOf(fd int) (k kind, err error) {
	for _, o := range []struct {
		name int
		to   *int
	}{{unix.SO_DOMAIN, &k.domain}, {unix.SO_TYPE, &k.typ}, {unix.SO_PROTOCOL, &k.proto}} {
		if *o.to, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, o.name); err != nil {
			return k, err
		}
	}
	for _, known := range kinds {
		if known.kind == k {
			return k, nil
		}
	}
	return k, unix.EINVAL
}

// Socket is socket(2) with SOCK_CLOEXEC, at the floor or above it. It takes one that was given in place of opening
// one, if there is one of that kind: the calling thread's network namespace must be the
// giver's then.
func Socket(domain, typ, proto int) (int, error) {
	fd := taken(kind{domain, typ &^ (unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK), proto})
	if fd < 0 {
		return Raised(unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto))
	}
	if err := unix.SetNonblock(fd, typ&unix.SOCK_NONBLOCK != 0); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// taken returns one of the stash, -1 if there is none of that kind.
func taken(k kind) int {
	stash.mu.Lock()
	defer stash.mu.Unlock()
	of := stash.of[k]
	if len(of) == 0 {
		return -1
	}
	fd := of[0]
	stash.of[k] = slices.Delete(of, 0, 1)
	return fd
}
