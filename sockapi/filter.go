package sockapi

import (
	"encoding/binary"
	"slices"

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
// and returns how many bytes to keep, 0 to drop it. A raw or packet socket's sees
// what the socket receives. All of Linux' extensions may be loaded: SKF_AD_OFF's,
// of which mark, queue and flow hash are 0 out-of-band, SKF_NET_OFF and SKF_LL_OFF,
// the last not of what came in fragments. EINVAL: not a program. EPERM: the filter
// is locked (SO_LOCK_FILTER).
func (s *Socket) AttachFilter(program []bpf.RawInstruction) error {
	if len(program) == 0 || len(program) > unix.BPF_MAXINSNS {
		return s.orClosed(unix.EINVAL)
	}
	if s.oob == nil {
		return s.kernel.attachProgram(unix.SO_ATTACH_FILTER, program)
	}
	switch {
	case s.oob.Closed():
		return unix.EBADF
	case s.filterLocked.Load():
		return unix.EPERM
	}
	if err := s.oob.SetFilter(program); err != nil {
		return err
	}
	program = slices.Clone(program)
	s.filter.Store(&program)
	return nil
}

// getFilter is SO_GET_FILTER, whose length is in instructions of 8 bytes: all of
// the program, if value has room for it, or with no value its length only.
func getFilter(s *Socket, value []byte) (int, error) {
	program := s.filter.Load()
	if program == nil || !s.oob.Filtered() {
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

// AttachReusePort sets the classic BPF program that chooses the member of the
// socket's SO_REUSEPORT group for each datagram (SO_ATTACH_REUSEPORT_CBPF in
// socket(7)), out-of-band and in-band: it sees the UDP payload, and returns the
// number of the member, in the order in which they were bound; when one leaves,
// the last takes its number. SO_DETACH_REUSEPORT_BPF takes the program away.
// EINVAL: not a program, or the socket was bound without SO_REUSEPORT. EPERM: the
// filter is locked (SO_LOCK_FILTER).
func (s *Socket) AttachReusePort(program []bpf.RawInstruction) error {
	if len(program) == 0 || len(program) > unix.BPF_MAXINSNS {
		return s.orClosed(unix.EINVAL)
	}
	if s.oob == nil {
		return s.kernel.attachProgram(unix.SO_ATTACH_REUSEPORT_CBPF, program)
	}
	switch {
	case s.oob.Closed():
		return unix.EBADF
	case s.filterLocked.Load():
		return unix.EPERM
	}
	return s.oob.AttachReusePort(program)
}

// refuseProgram is what Setsockopt says of a program in bytes, which is a struct
// sock_fprog with a pointer: AttachFilter and AttachReusePort take it instead.
func refuseProgram(s *Socket, value []byte) error {
	const fprogLen = 16
	if len(value) == fprogLen && s.filterLocked.Load() {
		return unix.EPERM
	}
	return unix.EINVAL
}

// lockFilter is SO_LOCK_FILTER: what is locked stays so.
func (s *Socket) lockFilter(on bool) error {
	if s.filterLocked.Load() && !on {
		return unix.EPERM
	}
	s.filterLocked.Store(on)
	return nil
}
