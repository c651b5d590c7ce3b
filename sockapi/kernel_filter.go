package sockapi

import (
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// attachFilter is SO_ATTACH_FILTER, whose value points to the program.
func (k *kernelSocket) attachFilter(program []bpf.RawInstruction) error {
	f := unix.SockFprog{Len: uint16(len(program)), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	value := unsafe.Slice((*byte)(unsafe.Pointer(&f)), unsafe.Sizeof(f))
	err := k.setsockopt(unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, value)
	runtime.KeepAlive(program)
	return err
}
