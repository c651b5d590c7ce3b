package calls

import (
	"time"
	"unsafe"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// Sendto is sendto(2); an empty name is the peer's. Hot: no allocation.
func (l *Library) Sendto(h int, p []byte, flags int, to []byte) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	if len(to) == 0 {
		n, err := s.Send(p, flags)
		if err != nil {
			return fail(err)
		}
		return n
	}
	a, e := destination(s, to)
	if e != 0 {
		return e
	}
	n, err := s.Sendto(p, flags, a)
	if err != nil {
		return fail(err)
	}
	return n
}

// Sendmsg is sendmsg(2). Hot: no allocation.
func (l *Library) Sendmsg(h int, m *unix.Msghdr, flags int) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	if int32(m.Namelen) < 0 && m.Name != nil {
		return invalid
	}
	c := getScratch()
	e := c.one(m)
	if e == 0 && m.Control == nil && m.Controllen > 0 {
		e = badMemory
	}
	if e == 0 {
		c.msg.Name, e = destination(s, name(m))
	}
	if e == 0 {
		var err error
		if e, err = s.Sendmsg(&c.msg, flags); err != nil {
			e = fail(err)
		}
	}
	c.free()
	return e
}

// Sendmmsg is sendmmsg(2). Hot: no allocation.
func (l *Library) Sendmmsg(h int, m []Mmsghdr, flags int) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	m = m[:min(len(m), maxMessages)]
	c := getScratch()
	defer c.free()
	if e := c.all(m); e != 0 {
		return e
	}
	for i := range c.msgs {
		var e int
		if c.msgs[i].Hdr.Name, e = destination(s, name(&m[i].Hdr)); e != 0 {
			if i == 0 {
				return e
			}
			c.msgs = c.msgs[:i]
			break
		}
	}
	n, err := s.Sendmmsg(c.msgs, flags)
	if err != nil {
		return fail(err)
	}
	for i := range n {
		m[i].Len = uint32(c.msgs[i].Len)
	}
	return n
}

// Recvfrom is recvfrom(2): the source is stored in from if it is not nil, as much as fits in
// *size bytes, and its length in *size. Hot: no allocation.
func (l *Library) Recvfrom(h int, p []byte, flags int, from *byte, size *uint32) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	if from == nil {
		n, err := s.Recv(p, flags)
		if err != nil {
			return fail(err)
		}
		return n
	}
	if size == nil {
		return badMemory
	}
	if int32(*size) < 0 {
		return invalid
	}
	n, a, err := s.Recvfrom(p, flags)
	if err != nil {
		return fail(err)
	}
	*size = putName(&a, from, *size)
	return n
}

// Recvmsg is recvmsg(2). Hot: no allocation.
func (l *Library) Recvmsg(h int, m *unix.Msghdr, flags int) int {
	return l.recvmsg(h, m, flags, nil, false)
}

// RecvmsgCut is recvmsg(2) that does not sleep: EAGAIN when it has looked for the socket's
// budget, EINTR as soon as *cut is not 0. Hot: no allocation.
func (l *Library) RecvmsgCut(h int, m *unix.Msghdr, flags int, cut *uint32) int {
	return l.recvmsg(h, m, flags, cut, true)
}

func (l *Library) recvmsg(h int, m *unix.Msghdr, flags int, cut *uint32, awake bool) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	if int32(m.Namelen) < 0 && m.Name != nil {
		return invalid
	}
	c := getScratch()
	n := c.one(m)
	if n == 0 {
		var err error
		if awake {
			n, err = s.RecvmsgWith(c.until(cut), &c.msg, flags)
		} else {
			n, err = s.Recvmsg(&c.msg, flags)
		}
		if err != nil {
			n = fail(err)
		} else {
			tell(m, &c.msg)
		}
	}
	c.free()
	return n
}

// Recvmmsg is recvmmsg(2); of a timeout what is left is stored in it. Hot: no allocation.
func (l *Library) Recvmmsg(h int, m []Mmsghdr, flags int, timeout *unix.Timespec) int {
	if timeout == nil {
		return l.recvmmsg(h, m, func(s *sockapi.Socket, c *scratch) (int, error) {
			return s.Recvmmsg(c.msgs, flags, -1)
		})
	}
	if timeout.Sec < 0 || timeout.Nsec < 0 || timeout.Nsec >= int64(time.Second) {
		return invalid
	}
	d := time.Duration(1<<63 - 1)
	if timeout.Sec < int64(d/time.Second) {
		d = time.Duration(timeout.Nano())
	}
	began := time.Now()
	n := l.recvmmsg(h, m, func(s *sockapi.Socket, c *scratch) (int, error) {
		return s.Recvmmsg(c.msgs, flags, d)
	})
	if n > 0 {
		*timeout = unix.NsecToTimespec(int64(max(d-time.Since(began), 0)))
	}
	return n
}

// RecvmmsgCut is RecvmsgCut for all datagrams that are there. Hot: no allocation.
func (l *Library) RecvmmsgCut(h int, m []Mmsghdr, flags int, cut *uint32) int {
	return l.recvmmsg(h, m, func(s *sockapi.Socket, c *scratch) (int, error) {
		return s.RecvmmsgWith(c.until(cut), c.msgs, flags)
	})
}

// recvmmsg receives into the caller's messages by a call.
func (l *Library) recvmmsg(h int, m []Mmsghdr, call func(s *sockapi.Socket, c *scratch) (int, error)) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	m = m[:min(len(m), maxMessages)]
	c := getScratch()
	defer c.free()
	if e := c.all(m); e != 0 {
		return e
	}
	n, err := call(s, c)
	if err != nil {
		return fail(err)
	}
	for i := range n {
		tell(&m[i].Hdr, &c.msgs[i].Hdr)
		m[i].Len = uint32(c.msgs[i].Len)
	}
	return n
}

// Messages returns n messages that C has.
func Messages(m unsafe.Pointer, n uint) []Mmsghdr {
	if m == nil {
		return nil
	}
	return unsafe.Slice((*Mmsghdr)(m), min(n, maxMessages))
}
