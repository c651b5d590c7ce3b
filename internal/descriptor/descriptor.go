// Package descriptor keeps this module's descriptors at high numbers, for programs in which the
// low ones are somebody else's: a daemon that closes all but its own, select(2)'s sets, a
// program that counts on the lowest free number.
package descriptor

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// floor is the lowest number that descriptors are to have.
var floor atomic.Int32

// SetFloor has descriptors that Raised is given from now on lie at n or above it; 0: anywhere.
func SetFloor(n int) { floor.Store(int32(n)) }

// Floor returns what SetFloor has set.
func Floor() int { return int(floor.Load()) }

// Raised moves a descriptor that has just been opened to the floor or above it, if that can be
// done, and returns its number. An error, of the call that has opened it, is passed on.
func Raised(fd int, err error) (int, error) {
	low := int(floor.Load())
	if err != nil || fd >= low {
		return fd, err
	}
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, low)
	if err != nil {
		return fd, nil // as good as any
	}
	unix.Close(fd)
	return high, nil
}

// Fill takes all free numbers below n, so that what is opened meanwhile lies at n or above it,
// whoever opens it; release gives them back. It is for short: others find no low number either.
// EMFILE: the process may not have n descriptors.
func Fill(n int) (release func(), err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	if uint64(n) >= limit.Cur {
		return nil, unix.EMFILE
	}
	var taken []int
	release = func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	for fd < n {
		taken = append(taken, fd)
		if fd, err = unix.FcntlInt(uintptr(taken[0]), unix.F_DUPFD_CLOEXEC, fd+1); err != nil {
			release()
			return nil, err
		}
	}
	unix.Close(fd)
	return release, nil
}
