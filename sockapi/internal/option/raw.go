package option

import (
	"encoding/binary"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// icmpFilter is ICMP_FILTER (linux/icmp.h).
const icmpFilter = 1

// rawOptions are those of raw(7).
var rawOptions = map[optionKey]option{
	{unix.SOL_RAW, icmpFilter}: {variable: true, set: setICMPFilter, getN: getICMPFilter},
	{unix.SOL_IP, unix.IP_HDRINCL}: integer(
		func(s *State) int { return boolInt(s.Raw != nil && s.Raw.HeaderIncluded()) },
		ofRaw((*stack.RawSocket).SetHeaderIncluded)),
	{unix.SOL_IP, unix.IP_NODEFRAG}: integer(
		func(s *State) int { return boolInt(s.Raw != nil && s.Raw.NoDefragment()) },
		ofRaw((*stack.RawSocket).SetNoDefragment)),
}

// setICMPFilter sets ICMP_FILTER. Like Linux it sets as many bytes as there are.
func setICMPFilter(s *State, value []byte) error {
	types, _ := s.Raw.ICMPFilter() // which SetICMPFilter has an error for
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], types)
	copy(b[:], value)
	return s.Raw.SetICMPFilter(binary.NativeEndian.Uint32(b[:]))
}

func getICMPFilter(s *State, value []byte) (int, error) {
	types, err := s.Raw.ICMPFilter()
	if err != nil {
		return 0, err
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], types)
	return copy(value, b[:]), nil
}

// ofRaw makes the setter of a flag that raw sockets alone have. ENOPROTOOPT: it is none.
func ofRaw(set func(*stack.RawSocket, bool) error) func(*State, int) error {
	return func(s *State, v int) error {
		if s.Raw == nil {
			return unix.ENOPROTOOPT
		}
		return set(s.Raw, v != 0)
	}
}
