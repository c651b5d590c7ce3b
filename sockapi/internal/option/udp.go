package option

import (
	"math"

	"golang.org/x/sys/unix"
)

// udpOptions are those of SOL_UDP (udp(7)).
var udpOptions = map[optionKey]option{
	{unix.SOL_UDP, unix.UDP_GRO}: boolean(
		func(s *State) bool { return s.K.GRO() },
		func(s *State, on bool) { s.want(WantGRO, on); s.K.SetGRO(on) }),
	{unix.SOL_UDP, unix.UDP_CORK}: integer(
		func(s *State) int { return boolInt(s.K.Cork()) },
		func(s *State, v int) error { return s.K.SetCork(v != 0) }),
	{unix.SOL_UDP, unix.UDP_SEGMENT}: integer(
		func(s *State) int { return s.K.Segment() },
		func(s *State, v int) error {
			if v < 0 || v > math.MaxUint16 {
				return unix.EINVAL
			}
			s.K.SetSegment(v)
			return nil
		}),
}
