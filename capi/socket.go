package main

/*
#include "types.h"
*/
import "C"

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

//export ob_socket
func ob_socket(domain, typ, protocol C.int) C.int {
	return C.int(library.Socket(int(domain), int(typ), int(protocol)))
}

// address returns an address that C has: EFAULT for NULL, EINVAL for a length that none has.
func address(addr C.ob_const_sockaddr, n C.socklen_t) ([]byte, C.int) {
	switch {
	case int32(n) < 0:
		return nil, -C.int(unix.EINVAL)
	case addr == nil && n > 0:
		return nil, -C.int(unix.EFAULT)
	}
	return view(unsafe.Pointer(addr), uint64(n)), 0
}

//export ob_bind
func ob_bind(s C.int, addr C.ob_const_sockaddr, n C.socklen_t) C.int {
	a, e := address(addr, n)
	if e != 0 {
		return e
	}
	return C.int(library.Bind(int(s), a))
}

//export ob_connect
func ob_connect(s C.int, addr C.ob_const_sockaddr, n C.socklen_t) C.int {
	a, e := address(addr, n)
	if e != 0 {
		return e
	}
	return C.int(library.Connect(int(s), a))
}

// named stores a name's length where C wants it.
func named(s C.int, addr *C.struct_sockaddr, n *C.socklen_t, get func(h int, addr []byte) int) C.int {
	switch {
	case n == nil || addr == nil && *n > 0:
		return -C.int(unix.EFAULT)
	case int32(*n) < 0:
		return -C.int(unix.EINVAL)
	}
	r := get(int(s), view(unsafe.Pointer(addr), uint64(*n)))
	if r < 0 {
		return C.int(r)
	}
	*n = C.socklen_t(r)
	return 0
}

//export ob_getsockname
func ob_getsockname(s C.int, addr *C.struct_sockaddr, n *C.socklen_t) C.int {
	return named(s, addr, n, library.Getsockname)
}

//export ob_getpeername
func ob_getpeername(s C.int, addr *C.struct_sockaddr, n *C.socklen_t) C.int {
	return named(s, addr, n, library.Getpeername)
}

//export ob_shutdown
func ob_shutdown(s, how C.int) C.int { return C.int(library.Shutdown(int(s), int(how))) }

//export ob_close
func ob_close(s C.int) C.int { return C.int(library.Close(int(s))) }

//export ob_getsockopt
func ob_getsockopt(s, level, name C.int, value unsafe.Pointer, n *C.socklen_t) C.int {
	switch {
	case n == nil || value == nil && *n > 0:
		return -C.int(unix.EFAULT)
	case int32(*n) < 0:
		return -C.int(unix.EINVAL)
	}
	r := library.Getsockopt(int(s), int(level), int(name), view(value, uint64(*n)))
	if r < 0 {
		return C.int(r)
	}
	*n = C.socklen_t(r)
	return 0
}

//export ob_setsockopt
func ob_setsockopt(s, level, name C.int, value C.ob_const_void, n C.socklen_t) C.int {
	switch {
	case int32(n) < 0:
		return -C.int(unix.EINVAL)
	case value == nil && n > 0:
		return -C.int(unix.EFAULT)
	}
	return C.int(library.Setsockopt(int(s), int(level), int(name), view(unsafe.Pointer(value), uint64(n))))
}

//export ob_ioctl
func ob_ioctl(s C.int, request C.ulong, arg unsafe.Pointer) C.int {
	return C.int(library.Ioctl(int(s), uint(request), arg))
}

//export ob_fcntl
func ob_fcntl(s, cmd C.int, arg C.ulong) C.int {
	return C.int(library.Fcntl(int(s), int(cmd), uintptr(arg), *(*unsafe.Pointer)(unsafe.Pointer(&arg))))
}
