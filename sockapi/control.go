package sockapi

import (
	"encoding/binary"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// control stores the control messages for a datagram, in Linux' order.
func (s *stackSocket) control(w *cmsg.Writer, in *stack.Info) {
	if s.IsPacket() {
		s.packetControl(w, in, s.Wants.Load())
		return
	}
	s.controlOf(w, in, s.Wants.Load())
}

// controlOf is control for a choice of what the socket wants.
func (s *stackSocket) controlOf(w *cmsg.Writer, in *stack.Info, wants uint32) {
	if wants&option.WantTimes != 0 {
		s.putTime(w, in, wants)
	}
	if wants&option.WantDrops != 0 && in.Drops != 0 {
		w.PutInt(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, int(in.Drops))
	}
	if wants&(option.WantMark|option.WantPriority) != 0 && !s.IsPing() { // Linux does not look for them there
		putMetadata(w, in, wants)
	}
	if wants&option.WantGRO != 0 && in.SegmentSize != 0 {
		w.PutInt(unix.SOL_UDP, unix.UDP_GRO, int(in.SegmentSize))
	}
	if wants&option.WantPktInfo != 0 {
		s.putPktInfo(w, in, s.api.st.LocalFor(in.Interface, in.From, in.To))
	}
	if wants&option.WantTTL != 0 {
		w.PutInt(unix.SOL_IP, unix.IP_TTL, int(in.TTL))
	}
	if wants&option.WantTOS != 0 {
		data := [1]byte{in.TOS}
		w.Put(unix.SOL_IP, unix.IP_TOS, data[:])
	}
	hasOptions := in.Extra != nil && in.Extra.Options != nil
	if wants&option.WantOptions != 0 && hasOptions {
		w.Put(unix.SOL_IP, unix.IP_RECVOPTS, in.Extra.Options)
	}
	if wants&option.WantReturnOptions != 0 && hasOptions {
		putReturnOptions(w, in)
	}
	if wants&option.WantOrigDst != 0 {
		var data [16]byte
		cmsg.PutInet(data[:], in.To, in.ToPort)
		w.Put(unix.SOL_IP, unix.IP_RECVORIGDSTADDR, data[:])
	}
	if wants&option.WantFragSize != 0 && in.FragSize != 0 {
		w.PutInt(unix.SOL_IP, unix.IP_RECVFRAGSIZE, int(in.FragSize))
	}
}

// putReturnOptions stores the options that an answer to a datagram could be sent
// with. MSG_CTRUNC: there are none, since an option is not whole.
func putReturnOptions(w *cmsg.Writer, in *stack.Info) {
	var header, options [ipv4.MaxHeaderLen]byte
	copy(header[12:], in.From[:])
	n := ipv4.MinHeaderLen + copy(header[ipv4.MinHeaderLen:], in.Extra.Options)
	// They were good before we entered ourselves in them.
	set, _, c := ipv4.ParseOptions(header[ipv4.MinHeaderLen:n])
	data, ok := options[:0], c == ipv4.CauseNone
	if ok {
		data, ok = ipv4.AppendReturnOptions(data, header[:n], set)
	}
	if !ok {
		w.Flags |= unix.MSG_CTRUNC
		return
	}
	w.Put(unix.SOL_IP, unix.IP_RETOPTS, data)
}

// putPktInfo stores struct in_pktinfo: where a datagram arrived, local (the
// address that an answer comes from) and its destination. What came over
// loopback has arrived at the interface that has the address.
func (s *stackSocket) putPktInfo(w *cmsg.Writer, in *stack.Info, local [4]byte) {
	var data [12]byte
	if s.IsPing() {
		local = [4]byte{} // Linux does not look for it here
	}
	binary.NativeEndian.PutUint32(data[:], uint32(in.Home))
	copy(data[4:], local[:])
	copy(data[8:], in.To[:])
	w.Put(unix.SOL_IP, unix.IP_PKTINFO, data[:])
}

// putTime stores the time stamps that the socket wants. A datagram without one,
// since its link makes none, is stamped now, as Linux does when stamping was
// turned on after its arrival.
func (s *stackSocket) putTime(w *cmsg.Writer, in *stack.Info, wants uint32) {
	ns := in.Time
	if in.Clock == link.ClockNone {
		ns = s.api.st.WallTime()
	}
	var data [timestampingDataLen]byte
	kinds := &oldStamps
	if wants&option.WantTimestampNew != 0 {
		kinds = &newStamps
	}
	switch {
	case wants&option.WantTimestampNS != 0:
		putTimespec(data[:], ns)
		w.Put(unix.SOL_SOCKET, kinds.nano, data[:16])
	case wants&option.WantTimestamp != 0:
		binary.NativeEndian.PutUint64(data[:], uint64(ns/1e9))
		binary.NativeEndian.PutUint64(data[8:], uint64(ns%1e9/1e3))
		w.Put(unix.SOL_SOCKET, kinds.micro, data[:16])
	}
	if wants&option.WantTimestamping == 0 {
		return
	}
	clear(data[:])
	flags := int(s.Timestamping.Load())
	hard := in.Clock == link.ClockHardware
	any := false
	// Without OPT_RX_FILTER a stamp that somebody else has asked for is told too,
	// and links stamp what comes whoever asks.
	receive := flags&unix.SOF_TIMESTAMPING_RX_SOFTWARE != 0 || flags&option.TimestampingOptRxFilter == 0
	if flags&unix.SOF_TIMESTAMPING_SOFTWARE != 0 && receive && !hard {
		putTimespec(data[:], ns)
		any = true
	}
	receive = flags&unix.SOF_TIMESTAMPING_RX_HARDWARE != 0 || flags&option.TimestampingOptRxFilter == 0
	if flags&unix.SOF_TIMESTAMPING_RAW_HARDWARE != 0 && receive && hard {
		putTimespec(data[32:], ns)
		any = true
	}
	if any {
		w.Put(unix.SOL_SOCKET, kinds.all, data[:])
	}
}

// timestampingDataLen is the length of a struct scm_timestamping: three times, of
// which the second is not used any more.
const timestampingDataLen = 3 * 16

// stampTypes are the types of the control messages with time stamps.
type stampTypes struct{ micro, nano, all int }

var (
	oldStamps = stampTypes{unix.SO_TIMESTAMP, unix.SO_TIMESTAMPNS, unix.SO_TIMESTAMPING}
	newStamps = stampTypes{unix.SO_TIMESTAMP_NEW, unix.SO_TIMESTAMPNS_NEW, unix.SO_TIMESTAMPING_NEW}
)

// putTimespec writes a struct timespec.
func putTimespec(b []byte, ns int64) {
	binary.NativeEndian.PutUint64(b, uint64(ns/1e9))
	binary.NativeEndian.PutUint64(b[8:], uint64(ns%1e9))
}

// parseControl makes send options of control messages (ip_cmsg_send and
// udp_cmsg_send in Linux). EINVAL for what is malformed, unknown or out of range.
func (s *stackSocket) parseControl(control []byte, o *stack.SendOptions) error {
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
			err = s.parseSocketControl(c, o)
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

// parseSocketControl takes SO_TIMESTAMPING, with transmit flags only, the number
// that the stamps are to have, SO_PRIORITY, SO_MARK and SCM_TXTIME.
func (s *stackSocket) parseSocketControl(c cmsg.Message, o *stack.SendOptions) error {
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
		if _, on := s.K.TxTime(); !on || len(c.Data) != 8 {
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

// putMetadata stores the control messages that SO_RCVMARK and SO_RCVPRIORITY ask for.
func putMetadata(w *cmsg.Writer, in *stack.Info, wants uint32) {
	var x stack.Extra
	if in.Extra != nil {
		x = *in.Extra
	}
	if wants&option.WantMark != 0 {
		w.PutInt(unix.SOL_SOCKET, unix.SO_MARK, int(x.Mark))
	}
	if wants&option.WantPriority != 0 {
		w.PutInt(unix.SOL_SOCKET, unix.SO_PRIORITY, int(x.Priority))
	}
}
