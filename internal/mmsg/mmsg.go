// Package mmsg has the kernel's struct mmsghdr, and the calls that take several of them.
package mmsg

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Header is struct mmsghdr (sendmmsg(2), recvmmsg(2)). What it points to must not move
// nor be collected while a call is under way: it stays the caller's.
type Header struct {
	Hdr unix.Msghdr
	N   uint32 // bytes of the message that were sent or received; the kernel sets it
}

// Send sends messages by sendmmsg(2), and returns how many the kernel has accepted. It is announced to
// the scheduler, since it may wait.
func Send(fd int, msgs []Header, flags int) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))),
		uintptr(len(msgs)), uintptr(flags), 0, 0)
	return count(n, errno), errno
}

// Recv receives messages by recvmmsg(2), and returns how many there were. The kernel looks
// at timeout, nil for none, after each message only, and leaves in it what is left.
func Recv(fd int, msgs []Header, flags int, timeout *unix.Timespec) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))),
		uintptr(len(msgs)), uintptr(flags), uintptr(unsafe.Pointer(timeout)), 0)
	return count(n, errno), errno
}

// RecvNow is Recv without waiting (MSG_DONTWAIT). It is not announced to the scheduler: a
// caller that holds what others spin for has it back at once.
func RecvNow(fd int, msgs []Header, flags int) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))),
		uintptr(len(msgs)), uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
	return count(n, errno), errno
}

func count(n uintptr, errno syscall.Errno) int {
	if errno != 0 {
		return 0
	}
	return int(n)
}
