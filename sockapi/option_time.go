package sockapi

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// timestampingMask are the SOF_TIMESTAMPING_* flags that Linux knows.
const timestampingMask = 1<<19 - 1

// timestampingOption is SO_TIMESTAMPING: an int of SOF_TIMESTAMPING_* flags, or
// struct so_timestamping, whose second member (a clock of the device's) has to be 0.
var timestampingOption = option{
	size: 4,
	get: func(s *Socket, b []byte) error {
		binary.NativeEndian.PutUint32(b, s.timestamping.Load())
		return nil
	},
	set: func(s *Socket, b []byte) error {
		flags := binary.NativeEndian.Uint32(b)
		if flags&^timestampingMask != 0 {
			return unix.EINVAL
		}
		s.timestamping.Store(flags)
		const receive = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE |
			unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE
		s.want(wantTimestamping, flags&receive != 0)
		s.oob.SetTimestamping(flags)
		return nil
	},
}

// memInfoOption is SO_MEMINFO: nine numbers (linux/sock_diag.h, SK_MEMINFO_*).
var memInfoOption = option{variable: true, getN: func(s *Socket, b []byte) (int, error) {
	m := s.oob.MemInfo()
	var data [36]byte
	for i, v := range []int{m.Receive, m.ReceiveLimit, m.Send, m.SendLimit, 0, 0, 0, 0, int(m.Drops)} {
		binary.NativeEndian.PutUint32(data[4*i:], uint32(v))
	}
	return copy(b, data[:]), nil
}}

func init() {
	options[optionKey{unix.SOL_SOCKET, unix.SO_TIMESTAMPING}] = timestampingOption
	options[optionKey{unix.SOL_SOCKET, unix.SO_MEMINFO}] = memInfoOption
	options[optionKey{unix.SOL_SOCKET, unix.SO_DETACH_FILTER}] = option{size: 0, set: detachFilter}
	options[optionKey{unix.SOL_SOCKET, unix.SO_LOCK_FILTER}] = integer(
		func(s *Socket) int { return boolInt(s.filterLocked.Load()) },
		func(s *Socket, v int) error {
			if s.filterLocked.Load() && v == 0 {
				return unix.EPERM
			}
			s.filterLocked.Store(v != 0)
			return nil
		})
}

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
