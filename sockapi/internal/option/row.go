package option

import (
	"encoding/binary"
	"sync/atomic"
)

// integer makes an option of type int.
func integer(get func(*State) int, set func(*State, int) error) option {
	o := option{size: 4}
	if get != nil {
		o.get = func(s *State, value []byte) error {
			binary.NativeEndian.PutUint32(value, uint32(get(s)))
			return nil
		}
	}
	if set != nil {
		o.set = func(s *State, value []byte) error {
			return set(s, int(int32(binary.NativeEndian.Uint32(value))))
		}
	}
	return o
}

// readOnly makes an option of type int that cannot be set.
func readOnly(get func(*State) int) option { return integer(get, nil) }

// boolean makes an option of type int that is on if it is not 0.
func boolean(get func(*State) bool, set func(*State, bool)) option {
	return integer(
		func(s *State) int { return boolInt(get(s)) },
		func(s *State, v int) error { set(s, v != 0); return nil })
}

// kept makes an option of type int that is only stored.
func kept(of func(*State) *atomic.Int32, fix func(int) int) option {
	return integer(
		func(s *State) int { return int(of(s).Load()) },
		func(s *State, v int) error { of(s).Store(int32(fix(v))); return nil })
}

// asBool returns what is kept of a number that stands for on or off.
func asBool(v int) int { return boolInt(v != 0) }

func boolInt(on bool) int {
	if on {
		return 1
	}
	return 0
}
