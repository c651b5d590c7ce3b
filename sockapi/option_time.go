package sockapi

import (
	"encoding/binary"

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
