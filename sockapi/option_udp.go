package sockapi

import (
	"math"

	"golang.org/x/sys/unix"
)

// udpOptions are those of SOL_UDP (udp(7)).
var udpOptions = map[optionKey]option{
	{unix.SOL_UDP, unix.UDP_GRO}: boolean(
		func(s *Socket) bool { return s.oob.GRO() },
		func(s *Socket, on bool) { s.want(wantGRO, on); s.oob.SetGRO(on) }),
	{unix.SOL_UDP, unix.UDP_CORK}: integer(
		func(s *Socket) int { return boolInt(s.oob.Cork()) },
		func(s *Socket, v int) error { return s.oob.SetCork(v != 0) }),
	{unix.SOL_UDP, unix.UDP_SEGMENT}: integer(
		func(s *Socket) int { return s.oob.Segment() },
		func(s *Socket, v int) error {
			if v < 0 || v > math.MaxUint16 {
				return unix.EINVAL
			}
			s.oob.SetSegment(v)
			return nil
		}),
}
