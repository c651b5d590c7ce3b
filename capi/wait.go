package main

/*
#include "types.h"
*/
import "C"

import (
	"unsafe"

	"github.com/outband/outband/capi/internal/calls"
)

// wants returns what C wants.
func wants(w *C.struct_ob_want, n C.uint) []calls.Want {
	return unsafe.Slice((*calls.Want)(unsafe.Pointer(w)), n)
}

//export ob_poll
func ob_poll(w *C.struct_ob_want, n C.uint, timeout C.int) C.int {
	if w == nil && n > 0 {
		return C.int(badMemory)
	}
	return C.int(library.Poll(wants(w, n), int(timeout)))
}

//export ob_spin
func ob_spin(w *C.struct_ob_want, n C.uint, budget C.int64_t, cut C.ob_cut_word) C.int {
	if w == nil && n > 0 {
		return C.int(badMemory)
	}
	return C.int(library.Spin(wants(w, n), int64(budget), (*uint32)(unsafe.Pointer(cut))))
}

//export ob_arm
func ob_arm(w *C.struct_ob_want, n C.uint, fds *C.int, nfds *C.uint, until *C.int64_t) C.int {
	if w == nil && n > 0 || nfds == nil || fds == nil && *nfds > 0 || until == nil {
		return C.int(badMemory)
	}
	return C.int(library.Arm(wants(w, n), unsafe.Slice((*int32)(fds), *nfds), (*uint32)(nfds), (*int64)(until)))
}

//export ob_disarm
func ob_disarm(token C.int, w *C.struct_ob_want, n C.uint) C.int {
	if w == nil && n > 0 {
		return C.int(badMemory)
	}
	return C.int(library.Disarm(int(token), wants(w, n)))
}

//export ob_pollfd
func ob_pollfd(s C.int) C.int { return C.int(library.PollFD(int(s))) }

//export ob_pollfd_edges
func ob_pollfd_edges(s, on C.int) C.int { return C.int(library.PollEdges(int(s), on != 0)) }

//export ob_events
func ob_events(s C.int) C.int { return C.int(library.Events(int(s))) }

//export ob_epoll_create
func ob_epoll_create() C.int { return C.int(library.EpollCreate()) }

//export ob_epoll_ctl
func ob_epoll_ctl(e, op, handle C.int, ev C.ob_const_epoll_event) C.int {
	return C.int(library.EpollCtl(int(e), int(op), int(handle), (*calls.EpollEvent)(unsafe.Pointer(ev))))
}

//export ob_epoll_wait
func ob_epoll_wait(e C.int, events *C.struct_epoll_event, n, timeout C.int) C.int {
	if n <= 0 {
		return C.int(invalid)
	}
	if events == nil {
		return C.int(badMemory)
	}
	return C.int(library.EpollWait(int(e), unsafe.Slice((*calls.EpollEvent)(unsafe.Pointer(events)), n), int(timeout)))
}

//export ob_epoll_spin
func ob_epoll_spin(e C.int, spin C.int64_t) C.int {
	return C.int(library.EpollSpin(int(e), int64(spin)))
}
