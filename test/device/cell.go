package device

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/oracle"
)

// A cell of the matrix is a row, what the socket is, with an event.
type cell struct {
	*oracle.Run
	h       *host
	row     *row
	n       int // which row: no other has its port, protocol, EtherType, group
	k, peer *oracle.Sock
	reads   *reading // for rows whose reader waits all the time
	polls   *sockapi.Epoll

	patience time.Duration
}

// Numbers that belong to one row.
func (c *cell) port() uint16      { return 7000 + uint16(c.n) }
func (c *cell) protocol() int     { return 160 + c.n }
func (c *cell) etherType() uint16 { return 0x6600 + uint16(c.n) }
func (c *cell) group() [4]byte    { return [4]byte{239, 9, 0, byte(c.n)} }

// near and far are addresses of both ends with the row's port.
func (c *cell) near() sockapi.Sockaddr { return c.Near(c.port()) }
func (c *cell) far() sockapi.Sockaddr  { return c.Far(c.port()) }

// A phase is before, while or after something happens to the device.
type phase struct {
	name    string
	carries bool // datagrams get through
}

// use makes the calls of a phase: what a socket is ready for, a send, what it says of
// errors, the same connect once more, and what gets through both ways.
func (c *cell) use(p phase) {
	c.k.Poll()
	sent := c.send(p)
	c.k.Error()
	if c.row.connects != nil {
		c.k.Connect(c.row.connects(c))
		c.k.Names()
	}
	if p.carries && sent && !c.row.quiet {
		c.receives(c.peer, p.name, c.row.peerOffset)
	}
	if p.carries {
		c.row.answer(c, p)
		c.receives(c.k, c.answered(p), c.row.offset)
	} else {
		c.k.Recvfrom(1<<16, unix.MSG_DONTWAIT)
	}
	c.k.GetAs(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, unix.IFNAMSIZ, func(v []byte) string { return fmt.Sprintf("%q", v) })
	c.k.Poll()
}

// padded returns what is sent: a text, and zeros behind, so that all phases send as much.
func (c *cell) padded(text string) []byte { return pad(text, c.row.size) }

func pad(text string, size int) []byte {
	b := make([]byte, max(16, size))
	copy(b, text)
	return b
}

// answered returns the text that the peer sends in a phase, or that comes back.
func (c *cell) answered(p phase) string {
	if c.row.quiet {
		return p.name
	}
	return p.name + " too"
}

// answer returns what the peer sends in a phase: never much, since a device of a small
// MTU may take no more.
func (c *cell) answer(p phase) []byte { return pad(c.answered(p), 0) }

// send sends as the row does, and reports whether the call succeeded.
func (c *cell) send(p phase) (ok bool) {
	c.k.Do("send", func(s *sockapi.Socket) string {
		n, err := c.row.send(c, s, c.padded(p.name))
		ok = err == nil
		return count(n, err)
	})
	return ok
}

// patience is how long a datagram may take that is expected; brief, where Linux is
// known to lose it, so that nothing comes.
const (
	patience = 2 * time.Second
	brief    = 200 * time.Millisecond
)

// receives receives until what was sent in a phase has come, and writes down all that
// has come by then. Of each datagram it shows what is behind the first offset bytes.
func (c *cell) receives(k *oracle.Sock, what string, offset int) {
	k.Do("receive until "+what, func(s *sockapi.Socket) string {
		if err := s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, c.patience); err != nil {
			return count(0, err)
		}
		var all []string
		b := make([]byte, 1<<16)
		for len(all) < 64 {
			n, err := s.Recv(b, 0)
			all = append(all, text(b, offset, n, err))
			if err == unix.EAGAIN || all[len(all)-1] == what {
				break
			}
		}
		return strings.Join(all, "; ")
	})
}

// text is what was received, without the zeros at its end.
func text(b []byte, offset, n int, err error) string {
	if err != nil {
		return count(n, err)
	}
	return string(bytes.TrimRight(b[min(offset, n):n], "\x00"))
}

// count writes down a number of bytes or an errno.
func count(n int, err error) string {
	if e, ok := err.(unix.Errno); ok {
		return unix.ErrnoName(e)
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(n)
}

// ends closes what the cell has open.
func (c *cell) ends() {
	if c.polls != nil {
		c.polls.Close()
	}
	c.End()
	if c.reads != nil {
		<-c.reads.done
	}
}
