package option

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// ipOptions are those of SOL_IP (ip(7)).
var ipOptions = map[optionKey]option{
	{unix.SOL_IP, unix.IP_TTL}: integer(
		func(s *State) int { return s.IP.TTL() },
		func(s *State, v int) error {
			if v != -1 && (v < 1 || v > 255) {
				return unix.EINVAL
			}
			s.IP.SetTTL(v)
			return nil
		}),
	{unix.SOL_IP, unix.IP_TOS}: integer(
		func(s *State) int { return s.IP.TOS() },
		func(s *State, v int) error { s.IP.SetTOS(v & 0xff); return nil }),
	{unix.SOL_IP, unix.IP_MTU_DISCOVER}: integer(
		func(s *State) int { return s.IP.MTUDiscover() },
		func(s *State, v int) error {
			if v < unix.IP_PMTUDISC_DONT || v > unix.IP_PMTUDISC_OMIT {
				return unix.EINVAL
			}
			s.IP.SetMTUDiscover(v)
			return nil
		}),
	{unix.SOL_IP, unix.IP_RECVERR}: boolean(
		func(s *State) bool { return s.K.Errors().RecvErr() },
		func(s *State, on bool) { s.K.Errors().SetRecvErr(on) }),
	{unix.SOL_IP, unix.IP_RECVERR_RFC4884}: integer(
		func(s *State) int { return boolInt(s.IP.RecvExtension()) },
		func(s *State, v int) error {
			if v < 0 || v > 1 {
				return unix.EINVAL
			}
			s.IP.SetRecvExtension(v == 1)
			return nil
		}),
	{unix.SOL_IP, unix.IP_MTU}: {size: 4, get: func(s *State, value []byte) error {
		mtu, err := s.IP.PathMTU()
		if err == nil {
			binary.NativeEndian.PutUint32(value, uint32(mtu))
		}
		return err
	}},
	{unix.SOL_IP, unix.IP_PKTINFO}:         wanted(WantPktInfo, nil),
	{unix.SOL_IP, unix.IP_RECVTTL}:         wanted(WantTTL, nil),
	{unix.SOL_IP, unix.IP_RECVTOS}:         wanted(WantTOS, nil),
	{unix.SOL_IP, unix.IP_RECVORIGDSTADDR}: wanted(WantOrigDst, nil),
	{unix.SOL_IP, unix.IP_RECVOPTS}:        wanted(WantOptions, keepOptions),
	{unix.SOL_IP, unix.IP_RETOPTS}:         wanted(WantReturnOptions, keepOptions),
	{unix.SOL_IP, unix.IP_RECVFRAGSIZE}:    wanted(WantFragSize, nil),
	{unix.SOL_IP, unix.IP_OPTIONS}: {variable: true,
		getN: func(s *State, b []byte) (int, error) { return copy(b, s.IP.Options()), nil },
		set: func(s *State, b []byte) error {
			if len(b) > 40 {
				return unix.EINVAL
			}
			return s.IP.SetOptions(b)
		}},
}

func keepOptions(s *State, _ bool) {
	s.IP.SetKeepOptions(s.Wants.Load()&(WantOptions|WantReturnOptions) != 0)
}
