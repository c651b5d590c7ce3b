package sockapi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func (k *kernelSocket) bind(local Sockaddr) error {
	if !k.acquire() {
		return unix.EBADF
	}
	defer k.release()
	var buf [addrSize]byte
	n := local.encode(&buf)
	_, _, e := unix.Syscall(unix.SYS_BIND, uintptr(k.fd), uintptr(unsafe.Pointer(&buf)), uintptr(n))
	return failed(e)
}

// connect connects, or with an address of AF_UNSPEC disconnects.
func (k *kernelSocket) connect(peer Sockaddr) error {
	if !k.acquire() {
		return unix.EBADF
	}
	defer k.release()
	var buf [addrSize]byte
	n := peer.encode(&buf)
	i := k.begin(unix.SO_SNDTIMEO)
	for {
		// Called again, connect goes on waiting for the same connection.
		_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(k.fd), uintptr(unsafe.Pointer(&buf)), uintptr(n))
		if e = i.result(e, unix.EINPROGRESS); e != unix.EINTR {
			return failed(e)
		}
	}
}

func (k *kernelSocket) getsockname() (Sockaddr, error) { return k.name(unix.SYS_GETSOCKNAME) }

func (k *kernelSocket) getpeername() (Sockaddr, error) { return k.name(unix.SYS_GETPEERNAME) }

func (k *kernelSocket) name(call uintptr) (Sockaddr, error) {
	if !k.acquire() {
		return Sockaddr{}, unix.EBADF
	}
	defer k.release()
	var buf [addrSize]byte
	n := uint32(addrSize)
	_, _, e := unix.Syscall(call, uintptr(k.fd), uintptr(unsafe.Pointer(&buf)), uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return Sockaddr{}, e
	}
	return decodeSockaddr(&buf, int(n)), nil
}

func (k *kernelSocket) shutdown(how int) error {
	if !k.acquire() {
		return unix.EBADF
	}
	defer k.release()
	_, _, e := unix.Syscall(unix.SYS_SHUTDOWN, uintptr(k.fd), uintptr(how), 0)
	return failed(e)
}

func (k *kernelSocket) setNonblock(on bool) error {
	if !k.acquire() {
		return unix.EBADF
	}
	defer k.release()
	return unix.SetNonblock(k.fd, on)
}

func (k *kernelSocket) setsockopt(level, name int, value []byte) error {
	if !k.acquire() {
		return unix.EBADF
	}
	defer k.release()
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

// getsockopt returns the length that the kernel says, which for a few options
// is more than fit.
func (k *kernelSocket) getsockopt(level, name int, value []byte) (int, error) {
	if !k.acquire() {
		return 0, unix.EBADF
	}
	defer k.release()
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
