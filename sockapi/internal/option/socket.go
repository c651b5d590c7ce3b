package option

import (
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"

	kernel "github.com/outband/outband/inband"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// The least sizes of buffers in bytes, as Linux has them on 64-bit machines.
const (
	minRcvbuf = 2304 // SOCK_MIN_RCVBUF
	minSndbuf = 4608 // SOCK_MIN_SNDBUF
)

// bpfExtensions says which extensions filters may load: those below this offset
// from SKF_AD_OFF (SKF_AD_MAX in linux/filter.h).
const bpfExtensions = 64

// socketOptions are those of SOL_SOCKET (socket(7)).
var socketOptions = map[optionKey]option{
	{unix.SOL_SOCKET, unix.SO_TYPE}:     readOnly(func(s *State) int { return s.Typ }),
	{unix.SOL_SOCKET, unix.SO_DOMAIN}:   readOnly(func(s *State) int { return s.Domain }),
	{unix.SOL_SOCKET, unix.SO_PROTOCOL}: readOnly(func(s *State) int { return s.Proto }),
	{unix.SOL_SOCKET, unix.SO_ERROR}:    readOnly(func(s *State) int { return int(s.K.Errors().Take()) }),
	{unix.SOL_SOCKET, unix.SO_PRIORITY}: integer(func(s *State) int { return int(int32(s.K.Sending().Priority())) }, (*State).setPriority),
	{unix.SOL_SOCKET, unix.SO_MARK}:     integer(func(s *State) int { return int(int32(s.K.Sending().Mark())) }, (*State).setMark),
	{unix.SOL_SOCKET, unix.SO_TXTIME}:   txTimeOption,
	{unix.SOL_SOCKET, TimestampOOB}:     oobTimestamp,
	{unix.SOL_SOCKET, PathOOB}:          oobPath,
	{unix.SOL_SOCKET, unix.SO_RCVMARK}:  receiveMark,
	{unix.SOL_SOCKET, soRcvPriority}:    receivePriority,
	{unix.SOL_SOCKET, unix.SO_BROADCAST}: boolean(
		func(s *State) bool { return s.K.Broadcast() },
		func(s *State, on bool) { s.K.SetBroadcast(on) }),
	{unix.SOL_SOCKET, unix.SO_REUSEADDR}: boolean(
		func(s *State) bool { return s.ReuseAddr.Load() },
		func(s *State, on bool) { s.ReuseAddr.Store(on); s.Reuse() }),
	{unix.SOL_SOCKET, unix.SO_REUSEPORT}: boolean(
		func(s *State) bool { return s.reusePort.Load() },
		func(s *State, on bool) { s.reusePort.Store(on); s.Reuse() }),
	{unix.SOL_SOCKET, unix.SO_RCVBUF}: integer(
		func(s *State) int { return s.K.ReceiveBuffer() },
		func(s *State, v int) error { return s.setRcvbuf(limited(v, unix.SO_RCVBUF)) }),
	{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE}: integer(nil, forced((*State).setRcvbuf)),
	{unix.SOL_SOCKET, unix.SO_SNDBUF}: integer(
		func(s *State) int { return s.K.SendBuffer() },
		func(s *State, v int) error { return s.setSndbuf(limited(v, unix.SO_SNDBUF)) }),
	{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE}:  integer(nil, forced((*State).setSndbuf)),
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO}:     timeval(func(s *State) *timeout { return (*timeout)(&s.RcvTimeout) }),
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO_NEW}: timeval(func(s *State) *timeout { return (*timeout)(&s.RcvTimeout) }),
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO}:     timeval(func(s *State) *timeout { return (*timeout)(&s.SndTimeout) }),
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO_NEW}: timeval(func(s *State) *timeout { return (*timeout)(&s.SndTimeout) }),
	{unix.SOL_SOCKET, unix.SO_BUSY_POLL}: integer(
		func(s *State) int { return busyPoll(s.K.Spinner().Now()) },
		func(s *State, v int) error {
			if v < 0 {
				return unix.EINVAL
			}
			s.K.Spinner().Set(spinOf(v))
			return nil
		}),
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING}:     timestampingOption(0),
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW}: timestampingOption(WantTimestampNew),
	{unix.SOL_SOCKET, unix.SO_MEMINFO}:          memInfoOption,
	{unix.SOL_SOCKET, unix.SO_DETACH_FILTER}:    {set: detachFilter},
	{unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}:    {variable: true, set: refuseProgram, getN: getFilter},
	{unix.SOL_SOCKET, unix.SO_LOCK_FILTER}: integer(
		func(s *State) int { return boolInt(s.filterLocked.Load()) },
		func(s *State, v int) error { return s.lockFilter(v != 0) }),
	{unix.SOL_SOCKET, unix.SO_BPF_EXTENSIONS}: readOnly(func(*State) int { return bpfExtensions }),
	{unix.SOL_SOCKET, unix.SO_ACCEPTCONN}:     readOnly(func(*State) int { return 0 }),
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE}:      kept(func(s *State) *atomic.Int32 { return &s.stored.keepalive }, asBool),
	{unix.SOL_SOCKET, unix.SO_OOBINLINE}:      kept(func(s *State) *atomic.Int32 { return &s.stored.oobinline }, asBool),
	{unix.SOL_SOCKET, unix.SO_SELECT_ERR_QUEUE}: boolean(
		func(s *State) bool { return s.K.Errors().SelectErrors() },
		func(s *State, on bool) { s.K.Errors().SetSelectErrors(on) }),
	{unix.SOL_SOCKET, unix.SO_RCVLOWAT}: integer(
		func(s *State) int { return max(int(s.stored.rcvlowat.Load()), 1) },
		func(s *State, v int) error {
			if v < 0 {
				v = math.MaxInt32
			}
			s.stored.rcvlowat.Store(int32(v))
			return nil
		}),
	{unix.SOL_SOCKET, unix.SO_SNDLOWAT}: readOnly(func(*State) int { return 1 }),
	{unix.SOL_SOCKET, unix.SO_LINGER}: {size: 8,
		get: func(s *State, b []byte) error {
			binary.NativeEndian.PutUint64(b, s.stored.linger.Load())
			return nil
		},
		set: func(s *State, b []byte) error {
			on := binary.NativeEndian.Uint32(b) != 0
			v := s.stored.linger.Load() &^ math.MaxUint32
			if on {
				v = uint64(binary.NativeEndian.Uint32(b[4:]))<<32 | 1
			}
			s.stored.linger.Store(v)
			return nil
		}},
	{unix.SOL_SOCKET, unix.SO_NO_CHECK}: boolean(
		func(s *State) bool { return s.K.Sending().NoCheck() },
		func(s *State, on bool) { s.K.Sending().SetNoCheck(on) }),
	{unix.SOL_SOCKET, unix.SO_DONTROUTE}: boolean(
		func(s *State) bool { return s.K.Sending().DontRoute() },
		func(s *State, on bool) { s.K.Sending().SetDontRoute(on) }),
	{unix.SOL_SOCKET, unix.SO_RXQ_OVFL}:        wanted(WantDrops, func(s *State, on bool) { s.K.Receiving().SetKeepDrops(on) }),
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP}:       timestampOption(WantTimestamp, 0),
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}:     timestampOption(WantTimestampNS, 0),
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP_NEW}:   timestampOption(WantTimestamp, WantTimestampNew),
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW}: timestampOption(WantTimestampNS, WantTimestampNew),
	{unix.SOL_SOCKET, unix.SO_COOKIE}:          {variable: true, getN: getCookie},
	{unix.SOL_SOCKET, unix.SO_PEEK_OFF}:        peekOffOption,
	{unix.SOL_SOCKET, unix.SO_PEERNAME}:        {variable: true, getN: getPeerName},
}

// peekOffOption is SO_PEEK_OFF, which Linux' UDP sockets have: EOPNOTSUPP for others.
var peekOffOption = option{size: 4,
	get: func(s *State, b []byte) error {
		if !s.IsUDP() {
			return unix.EOPNOTSUPP
		}
		binary.NativeEndian.PutUint32(b, uint32(s.K.Receiving().PeekOffset()))
		return nil
	},
	set: func(s *State, b []byte) error {
		if !s.IsUDP() {
			return unix.EOPNOTSUPP
		}
		s.K.Receiving().SetPeekOffset(int32(binary.NativeEndian.Uint32(b)))
		return nil
	}}

// getCookie is SO_COOKIE, all of it or nothing.
func getCookie(s *State, b []byte) (int, error) {
	if len(b) < 8 {
		return 0, unix.EINVAL
	}
	binary.NativeEndian.PutUint64(b, s.K.Cookie())
	return 8, nil
}

// getPeerName is SO_PEERNAME: as much of the peer's struct sockaddr_in as is asked
// for. EINVAL: more. ENOTCONN: there is no peer.
func getPeerName(s *State, b []byte) (int, error) {
	peer, ok := s.Socket.RemoteAddr()
	if s.IsPacket() || !ok {
		return 0, unix.ENOTCONN
	}
	var name [16]byte
	cmsg.PutInet(name[:], peer.Addr().As4(), peer.Port())
	if len(b) > len(name) {
		return 0, unix.EINVAL
	}
	return copy(b, name[:]), nil
}

// setRcvbuf sets the receive buffer to v bytes, doubled as Linux does to make
// room for its overhead.
func (s *State) setRcvbuf(v int) error {
	s.K.SetReceiveBuffer(doubled(v, minRcvbuf))
	return nil
}

func (s *State) setSndbuf(v int) error {
	s.K.SetSendBuffer(doubled(v, minSndbuf))
	return nil
}

// limited returns v within the limit that the host has for a buffer. Like Linux
// it takes a negative number for a large one.
func limited(v, option int) int { return int(min(uint32(v), kernel.BufferLimit(option))) }

// forced returns the setter of a buffer beyond the limit, for those with CAP_NET_ADMIN.
func forced(set func(s *State, v int) error) func(s *State, v int) error {
	return func(s *State, v int) error {
		if !kernel.HasCapability(unix.CAP_NET_ADMIN) {
			return unix.EPERM
		}
		return set(s, max(v, 0))
	}
}

// doubled returns twice v within the limits of an int.
func doubled(v, least int) int { return max(2*min(v, math.MaxInt32/2), least) }

// busyPoll and spinOf translate between SO_BUSY_POLL, microseconds, and a spin
// budget. The largest value stands for spinning without end; a socket that
// has not been set shows what its budget is now.
func busyPoll(d time.Duration) int {
	switch {
	case d == stack.SpinAlways:
		return math.MaxInt32
	case d < 0:
		return 0
	default:
		return int(d / time.Microsecond)
	}
}

func spinOf(us int) time.Duration {
	switch us {
	case math.MaxInt32:
		return stack.SpinAlways
	case 0:
		return stack.SpinNever
	default:
		return time.Duration(us) * time.Microsecond
	}
}
