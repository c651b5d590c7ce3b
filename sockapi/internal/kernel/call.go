package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// NameSize is the size of a struct sockaddr_storage, which holds the address of any
// family (socket(7)).
const NameSize = 128

// A Name is room for an address, as the kernel has it.
type Name [NameSize]byte

// Bind is bind(2).
func (k *Socket) Bind(name []byte) error {
	if !k.Acquire() {
		return unix.EBADF
	}
	defer k.Release()
	_, _, e := unix.Syscall(unix.SYS_BIND, uintptr(k.fd), uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(len(name)))
	return failed(e)
}

// Connect is connect(2): with an address of AF_UNSPEC it disconnects.
func (k *Socket) Connect(name []byte) error {
	if !k.Acquire() {
		return unix.EBADF
	}
	defer k.Release()
	i := k.begin(unix.SO_SNDTIMEO)
	for {
		// Called again, connect goes on waiting for the same connection.
		_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(k.fd), uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(len(name)))
		if e = i.result(e, unix.EINPROGRESS); e != unix.EINTR {
			return failed(e)
		}
	}
}

// Getsockname is getsockname(2): it stores the address in name, and returns its length.
func (k *Socket) Getsockname(name *Name) (int, error) { return k.name(unix.SYS_GETSOCKNAME, name) }

// Getpeername is getpeername(2), as Getsockname.
func (k *Socket) Getpeername(name *Name) (int, error) { return k.name(unix.SYS_GETPEERNAME, name) }

func (k *Socket) name(call uintptr, name *Name) (int, error) {
	if !k.Acquire() {
		return 0, unix.EBADF
	}
	defer k.Release()
	n := uint32(NameSize)
	_, _, e := unix.Syscall(call, uintptr(k.fd), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// Listen is listen(2).
func (k *Socket) Listen(backlog int) error {
	if !k.Acquire() {
		return unix.EBADF
	}
	defer k.Release()
	_, _, e := unix.Syscall(unix.SYS_LISTEN, uintptr(k.fd), uintptr(backlog), 0)
	return failed(e)
}

// Accept is accept4(2): it stores the peer's address in name, and returns the new
// socket and the address's length. The new socket has the time-outs of this one.
func (k *Socket) Accept(flags int, name *Name) (*Socket, int, error) {
	if !k.Acquire() {
		return nil, 0, unix.EBADF
	}
	defer k.Release()
	i := k.begin(unix.SO_RCVTIMEO)
	for {
		size := uint32(NameSize)
		fd, _, e := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(k.fd), uintptr(unsafe.Pointer(name)),
			uintptr(unsafe.Pointer(&size)), uintptr(flags|unix.SOCK_CLOEXEC), 0, 0)
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			c := New(int(fd), k.domain)
			c.timed.Store(k.timed.Load())
			return c, int(size), nil
		case unix.EINTR:
		default:
			return nil, 0, e
		}
	}
}

// Shutdown is shutdown(2).
func (k *Socket) Shutdown(how int) error {
	if !k.Acquire() {
		return unix.EBADF
	}
	defer k.Release()
	_, _, e := unix.Syscall(unix.SYS_SHUTDOWN, uintptr(k.fd), uintptr(how), 0)
	return failed(e)
}

// SetNonblock sets or clears O_NONBLOCK.
func (k *Socket) SetNonblock(on bool) error {
	if !k.Acquire() {
		return unix.EBADF
	}
	defer k.Release()
	return unix.SetNonblock(k.fd, on)
}
