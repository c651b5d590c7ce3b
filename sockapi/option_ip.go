package sockapi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// ipOptions are those of SOL_IP (ip(7)).
var ipOptions = map[optionKey]option{
	{unix.SOL_IP, unix.IP_TTL}: integer(
		func(s *stackSocket) int { return s.k.TTL() },
		func(s *stackSocket, v int) error {
			if v != -1 && (v < 1 || v > 255) {
				return unix.EINVAL
			}
			s.k.SetTTL(v)
			return nil
		}),
	{unix.SOL_IP, unix.IP_TOS}: integer(
		func(s *stackSocket) int { return s.k.TOS() },
		func(s *stackSocket, v int) error { s.k.SetTOS(v & 0xff); return nil }),
	{unix.SOL_IP, unix.IP_MTU_DISCOVER}: integer(
		func(s *stackSocket) int { return s.k.MTUDiscover() },
		func(s *stackSocket, v int) error {
			if v < unix.IP_PMTUDISC_DONT || v > unix.IP_PMTUDISC_OMIT {
				return unix.EINVAL
			}
			s.k.SetMTUDiscover(v)
			return nil
		}),
	{unix.SOL_IP, unix.IP_RECVERR}: boolean(
		func(s *stackSocket) bool { return s.k.RecvErr() },
		func(s *stackSocket, on bool) { s.k.SetRecvErr(on) }),
	{unix.SOL_IP, unix.IP_RECVERR_RFC4884}: integer(
		func(s *stackSocket) int { return boolInt(s.k.RecvExtension()) },
		func(s *stackSocket, v int) error {
			if v < 0 || v > 1 {
				return unix.EINVAL
			}
			s.k.SetRecvExtension(v == 1)
			return nil
		}),
	{unix.SOL_IP, unix.IP_MTU}: {size: 4, get: func(s *stackSocket, value []byte) error {
		mtu, err := s.k.PathMTU()
		if err == nil {
			binary.NativeEndian.PutUint32(value, uint32(mtu))
		}
		return err
	}},
	{unix.SOL_IP, unix.IP_PKTINFO}:         wanted(wantPktInfo, nil),
	{unix.SOL_IP, unix.IP_RECVTTL}:         wanted(wantTTL, nil),
	{unix.SOL_IP, unix.IP_RECVTOS}:         wanted(wantTOS, nil),
	{unix.SOL_IP, unix.IP_RECVORIGDSTADDR}: wanted(wantOrigDst, nil),
	{unix.SOL_IP, unix.IP_RECVOPTS}:        wanted(wantOptions, keepOptions),
	{unix.SOL_IP, unix.IP_RETOPTS}:         wanted(wantReturnOptions, keepOptions),
	{unix.SOL_IP, unix.IP_RECVFRAGSIZE}:    wanted(wantFragSize, nil),
	{unix.SOL_IP, unix.IP_OPTIONS}: {variable: true,
		getN: func(s *stackSocket, b []byte) (int, error) { return copy(b, s.k.Options()), nil },
		set: func(s *stackSocket, b []byte) error {
			if len(b) > 40 {
				return unix.EINVAL
			}
			return s.k.SetOptions(b)
		}},
}

func keepOptions(s *stackSocket, _ bool) {
	s.k.SetKeepOptions(s.wants.Load()&(wantOptions|wantReturnOptions) != 0)
}
