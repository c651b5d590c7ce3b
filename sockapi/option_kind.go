package sockapi

import (
	"encoding/binary"
	"sync/atomic"
)

// integer makes an option of type int.
func integer(get func(*stackSocket) int, set func(*stackSocket, int) error) option {
	o := option{size: 4}
	if get != nil {
		o.get = func(s *stackSocket, value []byte) error {
			binary.NativeEndian.PutUint32(value, uint32(get(s)))
			return nil
		}
	}
	if set != nil {
		o.set = func(s *stackSocket, value []byte) error {
			return set(s, int(int32(binary.NativeEndian.Uint32(value))))
		}
	}
	return o
}

// readOnly makes an option of type int that cannot be set.
func readOnly(get func(*stackSocket) int) option { return integer(get, nil) }

// boolean makes an option of type int that is on if it is not 0.
func boolean(get func(*stackSocket) bool, set func(*stackSocket, bool)) option {
	return integer(
		func(s *stackSocket) int { return boolInt(get(s)) },
		func(s *stackSocket, v int) error { set(s, v != 0); return nil })
}

// wanted makes a boolean option of a bit of Socket.wants.
func wanted(bit uint32, changed func(s *stackSocket, on bool)) option {
	return boolean(
		func(s *stackSocket) bool { return s.wants.Load()&bit != 0 },
		func(s *stackSocket, on bool) {
			s.want(bit, on)
			if changed != nil {
				changed(s, on)
			}
		})
}

// want sets or clears bits of wants.
func (s *stackSocket) want(bits uint32, on bool) {
	if on {
		s.wants.Or(bits)
	} else {
		s.wants.And(^bits)
	}
}

// kept makes an option of type int that is only stored.
func kept(of func(*stackSocket) *atomic.Int32, fix func(int) int) option {
	return integer(
		func(s *stackSocket) int { return int(of(s).Load()) },
		func(s *stackSocket, v int) error { of(s).Store(int32(fix(v))); return nil })
}

// asBool returns what is kept of a number that stands for on or off.
func asBool(v int) int { return boolInt(v != 0) }

func boolInt(on bool) int {
	if on {
		return 1
	}
	return 0
}
