package option

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// icmpFilter is ICMP_FILTER (linux/icmp.h).
const icmpFilter = 1

// rawOptions are those of raw(7).
var rawOptions = map[optionKey]option{
	{unix.SOL_RAW, icmpFilter}: {variable: true, set: setICMPFilter, getN: getICMPFilter},
	{unix.SOL_IP, unix.IP_HDRINCL}: integer(
		func(s *State) int { return boolInt(s.K.HeaderIncluded()) },
		func(s *State, v int) error { return s.K.SetHeaderIncluded(v != 0) }),
	{unix.SOL_IP, unix.IP_NODEFRAG}: integer(
		func(s *State) int { return boolInt(s.K.NoDefragment()) },
		func(s *State, v int) error { return s.K.SetNoDefragment(v != 0) }),
}

// setICMPFilter sets ICMP_FILTER. Like Linux it sets as many bytes as there are.
func setICMPFilter(s *State, value []byte) error {
	types, err := s.K.ICMPFilter()
	if err != nil {
		return err
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], types)
	copy(b[:], value)
	return s.K.SetICMPFilter(binary.NativeEndian.Uint32(b[:]))
}

func getICMPFilter(s *State, value []byte) (int, error) {
	types, err := s.K.ICMPFilter()
	if err != nil {
		return 0, err
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], types)
	return copy(value, b[:]), nil
}
