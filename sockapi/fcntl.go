package sockapi

import (
	"github.com/outband/outband/sockapi/internal/readiness"
	"golang.org/x/sys/unix"
)

// Fcntl is fcntl(2) with an integer argument. Out-of-band:
//
//   - F_GETFL, F_SETFL: O_NONBLOCK, and O_ASYNC for signal-driven I/O.
//   - F_SETOWN, F_GETOWN: the process (positive) or group (negative) that gets
//     the signals; 0: none. ESRCH: there is no such. FcntlOwner takes threads.
//   - F_SETSIG, F_GETSIG: the signal, 0 for SIGIO. With one of the caller's
//     choice si_band says what has happened, and si_fd is the socket's PollFD,
//     -1 if it was not asked for. si_code is SI_SIGIO. A group's processes get
//     the signal without that, and so does a thread of another process.
//   - F_GETFD, F_SETFD: FD_CLOEXEC is always set, since the socket is not the
//     kernel's. EINVAL: without it.
//
// EINVAL for others. An in-band socket takes all that the kernel knows.
func (s *Socket) Fcntl(cmd, arg int) (int, error) { return s.fcntl(cmd, arg) }

// Types of a FileOwner (fcntl(2)).
const (
	F_OWNER_TID  = readiness.OwnerTID  // a thread
	F_OWNER_PID  = readiness.OwnerPID  // a process
	F_OWNER_PGRP = readiness.OwnerPGRP // a process group
)

// A FileOwner is what gets a socket's signals (struct f_owner_ex in fcntl(2)).
type FileOwner struct {
	Type int32 // F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP
	PID  int32 // its number; 0: none
}

// FcntlOwner is fcntl(2) with unix.F_SETOWN_EX, which takes what gets the signals
// from owner, or unix.F_GETOWN_EX, which stores it there; PID is 0 if it is gone.
// EINVAL: another command, or no such type. ESRCH: there is no such thread,
// process or group.
func (s *Socket) FcntlOwner(cmd int, owner *FileOwner) error {
	switch cmd {
	case unix.F_SETOWN_EX:
		return s.setOwner(*owner)
	case unix.F_GETOWN_EX:
		o, err := s.owner()
		if err == nil {
			*owner = o
		}
		return err
	default:
		return s.orClosed(unix.EINVAL)
	}
}
