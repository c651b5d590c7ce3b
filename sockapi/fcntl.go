package sockapi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of F_SETFL that an out-of-band socket takes, beside O_NONBLOCK and
// O_ASYNC: as on Linux' sockets they say something about files only.
const statusKept = unix.O_APPEND | unix.O_NOATIME

// Fcntl is fcntl(2) with an integer argument. Out-of-band:
//
//   - F_GETFL, F_SETFL: O_NONBLOCK, and O_ASYNC for signal-driven I/O.
//   - F_SETOWN, F_GETOWN: the process (positive) or group (negative) that gets
//     the signals; 0: nobody. ESRCH: there is no such. FcntlOwner takes threads.
//   - F_SETSIG, F_GETSIG: the signal, 0 for SIGIO. With one of the caller's
//     choice si_band says what has happened, and si_fd is the socket's PollFD,
//     -1 if it was not asked for. si_code is SI_SIGIO. A group's processes get
//     the signal without that, and so does a thread of another process.
//   - F_GETFD, F_SETFD: FD_CLOEXEC is always set, since the socket is not the
//     kernel's. EINVAL: without it.
//
// EINVAL for others. An in-band socket takes all that the kernel knows.
func (s *Socket) Fcntl(cmd, arg int) (int, error) {
	if s.oob == nil {
		return s.kernel.fcntl(cmd, arg)
	}
	if s.oob.Closed() {
		return -1, unix.EBADF
	}
	switch cmd {
	case unix.F_GETFL:
		return s.statusFlags(), nil
	case unix.F_SETFL:
		return setResult(s.setStatusFlags(arg))
	case unix.F_SETOWN:
		return setResult(s.setOwner(arg))
	case unix.F_GETOWN:
		return s.getOwner().number(), nil
	case unix.F_SETSIG:
		return setResult(s.setSignal(arg))
	case unix.F_GETSIG:
		return s.getSignal(), nil
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

func (s *Socket) statusFlags() int {
	flags := unix.O_RDWR | int(s.status.Load())
	if s.nonblock.Load() != 0 {
		flags |= unix.O_NONBLOCK
	}
	if s.isAsync() {
		flags |= unix.O_ASYNC
	}
	return flags
}

func (s *Socket) setStatusFlags(flags int) error {
	if flags&unix.O_DIRECT != 0 {
		return unix.EINVAL
	}
	s.setAsync(flags&unix.O_ASYNC != 0)
	s.status.Store(int32(flags & statusKept))
	return s.SetNonblock(flags&unix.O_NONBLOCK != 0)
}

// fcntl makes the call on the descriptor. F_GETOWN goes by way of F_GETOWN_EX,
// since a group's negative number would look like an errno.
func (k *kernelSocket) fcntl(cmd, arg int) (int, error) {
	if !k.acquire() {
		return -1, unix.EBADF
	}
	defer k.release()
	if cmd == unix.F_GETOWN {
		return k.getOwner()
	}
	n, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(k.fd), uintptr(cmd), uintptr(arg))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

func (k *kernelSocket) getOwner() (int, error) {
	var owner FileOwner
	if err := k.owner(unix.F_GETOWN_EX, &owner); err != nil {
		return -1, err
	}
	return owner.number(), nil
}

// owner is F_SETOWN_EX or F_GETOWN_EX. The descriptor is held.
func (k *kernelSocket) owner(cmd int, o *FileOwner) error {
	if _, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(k.fd), uintptr(cmd), uintptr(unsafe.Pointer(o))); e != 0 {
		return e
	}
	return nil
}
