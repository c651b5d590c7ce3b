package sockapi

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Control messages (cmsg(3)): a header of 16 bytes - length with the header,
// level, type - and data, padded to 8 bytes, as on 64-bit Linux.
const (
	cmsgHeaderLen = unix.SizeofCmsghdr
	cmsgAlign     = unsafe.Sizeof(uintptr(0))
)

// CmsgSpace returns how many bytes a control message with n bytes of data takes
// in a Msghdr's Control (CMSG_SPACE).
func CmsgSpace(n int) int { return align(cmsgHeaderLen) + align(n) }

func align(n int) int { return (n + int(cmsgAlign) - 1) &^ (int(cmsgAlign) - 1) }

// AppendCmsg appends a control message to b and returns it. It allocates
// nothing if b has room for CmsgSpace(len(data)) more bytes.
func AppendCmsg(b []byte, level, typ int, data []byte) []byte {
	b = binary.NativeEndian.AppendUint64(b, uint64(cmsgHeaderLen+len(data)))
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	b = binary.NativeEndian.AppendUint32(b, uint32(typ))
	b = append(b, data...)
	for len(b)%int(cmsgAlign) != 0 {
		b = append(b, 0)
	}
	return b
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

// A Cmsg is one control message: a view of a Msghdr's Control.
type Cmsg struct {
	Level, Type int
	Data        []byte
}

// Int returns the data as an int, or as a byte where there is only one.
func (c Cmsg) Int() int {
	switch {
	case len(c.Data) >= 4:
		return int(int32(binary.NativeEndian.Uint32(c.Data)))
	case len(c.Data) >= 1:
		return int(c.Data[0])
	}
	return 0
}

// NextCmsg returns the first control message in b and what follows it; ok is
// false at the end, or if what is there is none (CMSG_NXTHDR).
func NextCmsg(b []byte) (c Cmsg, rest []byte, ok bool) {
	if len(b) < cmsgHeaderLen {
		return Cmsg{}, nil, false
	}
	n := binary.NativeEndian.Uint64(b)
	if n < cmsgHeaderLen || n > uint64(len(b)) {
		return Cmsg{}, nil, false
	}
	c = Cmsg{
		Level: int(int32(binary.NativeEndian.Uint32(b[8:]))),
		Type:  int(int32(binary.NativeEndian.Uint32(b[12:]))),
		Data:  b[cmsgHeaderLen:n:n],
	}
	return c, b[min(align(int(n)), len(b)):], true
}

// controlWriter stores control messages as the kernel's put_cmsg does: what
// does not fit is cut, and MSG_CTRUNC says so.
type controlWriter struct {
	buf   []byte
	n     int
	flags int
}

// put stores one control message.
func (w *controlWriter) put(level, typ int, data []byte) {
	b := w.buf[w.n:]
	if len(b) < cmsgHeaderLen {
		w.flags |= unix.MSG_CTRUNC
		return
	}
	n := cmsgHeaderLen + len(data)
	if n > len(b) {
		w.flags |= unix.MSG_CTRUNC
		n = len(b)
	}
	binary.NativeEndian.PutUint64(b, uint64(n))
	binary.NativeEndian.PutUint32(b[8:], uint32(level))
	binary.NativeEndian.PutUint32(b[12:], uint32(typ))
	copy(b[cmsgHeaderLen:n], data)
	w.n = min(w.n+align(n), len(w.buf))
}

// putInt stores a control message whose data is an int.
func (w *controlWriter) putInt(level, typ, v int) {
	var data [4]byte
	binary.NativeEndian.PutUint32(data[:], uint32(v))
	w.put(level, typ, data[:])
}
