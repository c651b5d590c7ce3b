package option

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// TimestampOOB is SO_TIMESTAMP_OOB, an int of EVL_SOF_TIMESTAMP_*, which are Oob*.
const TimestampOOB = 1024

// PathOOB is SO_OOB_PATH, two ints: one of Path*, and a device's index.
const PathOOB = 1025

// The ways of SO_OOB_PATH.
const (
	PathInBand = 0 // by the kernel's stack
	PathHolder = 1 // out-of-band, by in-band sockets
	PathRing   = 2 // out-of-band, by a ring
)

// oobPath is SO_OOB_PATH.
var oobPath = option{size: 8, get: func(s *State, value []byte) error {
	way := s.K.Way()
	path := uint32(PathRing)
	if way.InBand {
		path = PathHolder
	}
	binary.NativeEndian.PutUint32(value, path)
	binary.NativeEndian.PutUint32(value[4:], uint32(way.Interface))
	return nil
}}

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
