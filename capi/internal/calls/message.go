package calls

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// maxMessages is UIO_MAXIOV: how many buffers a message has, and messages a call, at most.
const maxMessages = 1024

// maxBytes is MAX_RW_COUNT: what is longer is cut there.
const maxBytes = 0x7ffff000

// A Mmsghdr is a struct mmsghdr.
type Mmsghdr struct {
	Hdr unix.Msghdr
	Len uint32
	_   [4]byte
}

// scratch is what one call needs beside the caller's memory, reused from call to call.
type scratch struct {
	msg    sockapi.Msghdr
	few    [8][]byte // buffers of msg
	many   [][]byte  // buffers of msgs, or of a msg that has more
	msgs   []sockapi.Mmsghdr
	handle stack.Handle
}

var scratches = sync.Pool{New: func() any { return &scratch{handle: stack.Handle{Awake: true}} }}

func getScratch() *scratch { return scratches.Get().(*scratch) }

// free gives c back, without the caller's memory: the collector must not take for its own
// what C has freed.
func (c *scratch) free() {
	for i := range c.msg.Iov {
		c.msg.Iov[i] = nil
	}
	c.msg.Iov, c.msg.Control, c.msg.Name = nil, nil, sockapi.Sockaddr{}
	clear(c.many)
	c.many = c.many[:0]
	for i := range c.msgs {
		m := &c.msgs[i].Hdr
		m.Iov, m.Control, m.Name = nil, nil, sockapi.Sockaddr{}
	}
	c.msgs = c.msgs[:0]
	c.handle.Word = nil
	scratches.Put(c)
}

// until has what is called with it end as soon as *cut is not 0; nil: by nothing.
func (c *scratch) until(cut *uint32) *stack.Handle {
	c.handle.Word = (*atomic.Uint32)(unsafe.Pointer(cut))
	return &c.handle
}

// gather appends the caller's buffers to to: EMSGSIZE if they are too many, EINVAL if one is
// longer than can be, EFAULT if there is none.
func gather(to [][]byte, iov *unix.Iovec, n uint64) ([][]byte, int) {
	switch {
	case n > maxMessages:
		return to, -int(unix.EMSGSIZE)
	case n > 0 && iov == nil:
		return to, badMemory
	}
	left := uint64(maxBytes)
	for i := range n {
		v := (*unix.Iovec)(unsafe.Add(unsafe.Pointer(iov), uintptr(i)*unsafe.Sizeof(*iov)))
		if int64(v.Len) < 0 {
			return to, invalid
		}
		size := min(v.Len, left)
		if size > 0 && v.Base == nil {
			return to, badMemory
		}
		left -= size
		to = append(to, unsafe.Slice(v.Base, size))
	}
	return to, 0
}

// one makes c.msg of the caller's message, without its name.
func (c *scratch) one(m *unix.Msghdr) (e int) {
	if m.Iovlen <= uint64(len(c.few)) {
		c.msg.Iov, e = gather(c.few[:0], m.Iov, m.Iovlen)
	} else {
		c.many, e = gather(c.many[:0], m.Iov, m.Iovlen)
		c.msg.Iov = c.many
	}
	if m.Control != nil {
		c.msg.Control = unsafe.Slice(m.Control, min(m.Controllen, maxControl))
	}
	return e
}

// maxControl is INT_MAX: no more control messages are looked at.
const maxControl = 1<<31 - 1

// all makes c.msgs of the caller's messages, without their names, up to the first that
// is none, whose fault is returned if it is the very first.
func (c *scratch) all(m []Mmsghdr) int {
	if cap(c.msgs) < len(m) {
		c.msgs = make([]sockapi.Mmsghdr, 0, len(m))
	}
	c.msgs, c.many = c.msgs[:0], c.many[:0]
	fit := len(m)
	for i := range m {
		var e int
		if c.many, e = gather(c.many, m[i].Hdr.Iov, m[i].Hdr.Iovlen); e != 0 || int32(m[i].Hdr.Namelen) < 0 {
			if e == 0 {
				e = invalid
			}
			if i == 0 {
				return e
			}
			fit = i
			break
		}
	}
	at := 0
	for i := range m[:fit] { // now that c.many does not move any more
		h := &m[i].Hdr
		c.msgs = c.msgs[:i+1]
		to := &c.msgs[i]
		to.Hdr.Iov = c.many[at : at+int(h.Iovlen)]
		at += int(h.Iovlen)
		to.Len = 0
		if h.Control != nil {
			to.Hdr.Control = unsafe.Slice(h.Control, min(h.Controllen, maxControl))
		}
	}
	return 0
}

// name returns the bytes of a message's name.
func name(m *unix.Msghdr) []byte {
	if m.Name == nil {
		return nil
	}
	return unsafe.Slice(m.Name, min(m.Namelen, storage))
}

// tell stores in the caller's message what was received.
func tell(m *unix.Msghdr, from *sockapi.Msghdr) {
	if m.Name != nil {
		m.Namelen = putName(&from.Name, m.Name, m.Namelen)
	}
	m.Controllen = uint64(from.ControlLen)
	m.Flags = int32(from.Flags)
}
