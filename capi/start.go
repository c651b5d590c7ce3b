package main

/*
#include "types.h"
*/
import "C"

import (
	"runtime/debug"
	"strings"
	"unsafe"

	"github.com/outband/outband/capi/internal/calls"
	"golang.org/x/sys/unix"
)

//export ob_start
func ob_start(config C.ob_const_config) C.int {
	// What a program that knows less of the struct has not set is zero.
	var c C.struct_ob_config
	whole := uint64(unsafe.Sizeof(c))
	if config == nil || uint64(config.size) < 8 || uint64(config.size) > 1<<16 {
		return -C.int(unix.EINVAL)
	}
	given := view(unsafe.Pointer(config), uint64(config.size))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&c)), whole), given)
	for i := whole; i < uint64(len(given)); i++ {
		if given[i] != 0 { // what this library does not know
			return -C.int(unix.E2BIG)
		}
	}
	cfg := calls.Config{
		Address: goString(c.address), Gateway: goString(c.gateway), Require: goString(c.require), Spin: int64(c.spin),
		Floor: int(c.fd_floor), NoLo: c.flags&C.OB_NO_LO != 0, NoLocalMulticast: c.flags&C.OB_NO_LOCAL_MULTICAST != 0,
	}
	if c.nfds < 0 || c.nfds > 0 && c.fds == nil {
		return -C.int(unix.EINVAL)
	}
	for _, fd := range unsafe.Slice((*int32)(unsafe.Pointer(c.fds)), c.nfds) {
		cfg.FDs = append(cfg.FDs, int(fd))
	}
	if c.flags&^(C.OB_NO_LO|C.OB_NO_LOCAL_MULTICAST) != 0 {
		return -C.int(unix.EINVAL)
	}
	for name := range strings.SplitSeq(goString(c.device), ",") {
		if name != "" {
			cfg.Devices = append(cfg.Devices, name)
		}
	}
	return C.int(library.Start(&cfg))
}

func goString(s C.ob_const_char) string { return C.GoString((*C.char)(unsafe.Pointer(s))) }

//export ob_stop
func ob_stop() C.int { return C.int(library.Stop()) }

//export ob_error
func ob_error(buf *C.char, n C.size_t) C.int {
	why := library.Why()
	if b := view(unsafe.Pointer(buf), uint64(n)); len(b) > 0 {
		b[copy(b[:len(b)-1], why)] = 0
	}
	return C.int(len(why))
}

// version is the library's, for as long as it is loaded.
var version = func() *C.char {
	v := "unknown"
	if b, ok := debug.ReadBuildInfo(); ok {
		v = b.Main.Version
	}
	return C.CString(v)
}()

//export ob_version
func ob_version() C.ob_const_char { return C.ob_const_char(unsafe.Pointer(version)) }
