package sockapi

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi/internal/cmsg"
)

// CmsgSpace returns how many bytes a control message with n bytes of data takes
// in a Msghdr's Control (CMSG_SPACE).
func CmsgSpace(n int) int { return cmsg.Space(n) }

// AppendCmsg appends a control message (cmsg(3)) to b and returns it. It allocates
// nothing if b has room for CmsgSpace(len(data)) more bytes.
func AppendCmsg(b []byte, level, typ int, data []byte) []byte {
	return cmsg.Append(b, level, typ, data)
}

// AppendCmsgInt appends a control message whose data is an int.
func AppendCmsgInt(b []byte, level, typ, v int) []byte {
	var data [4]byte
	binary.NativeEndian.PutUint32(data[:], uint32(v))
	return AppendCmsg(b, level, typ, data[:])
}

// AppendPktInfo appends IP_PKTINFO (ip(7)): on send, the interface to leave by
// (0 for any) and the source address.
func AppendPktInfo(b []byte, ifindex int, source [4]byte) []byte {
	var data [12]byte
	binary.NativeEndian.PutUint32(data[:], uint32(ifindex))
	copy(data[4:], source[:])
	return AppendCmsg(b, unix.IPPROTO_IP, unix.IP_PKTINFO, data[:])
}

// AppendTxTime appends SCM_TXTIME: when the datagram is to leave, in nanoseconds of
// the clock that SO_TXTIME has set.
func AppendTxTime(b []byte, t uint64) []byte {
	var data [8]byte
	binary.NativeEndian.PutUint64(data[:], t)
	return AppendCmsg(b, unix.SOL_SOCKET, unix.SCM_TXTIME, data[:])
}

// A Cmsg is one control message: a view of a Msghdr's Control.
type Cmsg struct {
	Level, Type int
	Data        []byte
}

// Int returns the data as an int, or as a byte where there is only one.
func (c Cmsg) Int() int { return cmsg.Message(c).Int() }

// NextCmsg returns the first control message in b and what follows it; ok is
// false at the end, or if what is there is none (CMSG_NXTHDR).
func NextCmsg(b []byte) (c Cmsg, rest []byte, ok bool) {
	m, rest, ok := cmsg.Next(b)
	return Cmsg(m), rest, ok
}
