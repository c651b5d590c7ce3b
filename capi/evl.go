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

//export ob_oob_recvmsg
func ob_oob_recvmsg(s C.int, m *C.struct_msghdr, date C.ob_const_timespec, flags C.int) C.ssize_t {
	if m == nil {
		return badMemory
	}
	return C.ssize_t(library.OobRecvmsg(int(s), (*unix.Msghdr)(unsafe.Pointer(m)), (*unix.Timespec)(unsafe.Pointer(date)), int(flags)))
}

//export ob_oob_sendmsg
func ob_oob_sendmsg(s C.int, m C.ob_const_msghdr, date C.ob_const_timespec, flags C.int) C.ssize_t {
	if m == nil {
		return badMemory
	}
	return C.ssize_t(library.OobSendmsg(int(s), (*unix.Msghdr)(unsafe.Pointer(m)), (*unix.Timespec)(unsafe.Pointer(date)), int(flags)))
}

//export ob_solicit
func ob_solicit(s C.int, peer C.ob_const_sockaddr, n C.socklen_t, flags C.int) C.int {
	a, e := address(peer, n)
	if e != 0 {
		return e
	}
	return C.int(library.Solicit(int(s), a, int(flags)))
}

//export ob_poll_ctl
func ob_poll_ctl(e, op, handle, fd C.int, events C.uint, value C.uint64_t) C.int {
	return C.int(library.PollCtl(int(e), int(op), int(handle), int32(fd), uint32(events), uint64(value)))
}

//export ob_poll_wait
func ob_poll_wait(e C.int, events *C.struct_ob_poll_event, n C.int, date C.ob_const_timespec) C.int {
	if n <= 0 {
		return C.int(invalid)
	}
	if events == nil {
		return C.int(badMemory)
	}
	all := unsafe.Slice((*calls.PollEvent)(unsafe.Pointer(events)), n)
	return C.int(library.PollWait(int(e), all, (*unix.Timespec)(unsafe.Pointer(date))))
}
