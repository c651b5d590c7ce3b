package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// FewBuffers is how many buffers of a message cost no allocation.
const FewBuffers = 8

// A Result is what a receiving call says of a message.
type Result struct {
	N                 int // bytes
	Name              int // length of the source's address
	ControlLen, Flags int
}

// Recvfrom is recvfrom(2): it stores the source in from, and returns the datagram's
// length and that of the source. Hot path: no allocation.
func (k *Socket) Recvfrom(p []byte, flags int, from *Name) (n, name int, err error) {
	if !k.Acquire() {
		return 0, 0, unix.EBADF
	}
	defer k.Release()
	i := k.begin(unix.SO_RCVTIMEO)
	for {
		size := uint32(NameSize)
		n, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(k.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags),
			uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&size)))
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			return int(n), int(size), nil
		case unix.EINTR:
		default:
			return 0, 0, e
		}
	}
}

// Sendto is sendto(2); with no name, send(2). Hot path: no allocation.
func (k *Socket) Sendto(p []byte, flags int, name []byte) (int, error) {
	if !k.Acquire() {
		return 0, unix.EBADF
	}
	defer k.Release()
	i := k.begin(unix.SO_SNDTIMEO)
	for {
		n, _, e := unix.Syscall6(unix.SYS_SENDTO, uintptr(k.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags),
			uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(len(name)))
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// Recvmsg is recvmsg(2): it stores the source in name. Descriptors in the control
// messages have FD_CLOEXEC, as the socket's own has.
func (k *Socket) Recvmsg(iov [][]byte, control []byte, flags int, name *Name) (Result, error) {
	if !k.Acquire() {
		return Result{}, unix.EBADF
	}
	defer k.Release()
	var few [FewBuffers]unix.Iovec
	added := k.addedRecvFlags(flags)
	i := k.begin(unix.SO_RCVTIMEO)
	for {
		h := receiveHeader(control, name, appendIovecs(few[:0], iov))
		n, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(k.fd), uintptr(unsafe.Pointer(&h)), uintptr(flags|added))
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			return resultOf(&h, int(n), added), nil
		case unix.EINTR:
		default:
			return Result{}, e
		}
	}
}

// Sendmsg is sendmsg(2), to the peer if there is no name.
func (k *Socket) Sendmsg(name []byte, iov [][]byte, control []byte, flags int) (int, error) {
	if !k.Acquire() {
		return 0, unix.EBADF
	}
	defer k.Release()
	var few [FewBuffers]unix.Iovec
	i := k.begin(unix.SO_SNDTIMEO)
	for {
		h := sendHeader(name, control, appendIovecs(few[:0], iov))
		n, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(k.fd), uintptr(unsafe.Pointer(&h)), uintptr(flags))
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// addedRecvFlags returns the flags that a receiving call has beside its
// caller's.
func (k *Socket) addedRecvFlags(flags int) int {
	if k.domain == unix.AF_UNIX {
		return unix.MSG_CMSG_CLOEXEC &^ flags
	}
	return 0
}

// appendIovecs appends the kernel's view of buffers.
func appendIovecs(iov []unix.Iovec, buffers [][]byte) []unix.Iovec {
	for _, b := range buffers {
		v := unix.Iovec{Base: unsafe.SliceData(b)}
		v.SetLen(len(b))
		iov = append(iov, v)
	}
	return iov
}

// receiveHeader returns a header for receiving. It and sendHeader return what the
// caller has on its stack; storing it by a pointer would move it to the heap.
func receiveHeader(control []byte, name *Name, iov []unix.Iovec) unix.Msghdr {
	h := unix.Msghdr{
		Name: &name[0], Namelen: NameSize,
		Iov:     unsafe.SliceData(iov),
		Control: unsafe.SliceData(control),
	}
	h.SetIovlen(len(iov))
	h.SetControllen(len(control))
	return h
}

// sendHeader returns a header for sending.
func sendHeader(name, control []byte, iov []unix.Iovec) unix.Msghdr {
	h := unix.Msghdr{
		Name: unsafe.SliceData(name), Namelen: uint32(len(name)),
		Iov:     unsafe.SliceData(iov),
		Control: unsafe.SliceData(control),
	}
	h.SetIovlen(len(iov))
	h.SetControllen(len(control))
	return h
}

// resultOf returns what the kernel stored in h. Linux returns MSG_CMSG_CLOEXEC among
// the flags: not what the caller did not ask for.
func resultOf(h *unix.Msghdr, n, added int) Result {
	return Result{N: n, Name: int(h.Namelen), ControlLen: int(h.Controllen), Flags: int(h.Flags) &^ added}
}
