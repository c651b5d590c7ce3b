package ancillary

import (
	"encoding/binary"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// ExtendedErrLen is the length of struct sock_extended_err with the offender's
// struct sockaddr_in behind it.
const ExtendedErrLen = 16 + 16

// PutError stores the control messages of an error.
func PutError(s *option.State, w *cmsg.Writer, e *stack.QueuedError) {
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
		putTime(s, w, &in, wants)
	}
	var data [ExtendedErrLen]byte
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
				putPktInfo(s, w, &in, [4]byte{}) // nothing is answered
			}
			putWanted(s, w, &in, wants&^option.WantPktInfo)
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
