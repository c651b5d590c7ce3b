package sockapi

import (
	"math"

	"golang.org/x/sys/unix"
)

// Types of a FileOwner (fcntl(2)).
const (
	F_OWNER_TID  = 0 // a thread
	F_OWNER_PID  = 1 // a process
	F_OWNER_PGRP = 2 // a process group
)

// A FileOwner is who gets a socket's signals (struct f_owner_ex in fcntl(2)).
type FileOwner struct {
	Type int32 // F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP
	PID  int32 // its number; 0: nobody
}

// FcntlOwner is fcntl(2) with unix.F_SETOWN_EX, which takes who gets the signals
// from owner, or unix.F_GETOWN_EX, which stores it there; PID is 0 if it is gone.
// EINVAL: another command, or no such type. ESRCH: there is no such thread,
// process or group.
func (s *Socket) FcntlOwner(cmd int, owner *FileOwner) error {
	if cmd != unix.F_SETOWN_EX && cmd != unix.F_GETOWN_EX {
		return s.orClosed(unix.EINVAL)
	}
	if s.oob == nil {
		if !s.kernel.acquire() {
			return unix.EBADF
		}
		defer s.kernel.release()
		return s.kernel.owner(cmd, owner)
	}
	if s.oob.Closed() {
		return unix.EBADF
	}
	if cmd == unix.F_GETOWN_EX {
		*owner = s.getOwner()
		return nil
	}
	return s.setOwnerTo(*owner)
}

// setOwner is F_SETOWN: ESRCH if there is no such process or group.
func (s *Socket) setOwner(number int) error {
	switch {
	case number == math.MinInt32:
		return unix.EINVAL
	case number < 0:
		return s.setOwnerTo(FileOwner{F_OWNER_PGRP, int32(-number)})
	default:
		return s.setOwnerTo(FileOwner{F_OWNER_PID, int32(number)})
	}
}

func (s *Socket) setOwnerTo(o FileOwner) error {
	switch {
	case o.Type < F_OWNER_TID || o.Type > F_OWNER_PGRP:
		return unix.EINVAL
	case o.PID != 0 && !o.exists():
		return unix.ESRCH
	}
	s.async.mu.Lock()
	defer s.async.mu.Unlock()
	s.async.owner = o
	return nil
}

func (s *Socket) getOwner() FileOwner {
	s.async.mu.Lock()
	defer s.async.mu.Unlock()
	o := s.async.owner
	if o.PID != 0 && !o.exists() {
		o.PID = 0
	}
	return o
}

// number is what F_GETOWN returns: a group's is negative.
func (o FileOwner) number() int {
	if o.Type == F_OWNER_PGRP {
		return -int(o.PID)
	}
	return int(o.PID)
}

func (o FileOwner) exists() bool { return o.PID > 0 && o.kill(0) != unix.ESRCH }

// kill sends a signal without information; 0 only asks. The owner may have gone.
func (o FileOwner) kill(sig unix.Signal) error {
	if o.Type != F_OWNER_TID {
		return unix.Kill(o.number(), sig)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_TKILL, uintptr(o.PID), uintptr(sig), 0); e != 0 {
		return e
	}
	return nil
}

// canBeTold reports whether a signal can carry information to the owner.
func (o FileOwner) canBeTold() bool {
	if o.Type == F_OWNER_TID {
		return unix.Tgkill(unix.Getpid(), int(o.PID), 0) == nil
	}
	return o.Type == F_OWNER_PID
}
