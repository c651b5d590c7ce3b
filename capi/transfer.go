package main

/*
#include "types.h"
*/
import "C"

import (
	"unsafe"

	"github.com/outband/outband/capi/internal/calls"
	"golang.org/x/sys/unix"
)

const (
	badMemory = -C.ssize_t(unix.EFAULT)
	invalid   = -C.ssize_t(unix.EINVAL)
)

//export ob_send
func ob_send(s C.int, buf C.ob_const_void, n C.size_t, flags C.int) C.ssize_t {
	if buf == nil && n > 0 {
		return badMemory
	}
	return C.ssize_t(library.Sendto(int(s), view(unsafe.Pointer(buf), length(n)), int(flags), nil))
}

//export ob_sendto
func ob_sendto(s C.int, buf C.ob_const_void, n C.size_t, flags C.int, to C.ob_const_sockaddr, size C.socklen_t) C.ssize_t {
	if buf == nil && n > 0 {
		return badMemory
	}
	if to != nil && int32(size) < 0 {
		return invalid
	}
	return C.ssize_t(library.Sendto(int(s), view(unsafe.Pointer(buf), length(n)), int(flags), view(unsafe.Pointer(to), uint64(size))))
}

// length cuts what is longer than a call takes (MAX_RW_COUNT).
func length(n C.size_t) uint64 { return min(uint64(n), 0x7ffff000) }

//export ob_sendmsg
func ob_sendmsg(s C.int, m C.ob_const_msghdr, flags C.int) C.ssize_t {
	if m == nil {
		return badMemory
	}
	return C.ssize_t(library.Sendmsg(int(s), (*unix.Msghdr)(unsafe.Pointer(m)), int(flags)))
}

//export ob_sendmmsg
func ob_sendmmsg(s C.int, m *C.struct_mmsghdr, n C.uint, flags C.int) C.int {
	if m == nil && n > 0 {
		return C.int(badMemory)
	}
	return C.int(library.Sendmmsg(int(s), calls.Messages(unsafe.Pointer(m), uint(n)), int(flags)))
}

//export ob_recv
func ob_recv(s C.int, buf unsafe.Pointer, n C.size_t, flags C.int) C.ssize_t {
	if buf == nil && n > 0 {
		return badMemory
	}
	return C.ssize_t(library.Recvfrom(int(s), view(buf, length(n)), int(flags), nil, nil))
}

//export ob_recvfrom
func ob_recvfrom(s C.int, buf unsafe.Pointer, n C.size_t, flags C.int, from *C.struct_sockaddr, size *C.socklen_t) C.ssize_t {
	if buf == nil && n > 0 {
		return badMemory
	}
	return C.ssize_t(library.Recvfrom(int(s), view(buf, length(n)), int(flags), (*byte)(unsafe.Pointer(from)), (*uint32)(size)))
}

//export ob_recvmsg
func ob_recvmsg(s C.int, m *C.struct_msghdr, flags C.int) C.ssize_t {
	if m == nil {
		return badMemory
	}
	return C.ssize_t(library.Recvmsg(int(s), (*unix.Msghdr)(unsafe.Pointer(m)), int(flags)))
}

//export ob_recvmmsg
func ob_recvmmsg(s C.int, m *C.struct_mmsghdr, n C.uint, flags C.int, timeout *C.struct_timespec) C.int {
	if m == nil && n > 0 {
		return C.int(badMemory)
	}
	return C.int(library.Recvmmsg(int(s), calls.Messages(unsafe.Pointer(m), uint(n)), int(flags), (*unix.Timespec)(unsafe.Pointer(timeout))))
}

//export ob_recvmsg_cut
func ob_recvmsg_cut(s C.int, m *C.struct_msghdr, flags C.int, cut C.ob_cut_word) C.ssize_t {
	if m == nil {
		return badMemory
	}
	return C.ssize_t(library.RecvmsgCut(int(s), (*unix.Msghdr)(unsafe.Pointer(m)), int(flags), (*uint32)(unsafe.Pointer(cut))))
}

//export ob_recvmmsg_cut
func ob_recvmmsg_cut(s C.int, m *C.struct_mmsghdr, n C.uint, flags C.int, cut C.ob_cut_word) C.int {
	if m == nil && n > 0 {
		return C.int(badMemory)
	}
	return C.int(library.RecvmmsgCut(int(s), calls.Messages(unsafe.Pointer(m), uint(n)), int(flags), (*uint32)(unsafe.Pointer(cut))))
}
