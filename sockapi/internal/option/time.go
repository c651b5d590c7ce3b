package option

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// timestampOption is SO_TIMESTAMP or SO_TIMESTAMPNS, or with WantTimestampNew one
// of those two with _NEW: the last one that was turned on holds, and any of them
// turns off what holds. On 64-bit machines the old and the new control messages
// differ in their type only.
func timestampOption(unit, kind uint32) option {
	return boolean(
		func(s *State) bool {
			w := s.Wants.Load()
			if w&WantTimestampNew != kind {
				return false
			}
			// Linux calls SO_TIMESTAMP_NEW on when SO_TIMESTAMPNS_NEW is.
			return w&unit != 0 || kind != 0 && w&WantTimestampNS != 0
		},
		func(s *State, on bool) {
			s.want(WantTimestamp|WantTimestampNS, false)
			if on {
				s.want(WantTimestampNew, kind != 0)
				s.want(unit, true)
			}
		})
}

// timestampingMask are the SOF_TIMESTAMPING_* flags that Linux knows.
const timestampingMask = 1<<19 - 1

// Flags of SO_TIMESTAMPING since Linux 6.12.
const (
	TimestampingOptRxFilter  = 1 << 17 // SOF_TIMESTAMPING_OPT_RX_FILTER
	TimestampingTxCompletion = 1 << 18 // SOF_TIMESTAMPING_TX_COMPLETION
)

// timestampingLen is the length of a struct so_timestamping: the flags, and the
// index of a device's virtual clock.
const timestampingLen = 8

// timestampingOption is SO_TIMESTAMPING or, with WantTimestampNew, that with _NEW:
// an int of SOF_TIMESTAMPING_* flags, or struct so_timestamping.
func timestampingOption(kind uint32) option {
	return option{size: timestampingLen, variable: true,
		get: func(s *State, b []byte) error {
			if kind == 0 || s.Wants.Load()&WantTimestampNew != 0 {
				binary.NativeEndian.PutUint32(b, s.Timestamping.Load())
			}
			return nil
		},
		set: func(s *State, b []byte) error { return s.setTimestamping(b, kind) }}
}

func (s *State) setTimestamping(b []byte, kind uint32) error {
	flags := binary.NativeEndian.Uint32(b)
	switch {
	case flags&^timestampingMask != 0,
		flags&unix.SOF_TIMESTAMPING_OPT_ID_TCP != 0 && flags&unix.SOF_TIMESTAMPING_OPT_ID == 0,
		flags&unix.SOF_TIMESTAMPING_OPT_STATS != 0 && flags&unix.SOF_TIMESTAMPING_OPT_TSONLY == 0:
		return unix.EINVAL
	case flags&unix.SOF_TIMESTAMPING_BIND_PHC == 0:
	case s.K.Device() == 0:
		return unix.EOPNOTSUPP
	default:
		return unix.EINVAL // no link has virtual clocks
	}
	s.Timestamping.Store(flags)
	s.want(WantTimestampNew, kind != 0)
	s.want(WantTimestamping, flags&(unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_RAW_HARDWARE) != 0)
	s.K.Times().SetTimestamping(flags)
	return nil
}

// memInfoOption is SO_MEMINFO: nine numbers (linux/sock_diag.h, SK_MEMINFO_*).
var memInfoOption = option{variable: true, getN: func(s *State, b []byte) (int, error) {
	m := s.K.MemInfo()
	var data [36]byte
	for i, v := range []int{m.Receive, m.ReceiveLimit, m.Send, m.SendLimit, 0, 0, 0, 0, int(m.Drops)} {
		binary.NativeEndian.PutUint32(data[4*i:], uint32(v))
	}
	return copy(b, data[:]), nil
}}
