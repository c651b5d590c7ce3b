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
		func(s *Socket) int { return boolInt(s.oob.HeaderIncluded()) },
		func(s *Socket, v int) error { return s.oob.SetHeaderIncluded(v != 0) }),
	{unix.SOL_IP, unix.IP_NODEFRAG}: integer(
		func(s *Socket) int { return boolInt(s.oob.NoDefragment()) },
		func(s *Socket, v int) error { return s.oob.SetNoDefragment(v != 0) }),
}

func init() {
	for k, o := range rawOptions {
		options[k] = o
	}
}

// isRaw reports whether the socket is an Internet one of SOCK_RAW.
func (s *Socket) isRaw() bool { return s.typ == unix.SOCK_RAW && s.domain == unix.AF_INET }

// setICMPFilter sets ICMP_FILTER. Like Linux it sets as many bytes as there are.
func setICMPFilter(s *Socket, value []byte) error {
	types, err := s.oob.ICMPFilter()
	if err != nil {
		return err
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], types)
	copy(b[:], value)
	return s.oob.SetICMPFilter(binary.NativeEndian.Uint32(b[:]))
}

func getICMPFilter(s *Socket, value []byte) (int, error) {
	types, err := s.oob.ICMPFilter()
	if err != nil {
		return 0, err
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], types)
	return copy(value, b[:]), nil
}

// bindRaw is Bind for a raw socket: like Linux it looks at the length of the
// address, and not at its family.
func (s *Socket) bindRaw(local Sockaddr) error {
	var buf [addrSize]byte
	if n := local.encode(&buf); n < inet4Len {
		return s.orClosed(unix.EINVAL)
	}
	return s.oob.Bind(Inet4([4]byte(buf[4:8]), 0).AddrPort())
}
