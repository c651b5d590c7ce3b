package sockapi

import (
	"math"

	"golang.org/x/sys/unix"
)

// setOwnerNumber is F_SETOWN: ESRCH if there is no such process or group.
func (s *stackSocket) setOwnerNumber(number int) error {
	switch {
	case number == math.MinInt32:
		return unix.EINVAL
	case number < 0:
		return s.setOwner(FileOwner{F_OWNER_PGRP, int32(-number)})
	default:
		return s.setOwner(FileOwner{F_OWNER_PID, int32(number)})
	}
}

func (s *stackSocket) setOwner(o FileOwner) error {
	switch {
	case s.K.Closed():
		return unix.EBADF
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

func (s *stackSocket) owner() (FileOwner, error) {
	if s.K.Closed() {
		return FileOwner{}, unix.EBADF
	}
	return s.getOwner(), nil
}

func (s *stackSocket) getOwner() FileOwner {
	s.async.mu.Lock()
	defer s.async.mu.Unlock()
	o := s.async.owner
	if o.PID != 0 && !o.exists() {
		o.PID = 0
	}
	return o
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
