package ebpf

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A memory has what a call points to stay where it is.
type memory struct{ runtime.Pinner }

// at returns a pointer to b as bpf(2) takes it.
func (m *memory) at(b []byte) uint64 {
	p := unsafe.SliceData(b)
	if p != nil {
		m.Pin(p)
	}
	return uint64(uintptr(unsafe.Pointer(p)))
}

// tries is how often a call is made that the kernel wants made again, since a signal was
// pending.
const tries = 30

// call calls bpf(2). attr is the part of union bpf_attr that the command takes.
func call[T any](command int, attr *T) (int, error) {
	for try := 1; ; try++ {
		r, _, e := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
		switch {
		case e == 0:
			return int(r), nil
		case e == unix.EINTR, e == unix.EAGAIN && try < tries:
			continue
		}
		return -1, e
	}
}

// name returns an object's name as the kernel keeps it.
func name(s string) (n [unix.BPF_OBJ_NAME_LEN]byte) {
	copy(n[:len(n)-1], s)
	return n
}
