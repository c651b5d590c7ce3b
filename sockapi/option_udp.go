package sockapi

import (
	"math"

	"golang.org/x/sys/unix"
)

// udpOptions are those of SOL_UDP (udp(7)).
var udpOptions = map[optionKey]option{
	{unix.SOL_UDP, unix.UDP_GRO}: boolean(
		func(s *stackSocket) bool { return s.k.GRO() },
		func(s *stackSocket, on bool) { s.want(wantGRO, on); s.k.SetGRO(on) }),
	{unix.SOL_UDP, unix.UDP_CORK}: integer(
		func(s *stackSocket) int { return boolInt(s.k.Cork()) },
		func(s *stackSocket, v int) error { return s.k.SetCork(v != 0) }),
	{unix.SOL_UDP, unix.UDP_SEGMENT}: integer(
		func(s *stackSocket) int { return s.k.Segment() },
		func(s *stackSocket, v int) error {
			if v < 0 || v > math.MaxUint16 {
				return unix.EINVAL
			}
			s.k.SetSegment(v)
			return nil
		}),
}
