package ancillary

import (
	"encoding/binary"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// Parse makes send options of control messages (ip_cmsg_send and
// udp_cmsg_send in Linux). EINVAL for what is malformed, unknown or out of range.
func Parse(s *option.State, control []byte, o *stack.SendOptions) error {
	for len(control) >= cmsg.HeaderLen {
		c, rest, ok := cmsg.Next(control)
		if !ok {
			return unix.EINVAL
		}
		var err error
		switch c.Level {
		case unix.SOL_IP:
			err = parseIPControl(c, o)
		case unix.SOL_UDP:
			if s.IsUDP() {
				err = parseUDPControl(c, o)
			}
		case unix.SOL_SOCKET:
			err = parseSocket(s, c, o)
		}
		if err != nil {
			return err
		}
		control = rest
	}
	return nil
}

func parseIPControl(c cmsg.Message, o *stack.SendOptions) error {
	switch c.Type {
	case unix.IP_RETOPTS:
		// As Linux does: what is behind the most that a header has room for is
		// not looked at.
		if o.Options.Set(c.Data[:min(len(c.Data), ipv4.MaxOptionsLen)]) != ipv4.CauseNone {
			return unix.EINVAL
		}
		o.HasOptions = true
	case unix.IP_PKTINFO:
		if len(c.Data) != 12 {
			return unix.EINVAL
		}
		if i := int(int32(binary.NativeEndian.Uint32(c.Data))); i != 0 {
			o.Device = i
		}
		o.Source, o.AnySource = [4]byte(c.Data[4:8]), true // it counts in place of the socket's address even if it is none
	case unix.IP_TTL:
		if len(c.Data) != 4 || c.Int() < 1 || c.Int() > 255 {
			return unix.EINVAL
		}
		o.TTL = c.Int()
	case unix.IP_TOS:
		if len(c.Data) != 4 && len(c.Data) != 1 || c.Int() < 0 || c.Int() > 255 {
			return unix.EINVAL
		}
		o.TOS, o.HasTOS = c.Int(), true
		o.Priority, o.HasPriority = stack.TOSPriority(uint8(c.Int())), true
	default:
		return unix.EINVAL
	}
	return nil
}

func parseUDPControl(c cmsg.Message, o *stack.SendOptions) error {
	if c.Type != unix.UDP_SEGMENT || len(c.Data) != 2 {
		return unix.EINVAL
	}
	if o.Segment = int(binary.NativeEndian.Uint16(c.Data)); o.Segment == 0 {
		o.Segment = -1
	}
	return nil
}

// scmTSOptID is SCM_TS_OPT_ID (Linux 6.13).
const scmTSOptID = 81

// parseSocket takes SO_TIMESTAMPING, with transmit flags only, the number
// that the stamps are to have, SO_PRIORITY, SO_MARK and SCM_TXTIME.
func parseSocket(s *option.State, c cmsg.Message, o *stack.SendOptions) error {
	switch c.Type {
	case unix.SCM_RIGHTS, unix.SCM_CREDENTIALS:
		return nil // AF_UNIX's: Linux passes over them
	case unix.SO_TIMESTAMPING, unix.SO_TIMESTAMPING_NEW:
		const record = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_TX_HARDWARE | option.TimestampingTxCompletion |
			unix.SOF_TIMESTAMPING_TX_SCHED | unix.SOF_TIMESTAMPING_TX_ACK
		if len(c.Data) != 4 || c.Int()&^record != 0 {
			return unix.EINVAL
		}
		o.Timestamping = uint32(c.Int())
	case scmTSOptID:
		if len(c.Data) != 4 || s.Timestamping.Load()&unix.SOF_TIMESTAMPING_OPT_ID == 0 {
			return unix.EINVAL
		}
		o.StampID, o.HasStampID = uint32(c.Int()), true
	case unix.SCM_TXTIME:
		if _, on := s.K.Times().TxTime(); !on || len(c.Data) != 8 {
			return unix.EINVAL
		}
		o.TxTime = binary.NativeEndian.Uint64(c.Data)
	case unix.SO_MARK:
		switch {
		case !option.MayMark():
			return unix.EPERM
		case len(c.Data) != 4:
			return unix.EINVAL
		}
		o.Mark, o.HasMark = uint32(c.Int()), true
	case unix.SO_PRIORITY:
		switch {
		case len(c.Data) != 4:
			return unix.EINVAL
		case !option.MayHavePriority(c.Int()):
			return unix.EPERM
		}
		o.Priority, o.HasPriority = uint32(c.Int()), true
	default:
		return unix.EINVAL
	}
	return nil
}
