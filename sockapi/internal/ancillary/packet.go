package ancillary

import (
	"encoding/binary"

	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// AuxdataLen is the length of struct tpacket_auxdata (linux/if_packet.h).
const AuxdataLen = 20

// Bits of tp_status (linux/if_packet.h).
const (
	StatusUser          = 1 << 0
	statusCsumNotReady  = 1 << 3
	StatusVLANValid     = 1 << 4
	StatusVLANTPIDValid = 1 << 6
	StatusCsumValid     = 1 << 7
)

// putAuxdata stores the control messages for a frame.
func putAuxdata(s *option.State, w *cmsg.Writer, in *stack.Info, wants uint32) {
	putWanted(s, w, in, wants&(option.WantTimes|option.WantTimestampNew|option.WantDrops|option.WantMark|option.WantPriority))
	if wants&option.WantAuxdata == 0 {
		return
	}
	l := in.Link()
	status := uint32(StatusUser)
	switch {
	case l.Checksum == link.ChecksumPartial:
		status |= statusCsumNotReady
	case l.Checksum == link.ChecksumValid && in.Type != link.Outgoing:
		status |= StatusCsumValid
	}
	var data [AuxdataLen]byte
	if l.VLAN {
		status |= StatusVLANValid | StatusVLANTPIDValid
		binary.NativeEndian.PutUint16(data[16:], l.VLANTCI)
		binary.NativeEndian.PutUint16(data[18:], l.VLANTPID)
	}
	binary.NativeEndian.PutUint32(data[:], status)
	binary.NativeEndian.PutUint32(data[4:], uint32(l.Len))
	binary.NativeEndian.PutUint32(data[8:], uint32(in.Len))
	if s.Typ == unix.SOCK_RAW {
		binary.NativeEndian.PutUint16(data[14:], link.HeaderLen)
	}
	w.Put(unix.SOL_PACKET, unix.PACKET_AUXDATA, data[:])
}

// ParsePacket is Parse for a packet socket, which has only the
// messages of SOL_SOCKET.
func ParsePacket(s *option.State, control []byte, o *stack.SendOptions) error {
	for len(control) >= cmsg.HeaderLen {
		c, rest, ok := cmsg.Next(control)
		if !ok {
			return unix.EINVAL
		}
		if c.Level == unix.SOL_SOCKET {
			if err := parseSocket(s, c, o); err != nil {
				return err
			}
		}
		control = rest
	}
	return nil
}
