package sockapi

import (
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// attachProgram sets SO_ATTACH_FILTER or SO_ATTACH_REUSEPORT_CBPF, whose value
// points to the program.
func (k *kernelSocket) attachProgram(option int, program []bpf.RawInstruction) error {
	f := unix.SockFprog{Len: uint16(len(program)), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	value := unsafe.Slice((*byte)(unsafe.Pointer(&f)), unsafe.Sizeof(f))
	err := k.setsockopt(unix.SOL_SOCKET, option, value)
	runtime.KeepAlive(program)
	return err
}
