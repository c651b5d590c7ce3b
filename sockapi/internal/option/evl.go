package option

import "golang.org/x/sys/unix"

// TimestampOOB is SO_TIMESTAMP_OOB, an int of EVL_SOF_TIMESTAMP_*, which are Oob*.
const TimestampOOB = 1024

// The bits of SO_TIMESTAMP_OOB.
const (
	OobReceive  = 1 << 0
	OobTransmit = 1 << 1
	OobDevice   = 1 << 2
	OobQueuing  = 1 << 3

	OobAll = OobReceive | OobTransmit | OobDevice | OobQueuing
)

// oobTimestamp is EVL's SO_TIMESTAMP_OOB.
var oobTimestamp = integer(
	func(s *State) int { return int(s.OobTimes.Load()) },
	func(s *State, v int) error {
		if v&^OobAll != 0 {
			return unix.EINVAL
		}
		s.OobTimes.Store(uint32(v))
		s.K.Times().SetReceiveTimes(v&OobReceive != 0)
		s.K.Times().SetTransmitTimes(v&OobTransmit != 0)
		return nil
	})
