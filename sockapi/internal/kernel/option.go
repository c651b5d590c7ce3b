package kernel

import (
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Setsockopt is setsockopt(2).
func (k *Socket) Setsockopt(level, name int, value []byte) error {
	if !k.Acquire() {
		return unix.EBADF
	}
	defer k.Release()
	_, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(k.fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(value))), uintptr(len(value)), 0)
	if e == 0 && level == unix.SOL_SOCKET && isTimeout(name) {
		k.timed.Store(true)
	}
	return failed(e)
}

// isTimeout reports whether an option of SOL_SOCKET sets a time-out. SO_RCVTIMEO
// and SO_SNDTIMEO have a second number each, for 64-bit time on 32-bit machines.
func isTimeout(name int) bool {
	switch name {
	case unix.SO_RCVTIMEO, unix.SO_SNDTIMEO, unix.SO_RCVTIMEO_NEW, unix.SO_SNDTIMEO_NEW:
		return true
	default:
		return false
	}
}

// Getsockopt is getsockopt(2). It returns the length that the kernel says, which for a few options
// is more than fit.
func (k *Socket) Getsockopt(level, name int, value []byte) (int, error) {
	if !k.Acquire() {
		return 0, unix.EBADF
	}
	defer k.Release()
	n := uint32(len(value))
	if level == unix.SOL_SOCKET && name == unix.SO_GET_FILTER {
		n /= unix.SizeofSockFilter // the kernel counts instructions
	}
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(k.fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(value))), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// AttachProgram sets SO_ATTACH_FILTER or SO_ATTACH_REUSEPORT_CBPF, whose value
// points to the program.
func (k *Socket) AttachProgram(option int, program []bpf.RawInstruction) error {
	f := unix.SockFprog{Len: uint16(len(program)), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	value := unsafe.Slice((*byte)(unsafe.Pointer(&f)), unsafe.Sizeof(f))
	err := k.Setsockopt(unix.SOL_SOCKET, option, value)
	runtime.KeepAlive(program)
	return err
}
