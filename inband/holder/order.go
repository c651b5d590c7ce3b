package holder

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// swapped returns a number in network byte order, which the kernel has as it is, in host order.
func swapped(n uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&n))[:])
}

// bigEndian returns a number as IP_UNICAST_IF wants it: in network byte order.
func bigEndian(n int32) int32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	return *(*int32)(unsafe.Pointer(&b))
}

// connectRaw is connect(2) with an address of any family, which package unix has not.
func connectRaw(fd int, sa *unix.RawSockaddr) unix.Errno {
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(sa)), unsafe.Sizeof(*sa))
	return e
}
