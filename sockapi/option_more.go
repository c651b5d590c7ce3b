package sockapi

import (
	"bytes"
	"encoding/binary"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// stored are options that Linux keeps for a datagram socket and that have no
// effect on one: programs may set and read them.
type stored struct {
	rcvlowat, keepalive, oobinline, selectErrQueue atomic.Int32
	linger                                         atomic.Uint64
}

// ipOptions and the others fill the table of options beyond the basic ones.
func init() {
	for k, o := range socketOptions {
		options[k] = o
	}
	for k, o := range ipOptions {
		options[k] = o
	}
	for k, o := range udpOptions {
		options[k] = o
	}
}

// wanted makes a boolean option of a bit of Socket.wants.
func wanted(bit uint32, changed func(s *Socket, on bool)) option {
	return boolean(
		func(s *Socket) bool { return s.wants.Load()&bit != 0 },
		func(s *Socket, on bool) {
			s.want(bit, on)
			if changed != nil {
				changed(s, on)
			}
		})
}

// want sets or clears bits of wants.
func (s *Socket) want(bits uint32, on bool) {
	if on {
		s.wants.Or(bits)
	} else {
		s.wants.And(^bits)
	}
}

// kept makes an option of type int that is only stored.
func kept(of func(*Socket) *atomic.Int32, fix func(int) int) option {
	return integer(
		func(s *Socket) int { return int(of(s).Load()) },
		func(s *Socket, v int) error { of(s).Store(int32(fix(v))); return nil })
}

func asBool(v int) int {
	if v != 0 {
		return 1
	}
	return 0
}

var socketOptions = map[optionKey]option{
	{unix.SOL_SOCKET, unix.SO_ACCEPTCONN}: readOnly(func(*Socket) int { return 0 }),
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE}:  kept(func(s *Socket) *atomic.Int32 { return &s.stored.keepalive }, asBool),
	{unix.SOL_SOCKET, unix.SO_OOBINLINE}:  kept(func(s *Socket) *atomic.Int32 { return &s.stored.oobinline }, asBool),
	{unix.SOL_SOCKET, unix.SO_SELECT_ERR_QUEUE}: kept(
		func(s *Socket) *atomic.Int32 { return &s.stored.selectErrQueue }, asBool),
	{unix.SOL_SOCKET, unix.SO_RCVLOWAT}: integer(
		func(s *Socket) int { return max(int(s.stored.rcvlowat.Load()), 1) },
		func(s *Socket, v int) error {
			if v < 0 {
				v = math.MaxInt32
			}
			s.stored.rcvlowat.Store(int32(v))
			return nil
		}),
	{unix.SOL_SOCKET, unix.SO_SNDLOWAT}: readOnly(func(*Socket) int { return 1 }),
	{unix.SOL_SOCKET, unix.SO_LINGER}: {size: 8,
		get: func(s *Socket, b []byte) error {
			binary.NativeEndian.PutUint64(b, s.stored.linger.Load())
			return nil
		},
		set: func(s *Socket, b []byte) error {
			on := binary.NativeEndian.Uint32(b) != 0
			v := s.stored.linger.Load() &^ math.MaxUint32
			if on {
				v = uint64(binary.NativeEndian.Uint32(b[4:]))<<32 | 1
			}
			s.stored.linger.Store(v)
			return nil
		}},
	{unix.SOL_SOCKET, unix.SO_NO_CHECK}: boolean(
		func(s *Socket) bool { return s.oob.NoCheck() },
		func(s *Socket, on bool) { s.oob.SetNoCheck(on) }),
	{unix.SOL_SOCKET, unix.SO_DONTROUTE}: boolean(
		func(s *Socket) bool { return s.oob.DontRoute() },
		func(s *Socket, on bool) { s.oob.SetDontRoute(on) }),
	{unix.SOL_SOCKET, unix.SO_RXQ_OVFL}: wanted(wantDrops, func(s *Socket, on bool) { s.oob.SetKeepDrops(on) }),
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP}: boolean(
		func(s *Socket) bool { return s.wants.Load()&wantTimestamp != 0 },
		func(s *Socket, on bool) { s.want(wantTimestamp|wantTimestampNS, false); s.want(wantTimestamp, on) }),
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}: boolean(
		func(s *Socket) bool { return s.wants.Load()&wantTimestampNS != 0 },
		func(s *Socket, on bool) { s.want(wantTimestamp|wantTimestampNS, false); s.want(wantTimestampNS, on) }),
	{unix.SOL_SOCKET, unix.SO_COOKIE}: {size: 8, get: func(s *Socket, b []byte) error {
		binary.NativeEndian.PutUint64(b, s.oob.Cookie())
		return nil
	}},
	{unix.SOL_SOCKET, unix.SO_BINDTODEVICE}: {variable: true,
		getN: func(s *Socket, b []byte) (int, error) {
			i := s.api.st.InterfaceByIndex(s.oob.Device())
			if i == nil {
				return 0, nil
			}
			if len(b) < unix.IFNAMSIZ {
				return 0, unix.EINVAL
			}
			return copy(b, i.Name()+"\x00"), nil
		},
		set: func(s *Socket, b []byte) error {
			name, _, _ := bytes.Cut(b[:min(len(b), unix.IFNAMSIZ-1)], []byte{0})
			if len(name) == 0 {
				return s.oob.SetDevice(0)
			}
			i := s.api.st.InterfaceByName(string(name))
			if i == nil {
				return unix.ENODEV
			}
			return s.oob.SetDevice(i.Index())
		}},
	{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX}: integer(
		func(s *Socket) int { return s.oob.Device() },
		func(s *Socket, v int) error {
			if v < 0 {
				return unix.EINVAL
			}
			return s.oob.SetDevice(v)
		}),
}

// ipLocalPortRange is IP_LOCAL_PORT_RANGE (linux/in.h, Linux 6.3).
const ipLocalPortRange = 51

var ipOptions = map[optionKey]option{
	{unix.SOL_IP, unix.IP_PKTINFO}:         wanted(wantPktInfo, nil),
	{unix.SOL_IP, unix.IP_RECVTTL}:         wanted(wantTTL, nil),
	{unix.SOL_IP, unix.IP_RECVTOS}:         wanted(wantTOS, nil),
	{unix.SOL_IP, unix.IP_RECVORIGDSTADDR}: wanted(wantOrigDst, nil),
	{unix.SOL_IP, unix.IP_RECVOPTS}:        wanted(wantOptions, keepOptions),
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

func boolInt(on bool) int {
	if on {
		return 1
	}
	return 0
}
