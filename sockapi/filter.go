package sockapi

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// detachFilter is SO_DETACH_FILTER: ENOENT if there is no filter.
func detachFilter(s *Socket, _ []byte) error {
	switch {
	case s.filterLocked.Load():
		return unix.EPERM
	case !s.oob.Filtered():
		return unix.ENOENT
	}
	return s.oob.SetFilter(nil)
}

// AttachFilter attaches a classic BPF program (SO_ATTACH_FILTER in socket(7)),
// out-of-band and in-band: it sees each datagram from its UDP or ICMP header on,
// and returns how many bytes to keep, 0 to drop it. EINVAL: not a program. EPERM:
// the filter is locked (SO_LOCK_FILTER).
func (s *Socket) AttachFilter(program []bpf.RawInstruction) error {
	if len(program) == 0 || len(program) > unix.BPF_MAXINSNS {
		return unix.EINVAL
	}
	if s.oob == nil {
		return s.kernel.attachFilter(program)
	}
	switch {
	case s.oob.Closed():
		return unix.EBADF
	case s.filterLocked.Load():
		return unix.EPERM
	}
	instructions, ok := bpf.Disassemble(program)
	if !ok {
		return unix.EINVAL
	}
	return s.oob.SetFilter(instructions)
}

// lockFilter is SO_LOCK_FILTER: what is locked stays so.
func (s *Socket) lockFilter(on bool) error {
	if s.filterLocked.Load() && !on {
		return unix.EPERM
	}
	s.filterLocked.Store(on)
	return nil
}
