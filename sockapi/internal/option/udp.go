package option

import (
	"math"

	"golang.org/x/sys/unix"
)

// udpOptions are those of SOL_UDP (udp(7)).
var udpOptions = map[optionKey]option{
	{unix.SOL_UDP, unix.UDP_GRO}: boolean(
		func(s *State) bool { return s.UDP.GRO() },
		func(s *State, on bool) { s.want(WantGRO, on); s.UDP.SetGRO(on) }),
	{unix.SOL_UDP, unix.UDP_CORK}: integer(
		func(s *State) int { return boolInt(s.UDP.Cork()) },
		func(s *State, v int) error { return s.UDP.SetCork(v != 0) }),
	{unix.SOL_UDP, unix.UDP_SEGMENT}: integer(
		func(s *State) int { return s.UDP.Segment() },
		func(s *State, v int) error {
			if v < 0 || v > math.MaxUint16 {
				return unix.EINVAL
			}
			s.UDP.SetSegment(v)
			return nil
		}),
}
