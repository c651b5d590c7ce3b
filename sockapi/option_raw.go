package sockapi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Options of raw(7) (linux/icmp.h; ip(7)).
const (
	// ICMP_FILTER is a bit for each type of ICMP message that is not received:
	// 4 bytes in the machine's order.
	ICMP_FILTER = 1
)

var rawOptions = map[optionKey]option{
	{unix.SOL_RAW, ICMP_FILTER}: {variable: true, set: setICMPFilter, getN: getICMPFilter},
	{unix.SOL_IP, unix.IP_HDRINCL}: integer(
		func(s *stackSocket) int { return boolInt(s.k.HeaderIncluded()) },
		func(s *stackSocket, v int) error { return s.k.SetHeaderIncluded(v != 0) }),
	{unix.SOL_IP, unix.IP_NODEFRAG}: integer(
		func(s *stackSocket) int { return boolInt(s.k.NoDefragment()) },
		func(s *stackSocket, v int) error { return s.k.SetNoDefragment(v != 0) }),
}

func init() {
	for k, o := range rawOptions {
		options[k] = o
	}
}

// setICMPFilter sets ICMP_FILTER. Like Linux it sets as many bytes as there are.
func setICMPFilter(s *stackSocket, value []byte) error {
	types, err := s.k.ICMPFilter()
	if err != nil {
		return err
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], types)
	copy(b[:], value)
	return s.k.SetICMPFilter(binary.NativeEndian.Uint32(b[:]))
}

func getICMPFilter(s *stackSocket, value []byte) (int, error) {
	types, err := s.k.ICMPFilter()
	if err != nil {
		return 0, err
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], types)
	return copy(value, b[:]), nil
}
