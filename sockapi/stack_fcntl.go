package sockapi

import (
	"github.com/outband/outband/sockapi/internal/readiness"
	"golang.org/x/sys/unix"
)

// Flags of F_SETFL that an out-of-band socket takes, beside O_NONBLOCK and
// O_ASYNC: as on Linux' sockets they say something about files only.
const statusKept = unix.O_APPEND | unix.O_NOATIME

func (s *stackSocket) fcntl(cmd, arg int) (int, error) {
	if s.K.Closed() {
		return -1, unix.EBADF
	}
	switch cmd {
	case unix.F_GETFL:
		return s.statusFlags(), nil
	case unix.F_SETFL:
		return setResult(s.setStatusFlags(arg))
	case unix.F_SETOWN:
		return setResult(s.setOwnerNumber(arg))
	case unix.F_GETOWN:
		return s.outside.Owner().Number(), nil
	case unix.F_SETSIG:
		return setResult(s.outside.SetSignal(arg))
	case unix.F_GETSIG:
		return s.outside.Signal(), nil
	case unix.F_GETFD:
		return unix.FD_CLOEXEC, nil
	case unix.F_SETFD:
		if arg&unix.FD_CLOEXEC == 0 {
			return -1, unix.EINVAL
		}
		return 0, nil
	default:
		return -1, unix.EINVAL
	}
}

// setResult is what fcntl(2) returns for what sets something.
func setResult(err error) (int, error) {
	if err != nil {
		return -1, err
	}
	return 0, nil
}

func (s *stackSocket) statusFlags() int {
	flags := unix.O_RDWR | int(s.status.Load())
	if s.nonblock.Load() != 0 {
		flags |= unix.O_NONBLOCK
	}
	if s.outside.Async() {
		flags |= unix.O_ASYNC
	}
	return flags
}

func (s *stackSocket) setStatusFlags(flags int) error {
	if flags&unix.O_DIRECT != 0 {
		return unix.EINVAL
	}
	s.outside.SetAsync(flags&unix.O_ASYNC != 0)
	s.status.Store(int32(flags & statusKept))
	return s.setNonblock(flags&unix.O_NONBLOCK != 0)
}

// setOwnerNumber is F_SETOWN.
func (s *stackSocket) setOwnerNumber(number int) error {
	o, err := readiness.Numbered(number)
	if err != nil {
		return err
	}
	return s.outside.SetOwner(o)
}

func (s *stackSocket) setOwner(o FileOwner) error {
	if s.K.Closed() {
		return unix.EBADF
	}
	return s.outside.SetOwner(readiness.Owner(o))
}

func (s *stackSocket) owner() (FileOwner, error) {
	if s.K.Closed() {
		return FileOwner{}, unix.EBADF
	}
	return FileOwner(s.outside.Owner()), nil
}
