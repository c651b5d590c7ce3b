package sockapi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// ipLocalPortRange is IP_LOCAL_PORT_RANGE (linux/in.h, Linux 6.3).
const ipLocalPortRange = 51

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
	{unix.SOL_IP, unix.IP_MINTTL}: integer(
		func(s *Socket) int { return s.oob.MinTTL() },
		func(s *Socket, v int) error {
			if v < 0 || v > 255 {
				return unix.EINVAL
			}
			s.oob.SetMinTTL(v)
			return nil
		}),
	{unix.SOL_IP, unix.IP_FREEBIND}: boolean(
		func(s *Socket) bool { return s.oob.FreeBind() },
		func(s *Socket, on bool) { s.oob.SetFreeBind(on) }),
	{unix.SOL_IP, unix.IP_TRANSPARENT}: boolean(
		func(s *Socket) bool { return s.oob.Transparent() },
		func(s *Socket, on bool) { s.oob.SetTransparent(on) }),
	{unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT}: boolean(
		func(s *Socket) bool { return s.oob.BindNoPort() },
		func(s *Socket, on bool) { s.oob.SetBindNoPort(on) }),
	{unix.SOL_IP, unix.IP_UNICAST_IF}: {size: 4,
		get: func(s *Socket, b []byte) error {
			binary.BigEndian.PutUint32(b, uint32(s.oob.UnicastInterface()))
			return nil
		},
		set: func(s *Socket, b []byte) error {
			return s.oob.SetUnicastInterface(int(int32(binary.BigEndian.Uint32(b))))
		}},
	{unix.SOL_IP, ipLocalPortRange}: integer(
		func(s *Socket) int { return int(int32(s.oob.PortRange())) },
		func(s *Socket, v int) error { return s.oob.SetPortRange(uint32(v)) }),
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
