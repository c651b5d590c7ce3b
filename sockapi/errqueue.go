package sockapi

import (
	"encoding/binary"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// recvError receives from the error queue (MSG_ERRQUEUE in recvmsg(2)): the
// payload of the datagram that the error is about, its destination as the
// name, and a struct sock_extended_err with the offender in a control message.
// EAGAIN if the queue is empty.
func (s *stackSocket) recvError(iov [][]byte, control []byte, flags int) (received, error) {
	if s.K.Closed() {
		return received{}, unix.EBADF
	}
	e, ok := s.K.TakeQueuedError()
	if !ok {
		return received{}, unix.EAGAIN
	}
	r := received{flags: unix.MSG_ERRQUEUE | flags&unix.MSG_CMSG_CLOEXEC}
	for _, b := range iov {
		r.n += copy(b, e.Payload[r.n:])
	}
	if r.n < len(e.Payload) {
		r.flags |= unix.MSG_TRUNC
	}
	if e.Origin != unix.SO_EE_ORIGIN_TIMESTAMPING && e.Origin != unix.SO_EE_ORIGIN_TXTIME {
		r.name = Inet4(e.Dst, e.DstPort)
	}
	w := cmsg.Writer{Buf: control}
	s.putErrorControl(&w, &e)
	r.controlLen = w.N
	r.flags |= w.Flags
	return r, nil // its length is what was copied, with MSG_TRUNC too
}

// extendedErrLen is the length of struct sock_extended_err with the offender's
// struct sockaddr_in behind it.
const extendedErrLen = 16 + 16

// putErrorControl stores the control messages of an error.
func (s *stackSocket) putErrorControl(w *cmsg.Writer, e *stack.QueuedError) {
	wants := s.Wants.Load()
	if e.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING {
		if s.Timestamping.Load()&unix.SOF_TIMESTAMPING_SOFTWARE != 0 {
			var data [timestampingDataLen]byte
			putTimespec(data[:], e.Time)
			kind := oldStamps.all
			if wants&option.WantTimestampNew != 0 {
				kind = newStamps.all
			}
			w.Put(unix.SOL_SOCKET, kind, data[:])
		}
	} else if wants&option.WantTimes != 0 && e.Origin != unix.SO_EE_ORIGIN_TXTIME {
		in := e.Meta
		s.putTime(w, &in, wants)
	}
	var data [extendedErrLen]byte
	binary.NativeEndian.PutUint32(data[:], uint32(e.Errno))
	data[4], data[5], data[6] = e.Origin, e.Type, e.Code
	binary.NativeEndian.PutUint32(data[8:], e.Info)
	binary.NativeEndian.PutUint32(data[12:], e.Data)
	if e.Extension.At != 0 || e.Extension.Invalid {
		putExtension(data[12:], e.Extension)
	}
	if e.Origin == unix.SO_EE_ORIGIN_ICMP {
		cmsg.PutInet(data[16:], e.Offender, 0)
		// The kernel passes the other control messages of the ICMP datagram on.
		if wants := wants & (option.WantPktInfo | option.WantTTL | option.WantTOS); wants != 0 {
			in := e.Meta
			if wants&option.WantPktInfo != 0 {
				s.putPktInfo(w, &in, [4]byte{}) // nothing is answered
			}
			s.controlOf(w, &in, wants&^option.WantPktInfo)
		}
	}
	if s.IsPacket() {
		w.Put(unix.SOL_PACKET, unix.PACKET_TX_TIMESTAMP, data[:16])
		return
	}
	w.Put(unix.SOL_IP, unix.IP_RECVERR, data[:])
}

// putExtension stores struct sock_ee_data_rfc4884 (linux/errqueue.h), which stands
// where ee_data does: where in the payload the extensions begin, and flags.
func putExtension(b []byte, x icmp.Extension) {
	binary.NativeEndian.PutUint16(b, uint16(x.At))
	if x.Invalid {
		b[2] = unix.SO_EE_RFC4884_FLAG_INVALID
	}
}
