package sockapi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// ipOptions are those of SOL_IP (ip(7)).
var ipOptions = map[optionKey]option{
	{unix.SOL_IP, unix.IP_TTL}: integer(
		func(s *Socket) int { return s.oob.TTL() },
		func(s *Socket, v int) error {
			if v != -1 && (v < 1 || v > 255) {
				return unix.EINVAL
			}
			s.oob.SetTTL(v)
			return nil
		}),
	{unix.SOL_IP, unix.IP_TOS}: integer(
		func(s *Socket) int { return s.oob.TOS() },
		func(s *Socket, v int) error { s.oob.SetTOS(v & 0xff); return nil }),
	{unix.SOL_IP, unix.IP_MTU_DISCOVER}: integer(
		func(s *Socket) int { return s.oob.MTUDiscover() },
		func(s *Socket, v int) error {
			if v < unix.IP_PMTUDISC_DONT || v > unix.IP_PMTUDISC_OMIT {
				return unix.EINVAL
			}
			s.oob.SetMTUDiscover(v)
			return nil
		}),
	{unix.SOL_IP, unix.IP_RECVERR}: boolean(
		func(s *Socket) bool { return s.oob.RecvErr() },
		func(s *Socket, on bool) { s.oob.SetRecvErr(on) }),
	{unix.SOL_IP, unix.IP_RECVERR_RFC4884}: integer(
		func(s *Socket) int { return boolInt(s.oob.RecvExtension()) },
		func(s *Socket, v int) error {
			if v < 0 || v > 1 {
				return unix.EINVAL
			}
			s.oob.SetRecvExtension(v == 1)
			return nil
		}),
	{unix.SOL_IP, unix.IP_MTU}: {size: 4, get: func(s *Socket, value []byte) error {
		mtu, err := s.oob.PathMTU()
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
		getN: func(s *Socket, b []byte) (int, error) { return copy(b, s.oob.Options()), nil },
		set: func(s *Socket, b []byte) error {
			if len(b) > 40 {
				return unix.EINVAL
			}
			return s.oob.SetOptions(b)
		}},
}

func keepOptions(s *Socket, _ bool) {
	s.oob.SetKeepOptions(s.wants.Load()&(wantOptions|wantReturnOptions) != 0)
}
