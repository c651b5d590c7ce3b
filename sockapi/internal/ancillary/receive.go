// Package ancillary is the control messages of out-of-band sockets: what is told with a
// datagram or an error that is received, and what is asked with one that is sent.
package ancillary

import (
	"encoding/binary"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// Put stores the control messages for a datagram, in Linux' order.
func Put(s *option.State, w *cmsg.Writer, in *stack.Info) {
	if s.IsPacket() {
		putAuxdata(s, w, in, s.Wants.Load())
		return
	}
	putWanted(s, w, in, s.Wants.Load())
}

// putWanted is Put for a choice of what the socket wants.
func putWanted(s *option.State, w *cmsg.Writer, in *stack.Info, wants uint32) {
	if wants&option.WantTimes != 0 {
		putTime(s, w, in, wants)
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
		putPktInfo(s, w, in, s.Stack.LocalFor(in.Interface, in.From, in.To))
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
	var room [ipv4.MaxOptionsLen]byte
	data, ok := ipv4.AppendReturnOptionsOf(room[:0], in.From, in.Extra.Options)
	if !ok {
		w.Flags |= unix.MSG_CTRUNC
		return
	}
	w.Put(unix.SOL_IP, unix.IP_RETOPTS, data)
}

// putPktInfo stores struct in_pktinfo: where a datagram arrived, local (the
// address that an answer comes from) and its destination. What came over
// loopback has arrived at the interface that has the address.
func putPktInfo(s *option.State, w *cmsg.Writer, in *stack.Info, local [4]byte) {
	var data [12]byte
	if s.IsPing() {
		local = [4]byte{} // Linux does not look for it here
	}
	binary.NativeEndian.PutUint32(data[:], uint32(in.Home))
	copy(data[4:], local[:])
	copy(data[8:], in.To[:])
	w.Put(unix.SOL_IP, unix.IP_PKTINFO, data[:])
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
