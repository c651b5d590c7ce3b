package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlScratch is more than any request without a size in its number reads or
// writes, but for those with a pointer in them.
const ioctlScratch = 256

// Ioctl is ioctl(2), made with a copy of arg, behind which there is room for what
// the kernel might write if it is too short.
func (k *Socket) Ioctl(req uint, arg []byte) (int, error) {
	if !k.Acquire() {
		return 0, unix.EBADF
	}
	defer k.Release()
	if req == unix.SIOCGIFCONF {
		return k.ifconf(arg)
	}
	size := max(ioctlScratch, len(arg), int(req>>16&0x3fff)) // _IOC_SIZE
	b := make([]byte, size)
	copy(b, arg)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(k.fd), uintptr(req), uintptr(unsafe.Pointer(&b[0]))); e != 0 {
		return 0, e
	}
	return copy(arg, b), nil
}

// ifconf is SIOCGIFCONF: it fills buf with structs ifreq.
func (k *Socket) ifconf(buf []byte) (int, error) {
	var conf struct { // struct ifconf
		n   int32
		buf *byte
	}
	conf.n, conf.buf = int32(len(buf)), unsafe.SliceData(buf)
	if buf == nil {
		conf.buf = nil
	}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(k.fd), unix.SIOCGIFCONF, uintptr(unsafe.Pointer(&conf)))
	if e != 0 {
		return 0, e
	}
	return int(conf.n), nil
}
