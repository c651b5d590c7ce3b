package main

/*
#include "types.h"
*/
import "C"

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// filled copies a struct to where C has one of size bytes: EINVAL if it has no size.
func filled(to unsafe.Pointer, from unsafe.Pointer, whole uintptr) C.int {
	size := *(*C.size_t)(to)
	if uint64(size) < 16 || uint64(size) > 1<<16 {
		return -C.int(unix.EINVAL)
	}
	b := view(to, uint64(size))
	clear(b[copy(b, unsafe.Slice((*byte)(from), whole)):])
	*(*C.size_t)(to) = size
	return 0
}

//export ob_stat
func ob_stat(st *C.struct_ob_stat) C.int {
	if st == nil {
		return C.int(badMemory)
	}
	get, ok := library.Stats()
	if !ok {
		return -C.int(unix.ENETDOWN)
	}
	count := func(name string) C.uint64_t { return C.uint64_t(get.Get(name)) }
	all := C.struct_ob_stat{
		in: count("UdpInDatagrams"), out: count("UdpOutDatagrams"),
		in_errors: count("UdpInErrors"), no_ports: count("UdpNoPorts"),
		rcvbuf_errors: count("UdpRcvbufErrors"), sndbuf_errors: count("UdpSndbufErrors"),
	}
	return filled(unsafe.Pointer(st), unsafe.Pointer(&all), unsafe.Sizeof(all))
}

//export ob_where
func ob_where(s C.int, path *C.struct_ob_path) C.int {
	if path == nil {
		return C.int(badMemory)
	}
	by, ifindex, e := library.Where(int(s))
	if e < 0 {
		return C.int(e)
	}
	all := C.struct_ob_path{by: C.int(by), ifindex: C.int(ifindex)}
	name := library.DeviceName(int(ifindex))
	for i := range min(len(name), len(all.device)-1) {
		all.device[i] = C.char(name[i])
	}
	return filled(unsafe.Pointer(path), unsafe.Pointer(&all), unsafe.Sizeof(all))
}

//export ob_adopt
func ob_adopt(s, fd C.int) C.int { return C.int(library.Adopt(int(s), int(fd))) }

//export ob_holder
func ob_holder(s C.int) C.int { return C.int(library.Holder(int(s))) }

//export ob_snapshot
func ob_snapshot(s C.int, buf unsafe.Pointer, n C.size_t) C.int {
	return C.int(library.Snapshot(int(s), view(buf, uint64(n))))
}

//export ob_restore
func ob_restore(buf C.ob_const_void, n C.size_t) C.int {
	return C.int(library.Restore(view(unsafe.Pointer(buf), uint64(n))))
}

//export ob_device
func ob_device(name C.ob_const_char) C.int {
	if name == nil {
		return C.int(badMemory)
	}
	return C.int(library.Device(goString(name)))
}

//export ob_device_stat
func ob_device_stat(ifindex C.int, st *C.struct_ob_device_stat) C.int {
	if st == nil {
		return C.int(badMemory)
	}
	count, ok := library.DeviceStats(int(ifindex))
	if !ok {
		return -C.int(unix.ENODEV)
	}
	all := C.struct_ob_device_stat{
		in_frames: C.uint64_t(count.RxFrames), in_bytes: C.uint64_t(count.RxBytes), in_dropped: C.uint64_t(count.RxDropped),
		out_frames: C.uint64_t(count.TxFrames), out_bytes: C.uint64_t(count.TxBytes), out_dropped: C.uint64_t(count.TxDropped),
	}
	return filled(unsafe.Pointer(st), unsafe.Pointer(&all), unsafe.Sizeof(all))
}
