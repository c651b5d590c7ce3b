package readiness

import (
	"math"

	"golang.org/x/sys/unix"
)

// Types of an Owner (fcntl(2)).
const (
	OwnerTID  = 0 // F_OWNER_TID
	OwnerPID  = 1 // F_OWNER_PID
	OwnerPGRP = 2 // F_OWNER_PGRP
)

// An Owner is what gets a socket's signals (struct f_owner_ex in fcntl(2)).
type Owner struct{ Type, PID int32 }

// Numbered returns the owner that F_SETOWN's number means: a group's is negative.
// EINVAL: there is no such number.
func Numbered(number int) (Owner, error) {
	switch {
	case number == math.MinInt32:
		return Owner{}, unix.EINVAL
	case number < 0:
		return Owner{OwnerPGRP, int32(-number)}, nil
	default:
		return Owner{OwnerPID, int32(number)}, nil
	}
}

// Number is what F_GETOWN returns: a group's is negative.
func (o Owner) Number() int {
	if o.Type == OwnerPGRP {
		return -int(o.PID)
	}
	return int(o.PID)
}

// SetOwner sets the owner: ESRCH if there is no such thread, process or group, EINVAL
// if there is no such type.
func (t *Outside) SetOwner(o Owner) error {
	switch {
	case o.Type < OwnerTID || o.Type > OwnerPGRP:
		return unix.EINVAL
	case o.PID != 0 && !o.exists():
		return unix.ESRCH
	}
	t.async.mu.Lock()
	defer t.async.mu.Unlock()
	t.async.owner = o
	return nil
}

// Owner returns the owner; its PID is 0 if it is gone.
func (t *Outside) Owner() Owner {
	t.async.mu.Lock()
	defer t.async.mu.Unlock()
	o := t.async.owner
	if o.PID != 0 && !o.exists() {
		o.PID = 0
	}
	return o
}

func (o Owner) exists() bool { return o.PID > 0 && o.kill(0) != unix.ESRCH }

// kill sends a signal without information; 0 only asks. The owner may have gone.
func (o Owner) kill(sig unix.Signal) error {
	if o.Type != OwnerTID {
		return unix.Kill(o.Number(), sig)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_TKILL, uintptr(o.PID), uintptr(sig), 0); e != 0 {
		return e
	}
	return nil
}

// canBeTold reports whether a signal can carry information to the owner.
func (o Owner) canBeTold() bool {
	if o.Type == OwnerTID {
		return unix.Tgkill(unix.Getpid(), int(o.PID), 0) == nil
	}
	return o.Type == OwnerPID
}
