package ancillary

import (
	"encoding/binary"
	"maps"
	"testing"

	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// message names a control message.
type message struct{ level, typ int }

// stored returns the messages that put stores, and whether it says that some were cut.
func stored(put func(w *cmsg.Writer)) (all map[message][]byte, cut bool) {
	w := cmsg.Writer{Buf: make([]byte, 1024)}
	put(&w)
	all = make(map[message][]byte)
	for c, rest, ok := cmsg.Next(w.Buf[:w.N]); ok; c, rest, ok = cmsg.Next(rest) {
		all[message{c.Level, c.Type}] = c.Data
	}
	return all, w.Flags&unix.MSG_CTRUNC != 0
}

// Each message comes if it is wanted and there is something to tell, and no other.
func TestPut(t *testing.T) {
	options := &stack.Extra{Options: []byte{7, 7, 4, 0, 0, 0, 0, 0}, Mark: 5, Priority: 6}
	bad := &stack.Extra{Options: []byte{7, 9}}
	full := stack.Info{Len: 1, Drops: 2, SegmentSize: 3, FragSize: 4, TTL: 5, TOS: 6, Interface: 1, Home: 1, Extra: options, Time: 7, Clock: link.ClockSoftware}
	const nothing = -1
	for _, tt := range []struct {
		name  string
		kind  option.Kind
		wants uint32
		in    stack.Info
		typ   int
		level int
		cut   bool
	}{
		{"nothing", udp, 0, full, nothing, 0, false},
		{"drops", udp, option.WantDrops, full, unix.SO_RXQ_OVFL, unix.SOL_SOCKET, false},
		{"no drops", udp, option.WantDrops, stack.Info{}, nothing, 0, false},
		{"mark", udp, option.WantMark, full, unix.SO_MARK, unix.SOL_SOCKET, false},
		{"no mark", udp, option.WantMark, stack.Info{}, unix.SO_MARK, unix.SOL_SOCKET, false},
		{"mark of a ping socket", ping, option.WantMark, full, nothing, 0, false},
		{"priority", udp, option.WantPriority, full, unix.SO_PRIORITY, unix.SOL_SOCKET, false},
		{"GRO", udp, option.WantGRO, full, unix.UDP_GRO, unix.SOL_UDP, false},
		{"not joined", udp, option.WantGRO, stack.Info{}, nothing, 0, false},
		{"packet info", udp, option.WantPktInfo, full, unix.IP_PKTINFO, unix.SOL_IP, false},
		{"packet info of a ping socket", ping, option.WantPktInfo, full, unix.IP_PKTINFO, unix.SOL_IP, false},
		{"TTL", udp, option.WantTTL, full, unix.IP_TTL, unix.SOL_IP, false},
		{"TOS", udp, option.WantTOS, full, unix.IP_TOS, unix.SOL_IP, false},
		{"options", udp, option.WantOptions, full, unix.IP_RECVOPTS, unix.SOL_IP, false},
		{"no options", udp, option.WantOptions, stack.Info{Extra: new(stack.Extra)}, nothing, 0, false},
		{"returned options", udp, option.WantReturnOptions, full, unix.IP_RETOPTS, unix.SOL_IP, false},
		{"returned options, none", udp, option.WantReturnOptions, stack.Info{}, nothing, 0, false},
		{"returned options, bad", udp, option.WantReturnOptions, stack.Info{Extra: bad}, nothing, 0, true},
		{"destination", udp, option.WantOrigDst, full, unix.IP_RECVORIGDSTADDR, unix.SOL_IP, false},
		{"fragments", udp, option.WantFragSize, full, unix.IP_RECVFRAGSIZE, unix.SOL_IP, false},
		{"no fragments", udp, option.WantFragSize, stack.Info{}, nothing, 0, false},
		{"time", udp, option.WantTimestamp, full, unix.SO_TIMESTAMP, unix.SOL_SOCKET, false},
		{"time, new", udp, option.WantTimestamp | option.WantTimestampNew, full, unix.SO_TIMESTAMP_NEW, unix.SOL_SOCKET, false},
		{"nanoseconds", udp, option.WantTimestampNS, full, unix.SO_TIMESTAMPNS, unix.SOL_SOCKET, false},
		{"auxiliary data", packet, option.WantAuxdata, full, unix.PACKET_AUXDATA, unix.SOL_PACKET, false},
		{"none of it", packet, option.WantTTL | option.WantPktInfo, full, nothing, 0, false},
		{"a frame's mark", packet, option.WantMark, full, unix.SO_MARK, unix.SOL_SOCKET, false},
	} {
		s := newState(t, tt.kind)
		s.Wants.Store(tt.wants)
		got, cut := stored(func(w *cmsg.Writer) { Put(s, w, &tt.in) })
		if want := (message{tt.level, tt.typ}); cut != tt.cut || tt.typ == nothing && len(got) != 0 || tt.typ != nothing && (len(got) != 1 || got[want] == nil) {
			t.Errorf("%s: %v, cut %t", tt.name, got, cut)
		}
	}
}

// Stamps of SO_TIMESTAMPING come as the flags say, for the clock that made them.
func TestPutTimestamping(t *testing.T) {
	const at = 3*1e9 + 5
	const soft, hard = 1, 2 // of the three times, plus one
	for _, tt := range []struct {
		name  string
		flags int
		clock link.Clock
		want  int // 0: no message
	}{
		{"software", unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE, link.ClockSoftware, soft},
		{"software, by a device", unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE, link.ClockHardware, 0},
		{"another asked for it", unix.SOF_TIMESTAMPING_SOFTWARE, link.ClockSoftware, soft},
		{"another asked for it, filtered", unix.SOF_TIMESTAMPING_SOFTWARE | option.TimestampingOptRxFilter, link.ClockSoftware, 0},
		{"filtered", unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE | option.TimestampingOptRxFilter, link.ClockSoftware, soft},
		{"hardware", unix.SOF_TIMESTAMPING_RAW_HARDWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE, link.ClockHardware, hard},
		{"hardware, by the kernel", unix.SOF_TIMESTAMPING_RAW_HARDWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE, link.ClockSoftware, 0},
		{"hardware, another asked for it", unix.SOF_TIMESTAMPING_RAW_HARDWARE, link.ClockHardware, hard},
		{"hardware, filtered", unix.SOF_TIMESTAMPING_RAW_HARDWARE | option.TimestampingOptRxFilter, link.ClockHardware, 0},
		{"not told", unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE, link.ClockSoftware, 0},
	} {
		s := newState(t, udp)
		s.Timestamping.Store(uint32(tt.flags))
		for _, wants := range []uint32{option.WantTimestamping, option.WantTimestamping | option.WantTimestampNS, option.WantTimestamp} {
			s.Wants.Store(wants)
			got, _ := stored(func(w *cmsg.Writer) { Put(s, w, &stack.Info{Time: at, Clock: tt.clock}) })
			data, ok := got[message{unix.SOL_SOCKET, unix.SO_TIMESTAMPING}]
			if ok != (tt.want != 0 && wants&option.WantTimestamping != 0) {
				t.Errorf("%s, wants %#x: %v", tt.name, wants, got)
			}
			for i := 0; ok && i < 3; i++ {
				sec, ns := binary.NativeEndian.Uint64(data[16*i:]), binary.NativeEndian.Uint64(data[16*i+8:])
				if is := sec == 3 && ns == 5; is != (2*(tt.want-1) == i) || !is && sec+ns != 0 {
					t.Errorf("%s: time %d is %d.%09d", tt.name, i, sec, ns)
				}
			}
		}
	}
}

// A frame's auxiliary data say what was found out about it.
func TestPutAuxdata(t *testing.T) {
	for _, tt := range []struct {
		name   string
		meta   link.Meta
		typ    link.PacketType
		status uint32
		tag    uint16
	}{
		{"plain", link.Meta{}, link.Host, StatusUser, 0},
		{"partial", link.Meta{Checksum: link.ChecksumPartial}, link.Host, StatusUser | statusCsumNotReady, 0},
		{"valid", link.Meta{Checksum: link.ChecksumValid}, link.Host, StatusUser | StatusCsumValid, 0},
		{"valid, going out", link.Meta{Checksum: link.ChecksumValid}, link.Outgoing, StatusUser, 0},
		{"tagged", link.Meta{VLAN: true, VLANTCI: 5, VLANTPID: 0x8100}, link.Host, StatusUser | StatusVLANValid | StatusVLANTPIDValid, 5},
	} {
		for typ, network := range map[int]uint16{unix.SOCK_RAW: link.HeaderLen, unix.SOCK_DGRAM: 0} {
			s := newState(t, packet)
			s.Typ = typ
			s.Wants.Store(option.WantAuxdata)
			in := stack.Info{Len: 50, Type: tt.typ}
			in.PutLink(false, make([]byte, 60), 0x800, &tt.meta, 60)
			got, _ := stored(func(w *cmsg.Writer) { Put(s, w, &in) })
			b := got[message{unix.SOL_PACKET, unix.PACKET_AUXDATA}]
			if len(b) != AuxdataLen || binary.NativeEndian.Uint32(b) != tt.status || binary.NativeEndian.Uint32(b[4:]) != 60 || binary.NativeEndian.Uint32(b[8:]) != 50 ||
				binary.NativeEndian.Uint16(b[14:]) != network || binary.NativeEndian.Uint16(b[16:]) != tt.tag {
				t.Errorf("%s, type %d: % x", tt.name, typ, b)
			}
		}
	}
}

// What comes with an error depends on where it comes from.
func TestPutError(t *testing.T) {
	const everything = option.WantPktInfo | option.WantTTL | option.WantTOS | option.WantOrigDst | option.WantTimestampNS
	for _, tt := range []struct {
		name   string
		kind   option.Kind
		wants  uint32
		flags  uint32 // of SO_TIMESTAMPING
		origin uint8
		want   map[message]int // lengths
	}{
		{"local", udp, everything, 0, unix.SO_EE_ORIGIN_LOCAL, map[message]int{{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}: 16, {unix.SOL_IP, unix.IP_RECVERR}: 32}},
		{"local, nothing wanted", udp, 0, 0, unix.SO_EE_ORIGIN_LOCAL, map[message]int{{unix.SOL_IP, unix.IP_RECVERR}: 32}},
		{"ICMP", udp, everything, 0, unix.SO_EE_ORIGIN_ICMP, map[message]int{{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}: 16, {unix.SOL_IP, unix.IP_PKTINFO}: 12,
			{unix.SOL_IP, unix.IP_TTL}: 4, {unix.SOL_IP, unix.IP_TOS}: 1, {unix.SOL_IP, unix.IP_RECVERR}: 32}},
		{"ICMP, TTL only", udp, option.WantTTL, 0, unix.SO_EE_ORIGIN_ICMP, map[message]int{{unix.SOL_IP, unix.IP_TTL}: 4, {unix.SOL_IP, unix.IP_RECVERR}: 32}},
		{"stamp", udp, everything, unix.SOF_TIMESTAMPING_SOFTWARE, unix.SO_EE_ORIGIN_TIMESTAMPING, map[message]int{{unix.SOL_SOCKET, unix.SO_TIMESTAMPING}: 48, {unix.SOL_IP, unix.IP_RECVERR}: 32}},
		{"stamp, new", udp, option.WantTimestampNew, unix.SOF_TIMESTAMPING_SOFTWARE, unix.SO_EE_ORIGIN_TIMESTAMPING,
			map[message]int{{unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW}: 48, {unix.SOL_IP, unix.IP_RECVERR}: 32}},
		{"stamp, not told", udp, everything, 0, unix.SO_EE_ORIGIN_TIMESTAMPING, map[message]int{{unix.SOL_IP, unix.IP_RECVERR}: 32}},
		{"transmit time", udp, everything, 0, unix.SO_EE_ORIGIN_TXTIME, map[message]int{{unix.SOL_IP, unix.IP_RECVERR}: 32}},
		{"of a packet socket", packet, 0, 0, unix.SO_EE_ORIGIN_LOCAL, map[message]int{{unix.SOL_PACKET, unix.PACKET_TX_TIMESTAMP}: 16}},
	} {
		s := newState(t, tt.kind)
		s.Wants.Store(tt.wants)
		s.Timestamping.Store(tt.flags)
		e := stack.QueuedError{Errno: unix.EPERM, Origin: tt.origin, Type: 3, Code: 4, Info: 5, Data: 6, Time: 7}
		got, _ := stored(func(w *cmsg.Writer) { PutError(s, w, &e) })
		lengths := make(map[message]int)
		for m, data := range got {
			lengths[m] = len(data)
		}
		if !maps.Equal(lengths, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, lengths, tt.want)
		}
	}
	for _, tt := range []struct {
		at      int
		invalid bool
		want    uint32
	}{{0, false, 6}, {28, false, 28}, {0, true, uint32(unix.SO_EE_RFC4884_FLAG_INVALID) << 16}, {28, true, 28 | uint32(unix.SO_EE_RFC4884_FLAG_INVALID)<<16}} {
		e := stack.QueuedError{Origin: unix.SO_EE_ORIGIN_ICMP, Data: 6}
		e.Extension.At, e.Extension.Invalid = tt.at, tt.invalid
		got, _ := stored(func(w *cmsg.Writer) { PutError(newState(t, udp), w, &e) })
		if data := binary.NativeEndian.Uint32(got[message{unix.SOL_IP, unix.IP_RECVERR}][12:]); data != tt.want {
			t.Errorf("extension at %d, invalid %t: %#x, want %#x", tt.at, tt.invalid, data, tt.want)
		}
	}
}
