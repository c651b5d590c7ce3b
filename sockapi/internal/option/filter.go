package option

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// detachFilter is SO_DETACH_FILTER: ENOENT if there is no filter.
func detachFilter(s *State, _ []byte) error {
	switch {
	case s.filterLocked.Load():
		return unix.EPERM
	case s.K.Receiving().Filter() == nil:
		return unix.ENOENT
	}
	return s.K.Receiving().SetFilter(nil)
}

// AttachFilter is SO_ATTACH_FILTER.
func (s *State) AttachFilter(program []bpf.RawInstruction) error {
	switch {
	case s.K.Closed():
		return unix.EBADF
	case s.filterLocked.Load():
		return unix.EPERM
	}
	if err := s.K.Receiving().SetFilter(program); err != nil {
		return err
	}
	program = slices.Clone(program)
	s.filter.Store(&program)
	return nil
}

// getFilter is SO_GET_FILTER, whose length is in instructions of 8 bytes: all of
// the program, if value has room for it, or with no value its length only.
func getFilter(s *State, value []byte) (int, error) {
	program := s.filter.Load()
	if program == nil || s.K.Receiving().Filter() == nil {
		return 0, nil
	}
	if len(value) > 0 && len(value) < unix.SizeofSockFilter*len(*program) {
		return 0, unix.EINVAL
	}
	if len(value) > 0 {
		for i, ins := range *program {
			b := value[unix.SizeofSockFilter*i:]
			binary.NativeEndian.PutUint16(b, ins.Op)
			b[2], b[3] = ins.Jt, ins.Jf
			binary.NativeEndian.PutUint32(b[4:], ins.K)
		}
	}
	return len(*program), nil
}

// AttachReusePort is SO_ATTACH_REUSEPORT_CBPF.
func (s *State) AttachReusePort(program []bpf.RawInstruction) error {
	switch {
	case s.K.Closed():
		return unix.EBADF
	case s.filterLocked.Load():
		return unix.EPERM
	}
	if s.Ports == nil {
		return unix.EINVAL
	}
	return s.Ports.AttachReusePort(program)
}

// refuseProgram is what Setsockopt says of a program in bytes, which is a struct
// sock_fprog with a pointer: AttachFilter and AttachReusePort take it instead.
func refuseProgram(s *State, value []byte) error {
	const fprogLen = 16
	if len(value) == fprogLen && s.filterLocked.Load() {
		return unix.EPERM
	}
	return unix.EINVAL
}

// lockFilter is SO_LOCK_FILTER: what is locked stays so.
func (s *State) lockFilter(on bool) error {
	if s.filterLocked.Load() && !on {
		return unix.EPERM
	}
	s.filterLocked.Store(on)
	return nil
}
