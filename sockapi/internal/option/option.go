// Package option is the options of out-of-band sockets (setsockopt(2)): a table of
// rows of level, name, size, get and set over a [State], one file for each kind of
// option. What the stack does not have itself is kept in the State.
package option

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
	get func(s *State, value []byte) error
	set func(s *State, value []byte) error
	// size is what set needs at least, and get stores at most.
	size int
	// Of SOL_IP's integers, of which set takes fewer bytes too: how many it needs
	// at least, or that it needs all of size and no more.
	least int
	exact bool
	// variable is an option of any length: set takes all of the value, getN
	// stores it and returns its length.
	variable bool
	getN     func(s *State, value []byte) (int, error)
}

// optionKey names an option as setsockopt(2) does.
type optionKey struct{ Level, Name int }

// Options are the out-of-band options: one table of all levels.
var Options = joined(socketOptions, ipOptions, multicastOptions, udpOptions, bindOptions, rawOptions, packetOptions, noopOptions)

// joined returns the rows of several tables in one.
func joined(tables ...map[optionKey]option) map[optionKey]option {
	all := make(map[optionKey]option)
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// Set is setsockopt(2).
func (s *State) Set(level, name int, value []byte) error {
	if s.K.Closed() {
		return unix.EBADF
	}
	// Linux looks at the length before the name here.
	if len(value) < 4 && (level == unix.SOL_SOCKET && name != unix.SO_BINDTODEVICE ||
		level == unix.SOL_UDP && s.IsUDP()) {
		return unix.EINVAL
	}
	if s.refusesOption(level, name, value) {
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

// Get is getsockopt(2): it stores as much of the value as fits, and returns its length.
func (s *State) Get(level, name int, value []byte) (int, error) {
	if s.K.Closed() {
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
func (s *State) noOption(level int) unix.Errno {
	switch {
	case level == unix.SOL_SOCKET, level == unix.SOL_IP, level == unix.SOL_UDP && s.IsUDP(),
		level == unix.SOL_RAW && s.IsRaw(), s.IsPacket():
		return unix.ENOPROTOOPT
	default:
		return unix.EOPNOTSUPP
	}
}

// option returns the row of an option that this kind of socket has.
func (s *State) option(level, name int) (option, bool) {
	switch level {
	case unix.SOL_SOCKET:
	case unix.SOL_PACKET:
		if !s.IsPacket() {
			return option{}, false
		}
	default:
		if s.IsPacket() || level == unix.SOL_UDP && !s.IsUDP() || level == unix.SOL_RAW && !s.IsRaw() {
			return option{}, false
		}
	}
	o, ok := Options[optionKey{level, name}]
	return o, ok
}
