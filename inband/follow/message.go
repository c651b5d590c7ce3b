package follow

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// native is the byte order of all numbers in netlink messages but for those that are
// said to be in network byte order.
var native = binary.NativeEndian

// aligned rounds a length up to where the next message or attribute begins.
func aligned(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// A message is one netlink message (netlink(7)), a view of the buffer it came in.
type message struct {
	kind  uint16 // RTM_NEWLINK, NLMSG_DONE, ...
	flags uint16
	seq   uint32
	port  uint32 // of the process that had the kernel do it; 0: the kernel by itself
	data  []byte
}

// cutMessage returns the first message in b and what follows it; false at the end, or at
// what is no message.
func cutMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.NLMSG_HDRLEN {
		return m, nil, false
	}
	n := int(native.Uint32(b))
	if n < unix.NLMSG_HDRLEN || n > len(b) {
		return m, nil, false
	}
	m = message{kind: native.Uint16(b[4:]), flags: native.Uint16(b[6:]), seq: native.Uint32(b[8:]),
		port: native.Uint32(b[12:]), data: b[unix.NLMSG_HDRLEN:n]}
	return m, b[min(aligned(n), len(b)):], true
}

// errno returns the error of a message of the kind NLMSG_ERROR or NLMSG_DONE, 0 for none.
func (m message) errno() unix.Errno {
	if len(m.data) < 4 {
		return 0
	}
	return unix.Errno(-int32(native.Uint32(m.data)))
}

// attributes returns the attributes that follow a fixed header of n bytes.
func (m message) attributes(n int) attributes {
	if len(m.data) < n {
		return nil
	}
	return attributes(m.data[n:])
}

// attributes are netlink attributes one after the other (struct rtattr).
type attributes []byte

// attributeLen is the length of an attribute's header.
const attributeLen = 4

// attributeKind leaves out the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const attributeKind = 0x3fff

// next takes the first attribute off; false at the end, or at what is no attribute.
func (a *attributes) next() (kind uint16, v value, ok bool) {
	b := *a
	if len(b) < attributeLen {
		return 0, nil, false
	}
	n := int(native.Uint16(b))
	if n < attributeLen || n > len(b) {
		return 0, nil, false
	}
	*a = b[min(aligned(n), len(b)):]
	return native.Uint16(b[2:]) & attributeKind, value(b[attributeLen:n]), true
}

// A value is an attribute's. What is too short for what it is taken for is zero.
type value []byte

func (v value) uint32() uint32 {
	if len(v) < 4 {
		return 0
	}
	return native.Uint32(v)
}

func (v value) addr() (a [4]byte) {
	if len(v) == len(a) {
		a = [4]byte(v)
	}
	return a
}

func (v value) mac() (m [6]byte) {
	if len(v) == len(m) {
		m = [6]byte(v)
	}
	return m
}

// text returns a string that ends in a NUL or with the attribute.
func (v value) text() string {
	for i, c := range v {
		if c == 0 {
			return string(v[:i])
		}
	}
	return string(v)
}

// A writer builds one request into a buffer that is long enough.
type writer struct {
	buf []byte
	n   int
}

// begin starts a request with a fixed header of n zero bytes behind the netlink header,
// and returns that.
func (w *writer) begin(kind, flags uint16, seq uint32, n int) []byte {
	w.n = unix.NLMSG_HDRLEN + n
	b := w.buf[:w.n]
	clear(b)
	native.PutUint16(b[4:], kind)
	native.PutUint16(b[6:], flags|unix.NLM_F_REQUEST)
	native.PutUint32(b[8:], seq)
	return b[unix.NLMSG_HDRLEN:]
}

// attribute adds an attribute of n zero bytes and returns its value.
func (w *writer) attribute(kind uint16, n int) []byte {
	b := w.buf[w.n : w.n+aligned(attributeLen+n)]
	clear(b)
	native.PutUint16(b, uint16(attributeLen+n))
	native.PutUint16(b[2:], kind)
	w.n += len(b)
	return b[attributeLen : attributeLen+n]
}

func (w *writer) uint32(kind uint16, v uint32) { native.PutUint32(w.attribute(kind, 4), v) }

// end returns the request.
func (w *writer) end() []byte {
	native.PutUint32(w.buf, uint32(w.n))
	return w.buf[:w.n]
}
