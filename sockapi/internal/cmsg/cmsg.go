// Package cmsg is control messages (cmsg(3)) as they are in memory: a header of 16
// bytes - length with the header, level, type - and data, padded to 8 bytes, as on
// 64-bit Linux.
package cmsg

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// HeaderLen is the length of a header in bytes, alignment what messages are padded to.
const (
	HeaderLen = unix.SizeofCmsghdr
	alignment = unsafe.Sizeof(uintptr(0))
)

// Space returns how many bytes a message with n bytes of data takes (CMSG_SPACE).
func Space(n int) int { return align(HeaderLen) + align(n) }

func align(n int) int { return (n + int(alignment) - 1) &^ (int(alignment) - 1) }

// Append appends a message to b and returns it.
func Append(b []byte, level, typ int, data []byte) []byte {
	b = binary.NativeEndian.AppendUint64(b, uint64(HeaderLen+len(data)))
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	b = binary.NativeEndian.AppendUint32(b, uint32(typ))
	b = append(b, data...)
	for len(b)%int(alignment) != 0 {
		b = append(b, 0)
	}
	return b
}

// A Message is a view of one message.
type Message struct {
	Level, Type int
	Data        []byte
}

// Int returns the data as an int, or as a byte where there is only one.
func (c Message) Int() int {
	switch {
	case len(c.Data) >= 4:
		return int(int32(binary.NativeEndian.Uint32(c.Data)))
	case len(c.Data) >= 1:
		return int(c.Data[0])
	}
	return 0
}

// Next returns the first message in b and what follows it; ok is false at the
// end, or if what is there is none (CMSG_NXTHDR).
func Next(b []byte) (c Message, rest []byte, ok bool) {
	if len(b) < HeaderLen {
		return Message{}, nil, false
	}
	n := binary.NativeEndian.Uint64(b)
	if n < HeaderLen || n > uint64(len(b)) {
		return Message{}, nil, false
	}
	c = Message{
		Level: int(int32(binary.NativeEndian.Uint32(b[8:]))),
		Type:  int(int32(binary.NativeEndian.Uint32(b[12:]))),
		Data:  b[HeaderLen:n:n],
	}
	return c, b[min(align(int(n)), len(b)):], true
}

// Writer stores control messages as the kernel's put_cmsg does: what
// does not fit is cut, and MSG_CTRUNC says so.
type Writer struct {
	Buf   []byte
	N     int
	Flags int
}

// Put stores one control message.
func (w *Writer) Put(level, typ int, data []byte) {
	b := w.Buf[w.N:]
	if len(b) < HeaderLen {
		w.Flags |= unix.MSG_CTRUNC
		return
	}
	n := HeaderLen + len(data)
	if n > len(b) {
		w.Flags |= unix.MSG_CTRUNC
		n = len(b)
	}
	binary.NativeEndian.PutUint64(b, uint64(n))
	binary.NativeEndian.PutUint32(b[8:], uint32(level))
	binary.NativeEndian.PutUint32(b[12:], uint32(typ))
	copy(b[HeaderLen:n], data)
	w.N = min(w.N+align(n), len(w.Buf))
}

// PutInt stores a control message whose data is an int.
func (w *Writer) PutInt(level, typ, v int) {
	var data [4]byte
	binary.NativeEndian.PutUint32(data[:], uint32(v))
	w.Put(level, typ, data[:])
}
