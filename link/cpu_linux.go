package link

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// CPU returns the number of the CPU that the calling thread runs on (getcpu(2)),
// -1 if the kernel does not tell. It is a system call, and the answer may be
// wrong by the time that it comes.
func CPU() int32 {
	var cpu uint32
	if _, _, e := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); e != 0 {
		return -1
	}
	return int32(cpu)
}
