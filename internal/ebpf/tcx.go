package ebpf

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Link is a program that is attached to a device's ingress by TCX (Linux 6.6).
type Link struct{ fd int }

// AttachTCX puts a program of SchedCLS, behind those that are there, at the ingress of a device of the
// calling thread's network namespace, until Close, or until the process ends. ENODEV:
// there is no such device. EINVAL: the kernel is older than 6.6, too.
func AttachTCX(index int, p *Program) (*Link, error) {
	attr := struct {
		program, device, attach, flags uint32
		_                              [4]uint64 // of tcx: behind all others, whatever their revision
	}{program: uint32(p.fd), device: uint32(index), attach: unix.BPF_TCX_INGRESS}
	fd, err := call(unix.BPF_LINK_CREATE, &attr)
	if err != nil {
		return nil, fmt.Errorf("attach at TCX: %w", err)
	}
	return &Link{fd}, nil
}

// Device returns the index of the device that the program is on, 0 if that is gone.
func (l *Link) Device() int {
	info := struct {
		typ, id, program, _ uint32
		device, attach      uint32
		_                   [32]byte // other kinds of links say more
	}{}
	attr := struct {
		fd, size uint32
		info     uint64
	}{uint32(l.fd), uint32(unsafe.Sizeof(info)), 0}
	var mem memory
	defer mem.Unpin()
	mem.Pin(&info)
	attr.info = uint64(uintptr(unsafe.Pointer(&info)))
	if _, err := call(unix.BPF_OBJ_GET_INFO_BY_FD, &attr); err != nil || info.typ != unix.BPF_LINK_TYPE_TCX {
		return 0
	}
	return int(info.device)
}

// Close takes the program from the device.
func (l *Link) Close() error { return unix.Close(l.fd) }
