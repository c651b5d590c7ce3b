package option

import (
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// timeout is a socket's SO_RCVTIMEO or SO_SNDTIMEO in nanoseconds; 0: none.
type timeout atomic.Int64

// TimevalLen is the length of a struct timeval.
const TimevalLen = 16

// timeval makes an option of type struct timeval. As in Linux a negative
// time does not wait at all, and microseconds out of range are EDOM. Linux rounds
// up to its timer's ticks; here a time-out is what was asked for.
func timeval(of func(*State) *timeout) option {
	return option{
		size: TimevalLen,
		get: func(s *State, value []byte) error {
			d := (*atomic.Int64)(of(s)).Load()
			binary.NativeEndian.PutUint64(value, uint64(d/int64(time.Second)))
			binary.NativeEndian.PutUint64(value[8:], uint64(d%int64(time.Second)/int64(time.Microsecond)))
			return nil
		},
		set: func(s *State, value []byte) error {
			sec, usec := int64(binary.NativeEndian.Uint64(value)), int64(binary.NativeEndian.Uint64(value[8:]))
			if usec < 0 || usec >= 1e6 {
				return unix.EDOM
			}
			d := int64(1)
			switch {
			case sec >= math.MaxInt64/int64(time.Second)-1:
				d = 0 // further away than the clock goes: never
			case sec >= 0:
				d = sec*int64(time.Second) + usec*int64(time.Microsecond)
			}
			(*atomic.Int64)(of(s)).Store(d)
			return nil
		},
	}
}
