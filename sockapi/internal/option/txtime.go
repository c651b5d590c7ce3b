package option

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	privileges "github.com/outband/outband/inband"
	"github.com/outband/outband/stack"
)

// Flags of struct sock_txtime (linux/net_tstamp.h).
const (
	txTimeDeadline = 1 << 0 // SOF_TXTIME_DEADLINE_MODE
	TxTimeReport   = 1 << 1 // SOF_TXTIME_REPORT_ERRORS
)

// txTimeOption is SO_TXTIME: struct sock_txtime, a clock and flags. Linux leaves
// other clocks than CLOCK_MONOTONIC to the privileged.
var txTimeOption = option{
	size:     8,
	variable: true,
	get: func(s *State, b []byte) error {
		t, _ := s.K.Times().TxTime()
		var flags uint32
		if t.Deadline {
			flags |= txTimeDeadline
		}
		if t.Report {
			flags |= TxTimeReport
		}
		binary.NativeEndian.PutUint32(b, uint32(t.Clock))
		binary.NativeEndian.PutUint32(b[4:], flags)
		return nil
	},
	set: func(s *State, b []byte) error {
		if len(b) != 8 {
			return unix.EINVAL
		}
		clock, flags := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
		if flags&^(txTimeDeadline|TxTimeReport) != 0 {
			return unix.EINVAL
		}
		switch clock {
		case unix.CLOCK_MONOTONIC:
		case unix.CLOCK_REALTIME, unix.CLOCK_TAI:
			if !privileges.HasCapability(unix.CAP_NET_ADMIN) {
				return unix.EPERM
			}
		default:
			if !privileges.HasCapability(unix.CAP_NET_ADMIN) {
				return unix.EPERM // first, as on Linux
			}
			return unix.EINVAL
		}
		s.K.Times().SetTxTime(stack.TxTime{Clock: clock, Deadline: flags&txTimeDeadline != 0, Report: flags&TxTimeReport != 0})
		return nil
	},
}
