package sockapi

import (
	"encoding/binary"
	"time"
)

// Options of raw(7) (linux/icmp.h; ip(7)).
const (
	// ICMP_FILTER is a bit for each type of ICMP message that is not received:
	// 4 bytes in the machine's order.
	ICMP_FILTER = 1
)

// Setsockopt sets an option (setsockopt(2)). The value is in the machine's byte
// order. EINVAL: too short, or not a value that it takes. ENOPROTOOPT: no such
// option, or one that cannot be set.
func (s *Socket) Setsockopt(level, name int, value []byte) error {
	return s.setsockopt(level, name, value)
}

// Getsockopt stores an option's value in value, as much as fits, and returns
// its length (getsockopt(2)). ENOPROTOOPT: no such option.
func (s *Socket) Getsockopt(level, name int, value []byte) (int, error) {
	return s.getsockopt(level, name, value)
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
