package sockapi

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// An option is one row of the table of socket options. size is the length of
// its value in bytes; get and set take and return it in the machine's order.
// A nil get or set is an option that cannot be read or written: ENOPROTOOPT.
type option struct {
	get func(s *Socket, value []byte) error
	set func(s *Socket, value []byte) error
	// size is what set needs at least, and get stores at most.
	size int
	// variable is an option of any length: set takes all of the value, getN
	// stores it and returns its length.
	variable bool
	getN     func(s *Socket, value []byte) (int, error)
}

// optionKey names an option as setsockopt(2) does.
type optionKey struct{ level, name int }

// Limits of buffer sizes in bytes, as Linux has them on 64-bit machines.
const (
	maxBuffer = 212992 // net.core.rmem_max and wmem_max
	minRcvbuf = 2304   // SOCK_MIN_RCVBUF
	minSndbuf = 4608   // SOCK_MIN_SNDBUF
)

// options are the out-of-band options.
var options = map[optionKey]option{
	{unix.SOL_SOCKET, unix.SO_TYPE}:     readOnly(func(s *Socket) int { return s.typ }),
	{unix.SOL_SOCKET, unix.SO_DOMAIN}:   readOnly(func(s *Socket) int { return s.domain }),
	{unix.SOL_SOCKET, unix.SO_PROTOCOL}: readOnly(func(s *Socket) int { return s.proto }),
	{unix.SOL_SOCKET, unix.SO_ERROR}:    readOnly(func(s *Socket) int { return int(s.oob.TakeError()) }),
	{unix.SOL_SOCKET, unix.SO_BROADCAST}: boolean(
		func(s *Socket) bool { return s.oob.Broadcast() },
		func(s *Socket, on bool) { s.oob.SetBroadcast(on) }),
	{unix.SOL_SOCKET, unix.SO_REUSEADDR}: boolean(
		func(s *Socket) bool { return s.reuseAddr.Load() },
		func(s *Socket, on bool) { s.reuseAddr.Store(on); s.oob.SetReuse(on, s.reusePort.Load()) }),
	{unix.SOL_SOCKET, unix.SO_REUSEPORT}: boolean(
		func(s *Socket) bool { return s.reusePort.Load() },
		func(s *Socket, on bool) { s.reusePort.Store(on); s.oob.SetReuse(s.reuseAddr.Load(), on) }),
	{unix.SOL_SOCKET, unix.SO_RCVBUF}: integer(
		func(s *Socket) int { return s.oob.ReceiveBuffer() },
		func(s *Socket, v int) error { return s.setRcvbuf(limited(v)) }),
	{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE}: integer(nil,
		func(s *Socket, v int) error { return s.setRcvbuf(max(v, 0)) }),
	{unix.SOL_SOCKET, unix.SO_SNDBUF}: integer(
		func(s *Socket) int { return s.oob.SendBuffer() },
		func(s *Socket, v int) error { return s.setSndbuf(limited(v)) }),
	{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE}: integer(nil,
		func(s *Socket, v int) error { return s.setSndbuf(max(v, 0)) }),
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO}:     timeval(func(s *Socket) *timeout { return (*timeout)(&s.rcvTimeout) }),
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO_NEW}: timeval(func(s *Socket) *timeout { return (*timeout)(&s.rcvTimeout) }),
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO}:     timeval(func(s *Socket) *timeout { return (*timeout)(&s.sndTimeout) }),
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO_NEW}: timeval(func(s *Socket) *timeout { return (*timeout)(&s.sndTimeout) }),
	{unix.SOL_SOCKET, unix.SO_BUSY_POLL}: integer(
		func(s *Socket) int { return busyPoll(s.oob.Spin()) },
		func(s *Socket, v int) error {
			if v < 0 {
				return unix.EINVAL
			}
			s.oob.SetSpin(spinOf(v))
			return nil
		}),
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
}

// Setsockopt sets an option (setsockopt(2)). The value is in the machine's byte
// order. EINVAL: too short, or not a value that it takes. ENOPROTOOPT: no such
// option, or one that cannot be set.
func (s *Socket) Setsockopt(level, name int, value []byte) error {
	if s.oob == nil {
		return s.kernel.setsockopt(level, name, value)
	}
	if s.oob.Closed() {
		return unix.EBADF
	}
	// Linux looks at the length before the name here.
	if len(value) < 4 && (level == unix.SOL_SOCKET && name != unix.SO_BINDTODEVICE ||
		level == unix.SOL_UDP && s.proto == unix.IPPROTO_UDP) {
		return unix.EINVAL
	}
	o, ok := s.option(level, name)
	if !ok || o.set == nil {
		return unix.ENOPROTOOPT
	}
	if level == unix.SOL_IP && len(value) < o.size && o.size == 4 {
		// Linux takes a byte for an integer here, and nothing for 0.
		var wide [4]byte
		if len(value) > 0 {
			binary.NativeEndian.PutUint32(wide[:], uint32(value[0]))
		}
		value = wide[:]
	}
	if o.variable {
		return o.set(s, value)
	}
	if len(value) < o.size {
		return unix.EINVAL
	}
	return o.set(s, value[:o.size])
}

// Getsockopt stores an option's value in value, as much as fits, and returns
// its length (getsockopt(2)). ENOPROTOOPT: no such option.
func (s *Socket) Getsockopt(level, name int, value []byte) (int, error) {
	if s.oob == nil {
		return s.kernel.getsockopt(level, name, value)
	}
	if s.oob.Closed() {
		return 0, unix.EBADF
	}
	o, ok := s.option(level, name)
	if ok && o.getN != nil {
		return o.getN(s, value)
	}
	if !ok || o.get == nil {
		return 0, s.noOption(level)
	}
	var buf [32]byte
	if err := o.get(s, buf[:o.size]); err != nil {
		return 0, err
	}
	if v := binary.NativeEndian.Uint32(buf[:]); level == unix.SOL_IP && o.size == 4 &&
		len(value) > 0 && len(value) < 4 && v <= math.MaxUint8 {
		value[0] = byte(v) // Linux: a small number fits a byte
		return 1, nil
	}
	return copy(value, buf[:o.size]), nil
}

// noOption returns what getsockopt says of an option that there is not: Linux
// tells levels that the socket has from those that it has not.
func (s *Socket) noOption(level int) unix.Errno {
	switch {
	case level == unix.SOL_SOCKET, level == unix.SOL_IP, level == unix.SOL_UDP && s.proto == unix.IPPROTO_UDP:
		return unix.ENOPROTOOPT
	default:
		return unix.EOPNOTSUPP
	}
}

// option returns the row of an option that this kind of socket has.
func (s *Socket) option(level, name int) (option, bool) {
	if level == unix.SOL_UDP && s.proto != unix.IPPROTO_UDP {
		return option{}, false
	}
	o, ok := options[optionKey{level, name}]
	return o, ok
}

// SetsockoptInt sets an option whose value is an int.
func (s *Socket) SetsockoptInt(level, name, v int) error {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(v))
	return s.Setsockopt(level, name, b[:])
}

// GetsockoptInt returns an option whose value is an int.
func (s *Socket) GetsockoptInt(level, name int) (int, error) {
	var b [4]byte
	if _, err := s.Getsockopt(level, name, b[:]); err != nil {
		return 0, err
	}
	return int(int32(binary.NativeEndian.Uint32(b[:]))), nil
}

// SetsockoptTimeval sets SO_RCVTIMEO or SO_SNDTIMEO; 0 waits without end.
func (s *Socket) SetsockoptTimeval(level, name int, d time.Duration) error {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:], uint64(d/time.Second))
	binary.NativeEndian.PutUint64(b[8:], uint64(d%time.Second/time.Microsecond))
	return s.Setsockopt(level, name, b[:])
}

// integer makes an option of type int.
func integer(get func(*Socket) int, set func(*Socket, int) error) option {
	o := option{size: 4}
	if get != nil {
		o.get = func(s *Socket, value []byte) error {
			binary.NativeEndian.PutUint32(value, uint32(get(s)))
			return nil
		}
	}
	if set != nil {
		o.set = func(s *Socket, value []byte) error {
			return set(s, int(int32(binary.NativeEndian.Uint32(value))))
		}
	}
	return o
}

// readOnly makes an option of type int that cannot be set.
func readOnly(get func(*Socket) int) option { return integer(get, nil) }

// boolean makes an option of type int that is on if it is not 0.
func boolean(get func(*Socket) bool, set func(*Socket, bool)) option {
	return integer(func(s *Socket) int {
		if get(s) {
			return 1
		}
		return 0
	}, func(s *Socket, v int) error { set(s, v != 0); return nil })
}

// setRcvbuf sets the receive buffer to v bytes, doubled as Linux does to make
// room for its overhead.
func (s *Socket) setRcvbuf(v int) error {
	s.oob.SetReceiveBuffer(doubled(v, minRcvbuf))
	return nil
}

func (s *Socket) setSndbuf(v int) error {
	s.oob.SetSendBuffer(doubled(v, minSndbuf))
	return nil
}

// limited returns v within the limit for those without CAP_NET_ADMIN. Like Linux
// it takes a negative number for a large one.
func limited(v int) int { return int(min(uint32(v), maxBuffer)) }

// doubled returns twice v within the limits of an int.
func doubled(v, least int) int { return max(2*min(v, math.MaxInt32/2), least) }

// busyPoll and spinOf translate between SO_BUSY_POLL, microseconds, and a spin
// budget. The largest value stands for spinning without end; a socket that
// nobody has set shows what its budget is now.
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
