package sockapi

import (
	"encoding/binary"
	"maps"
	"math"

	"golang.org/x/sys/unix"
)

// An option is one row of the table of socket options. size is the length of
// its value in bytes; get and set take and return it in the machine's order.
// A nil get or set is an option that cannot be read or written: ENOPROTOOPT.
type option struct {
	get func(s *stackSocket, value []byte) error
	set func(s *stackSocket, value []byte) error
	// size is what set needs at least, and get stores at most.
	size int
	// Of SOL_IP's integers, of which set takes fewer bytes too: how many it needs
	// at least, or that it needs all of size and no more.
	least int
	exact bool
	// variable is an option of any length: set takes all of the value, getN
	// stores it and returns its length.
	variable bool
	getN     func(s *stackSocket, value []byte) (int, error)
}

// optionKey names an option as setsockopt(2) does.
type optionKey struct{ level, name int }

// options are the out-of-band options: one table of all levels.
var options = joined(socketOptions, ipOptions, multicastOptions, udpOptions, bindOptions, muteOptions)

// joined returns the rows of several tables in one.
func joined(tables ...map[optionKey]option) map[optionKey]option {
	all := make(map[optionKey]option)
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

func (s *stackSocket) setsockopt(level, name int, value []byte) error {
	if s.k.Closed() {
		return unix.EBADF
	}
	// Linux looks at the length before the name here.
	if len(value) < 4 && (level == unix.SOL_SOCKET && name != unix.SO_BINDTODEVICE ||
		level == unix.SOL_UDP && s.isUDP()) {
		return unix.EINVAL
	}
	if s.refusesOption(level, name) {
		return unix.EOPNOTSUPP
	}
	o, ok := s.option(level, name)
	if !ok || o.set == nil {
		return unix.ENOPROTOOPT
	}
	if len(value) < o.least || o.exact && len(value) != o.size {
		return unix.EINVAL
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

func (s *stackSocket) getsockopt(level, name int, value []byte) (int, error) {
	if s.k.Closed() {
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
func (s *stackSocket) noOption(level int) unix.Errno {
	switch {
	case level == unix.SOL_SOCKET, level == unix.SOL_IP, level == unix.SOL_UDP && s.isUDP(),
		level == unix.SOL_RAW && s.isRaw(), s.isPacket():
		return unix.ENOPROTOOPT
	default:
		return unix.EOPNOTSUPP
	}
}

// option returns the row of an option that this kind of socket has.
func (s *stackSocket) option(level, name int) (option, bool) {
	switch level {
	case unix.SOL_SOCKET:
	case unix.SOL_PACKET:
		if !s.isPacket() {
			return option{}, false
		}
	default:
		if s.isPacket() || level == unix.SOL_UDP && !s.isUDP() || level == unix.SOL_RAW && !s.isRaw() {
			return option{}, false
		}
	}
	o, ok := options[optionKey{level, name}]
	return o, ok
}
