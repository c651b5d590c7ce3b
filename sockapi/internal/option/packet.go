package option

import (
	"encoding/binary"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// packetOptions are those of packet(7) that mean something out-of-band. Rings,
// fan-out groups and what tunes them are the link's own business: ENOPROTOOPT.
var packetOptions = map[optionKey]option{
	{unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP}:  membershipOption((*stack.PacketSocket).AddMembership),
	{unix.SOL_PACKET, unix.PACKET_DROP_MEMBERSHIP}: membershipOption((*stack.PacketSocket).DropMembership),
	{unix.SOL_PACKET, unix.PACKET_AUXDATA}:         wanted(WantAuxdata, nil),
	// There are no devices upon devices: where a frame came in is where it is.
	{unix.SOL_PACKET, unix.PACKET_ORIGDEV}: boolean(
		func(s *State) bool { return s.origDev.Load() },
		func(s *State, on bool) { s.origDev.Store(on) }),
	{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING}: {size: 4, variable: true,
		get: func(s *State, b []byte) error {
			binary.NativeEndian.PutUint32(b, uint32(boolInt(s.Packet.IgnoreOutgoing())))
			return nil
		},
		set: func(s *State, b []byte) error {
			if len(b) != 4 || binary.NativeEndian.Uint32(b) > 1 {
				return unix.EINVAL
			}
			s.Packet.SetIgnoreOutgoing(binary.NativeEndian.Uint32(b) == 1)
			return nil
		}},
	{unix.SOL_PACKET, unix.PACKET_STATISTICS}: {size: 8,
		get: func(s *State, b []byte) error {
			frames, drops := s.Packet.PacketStatistics()
			binary.NativeEndian.PutUint32(b, frames)
			binary.NativeEndian.PutUint32(b[4:], drops)
			return nil
		}},
}

// packetMreqLen is the length of a struct packet_mreq, and mreqHead of it before
// the address (linux/if_packet.h).
const (
	packetMreqLen = 16
	mreqHead      = 8
)

// membershipOption makes an option whose value is a struct packet_mreq.
func membershipOption(do func(*stack.PacketSocket, stack.Membership) error) option {
	return option{variable: true, set: func(s *State, b []byte) error {
		if len(b) < packetMreqLen {
			return unix.EINVAL
		}
		n := int(binary.NativeEndian.Uint16(b[6:]))
		if len(b) < mreqHead+n {
			return unix.EINVAL
		}
		m := stack.Membership{
			Interface: int(int32(binary.NativeEndian.Uint32(b))),
			Type:      binary.NativeEndian.Uint16(b[4:]),
			Len:       n,
		}
		copy(m.Addr[:], b[mreqHead:mreqHead+min(n, len(m.Addr))])
		return do(s.Packet, m)
	}}
}

// refusesOption reports whether the option is EOPNOTSUPP for a packet socket:
// those of Linux share no ports, but may be told so. The value has 4 bytes at least.
func (s *State) refusesOption(level, name int, value []byte) bool {
	return s.IsPacket() && level == unix.SOL_SOCKET && name == unix.SO_REUSEPORT && binary.NativeEndian.Uint32(value) != 0
}
