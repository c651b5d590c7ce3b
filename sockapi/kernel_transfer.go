package sockapi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// fewBuffers is how many buffers of a message cost no allocation.
const fewBuffers = 8

// recvfrom receives into p. Hot path: no allocation (but for the path of an
// AF_UNIX source).
func (k *kernelSocket) recvfrom(p []byte, flags int) (int, Sockaddr, error) {
	if !k.acquire() {
		return 0, Sockaddr{}, unix.EBADF
	}
	defer k.release()
	var from [addrSize]byte
	i := k.begin(unix.SO_RCVTIMEO)
	for {
		size := uint32(addrSize)
		n, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(k.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags),
			uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)))
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			return int(n), decodeSockaddr(&from, int(size)), nil
		case unix.EINTR:
		default:
			return 0, Sockaddr{}, e
		}
	}
}

// sendto sends p to an address, or with the zero one without. Hot path: no
// allocation.
func (k *kernelSocket) sendto(p []byte, flags int, to Sockaddr) (int, error) {
	if !k.acquire() {
		return 0, unix.EBADF
	}
	defer k.release()
	var buf [addrSize]byte
	var name *[addrSize]byte
	size := 0
	if !to.IsZero() {
		name, size = &buf, to.encode(&buf)
	}
	i := k.begin(unix.SO_SNDTIMEO)
	for {
		n, _, e := unix.Syscall6(unix.SYS_SENDTO, uintptr(k.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags),
			uintptr(unsafe.Pointer(name)), uintptr(size))
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// recvmsg receives a message. Descriptors in its control messages have
// FD_CLOEXEC, as the socket's own has.
func (k *kernelSocket) recvmsg(m *Msghdr, flags int) (int, error) {
	if !k.acquire() {
		return 0, unix.EBADF
	}
	defer k.release()
	var name [addrSize]byte
	var few [fewBuffers]unix.Iovec
	added := k.addedRecvFlags(flags)
	i := k.begin(unix.SO_RCVTIMEO)
	for {
		h := receiveHeader(m, &name, appendIovecs(few[:0], m.Iov))
		n, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(k.fd), uintptr(unsafe.Pointer(&h)), uintptr(flags|added))
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			storeReceived(m, &h, &name, added)
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// sendmsg sends a message.
func (k *kernelSocket) sendmsg(m *Msghdr, flags int) (int, error) {
	if !k.acquire() {
		return 0, unix.EBADF
	}
	defer k.release()
	var name [addrSize]byte
	var few [fewBuffers]unix.Iovec
	i := k.begin(unix.SO_SNDTIMEO)
	for {
		h := sendHeader(m, &name, appendIovecs(few[:0], m.Iov))
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
func (k *kernelSocket) addedRecvFlags(flags int) int {
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

// receiveHeader returns m for receiving. It and sendHeader return what the
// caller has on its stack; storing it by a pointer would move it to the heap.
func receiveHeader(m *Msghdr, name *[addrSize]byte, iov []unix.Iovec) unix.Msghdr {
	h := unix.Msghdr{
		Name: &name[0], Namelen: addrSize,
		Iov:     unsafe.SliceData(iov),
		Control: unsafe.SliceData(m.Control),
	}
	h.SetIovlen(len(iov))
	h.SetControllen(len(m.Control))
	return h
}

// sendHeader returns m for sending.
func sendHeader(m *Msghdr, name *[addrSize]byte, iov []unix.Iovec) unix.Msghdr {
	h := unix.Msghdr{Iov: unsafe.SliceData(iov), Control: unsafe.SliceData(m.Control)}
	if !m.Name.IsZero() {
		h.Name, h.Namelen = &name[0], uint32(m.Name.encode(name))
	}
	h.SetIovlen(len(iov))
	h.SetControllen(len(m.Control))
	return h
}

// storeReceived stores in m what the kernel stored in h. Linux returns
// MSG_CMSG_CLOEXEC among the flags: not what the caller did not ask for.
func storeReceived(m *Msghdr, h *unix.Msghdr, name *[addrSize]byte, added int) {
	m.Name = decodeSockaddr(name, int(h.Namelen))
	m.ControlLen = int(h.Controllen)
	m.Flags = int(h.Flags) &^ added
}
