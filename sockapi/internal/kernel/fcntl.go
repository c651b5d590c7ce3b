package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Owner is struct f_owner_ex (fcntl(2)).
type Owner struct{ Type, PID int32 }

// Fcntl is fcntl(2) with an integer argument, but for F_GETOWN: a group's negative
// number would look like an errno, so that its callers go by Owner.
func (k *Socket) Fcntl(cmd, arg int) (int, error) {
	if !k.Acquire() {
		return -1, unix.EBADF
	}
	defer k.Release()
	n, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(k.fd), uintptr(cmd), uintptr(arg))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

// Owner is F_GETOWN_EX.
func (k *Socket) Owner() (Owner, error) {
	var o Owner
	err := k.owner(unix.F_GETOWN_EX, &o)
	return o, err
}

// SetOwner is F_SETOWN_EX.
func (k *Socket) SetOwner(o Owner) error { return k.owner(unix.F_SETOWN_EX, &o) }

func (k *Socket) owner(cmd int, o *Owner) error {
	if !k.Acquire() {
		return unix.EBADF
	}
	defer k.Release()
	_, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(k.fd), uintptr(cmd), uintptr(unsafe.Pointer(o)))
	return failed(e)
}

// Nonblocking reports whether the descriptor has O_NONBLOCK.
func (k *Socket) Nonblocking() bool {
	flags, err := k.Fcntl(unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK != 0
}
