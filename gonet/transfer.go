package gonet

import (
	"sync"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// Calls of the socket. Each fails if its deadline is there, and else waits until then. A call
// whose wait was ended by a deadline that has been changed meanwhile is made again. Hot
// paths: no allocation. The connection is looked at after the call, so that its cleanup does
// not close the socket under it.

func (c *conn) recvfrom(b []byte) (int, sockapi.Sockaddr, error) {
	for {
		was, err := c.readBy.begin(c)
		if err != nil {
			return 0, sockapi.Sockaddr{}, err
		}
		n, from, err := c.s.Recvfrom(b, 0)
		if err == nil {
			return n, from, nil
		}
		if err = c.readBy.ended(err, was); err != errAgain {
			return 0, from, err
		}
	}
}

func (c *conn) send(b []byte) (int, error) {
	for {
		was, err := c.writeBy.begin(c)
		if err != nil {
			return 0, err
		}
		n, err := c.s.Send(b, 0)
		if err == nil {
			return n, nil
		}
		if err = c.writeBy.ended(err, was); err != errAgain {
			return 0, err
		}
	}
}

func (c *conn) sendto(b []byte, to sockapi.Sockaddr) (int, error) {
	for {
		was, err := c.writeBy.begin(c)
		if err != nil {
			return 0, err
		}
		n, err := c.s.Sendto(b, 0, to)
		if err == nil {
			return n, nil
		}
		if err = c.writeBy.ended(err, was); err != errAgain {
			return 0, err
		}
	}
}

// A message is one datagram of one buffer with control messages: what it refers to would
// move to the heap if it were made anew for each call.
type message struct {
	hdr  sockapi.Msghdr
	iov  [2][]byte
	head [maxIPHeader]byte // room for an IP header that the caller does not get
	oob  [controlRoom]byte // room for what a PacketConn asks for
}

var messages = sync.Pool{New: func() any { return new(message) }}

// newMessage returns a message of one buffer.
func newMessage(b, oob []byte) *message {
	m := messages.Get().(*message)
	m.iov[0] = b
	m.hdr.Iov, m.hdr.Control = m.iov[:1], oob
	return m
}

// free gives a message back, without the caller's buffers.
func (m *message) free() {
	m.hdr, m.iov = sockapi.Msghdr{}, [2][]byte{}
	messages.Put(m)
}

func (c *conn) recvmsg(m *message) (int, error) {
	for {
		was, err := c.readBy.begin(c)
		if err != nil {
			return 0, err
		}
		n, err := c.s.Recvmsg(&m.hdr, 0)
		if err == nil {
			return n, nil
		}
		if err = c.readBy.ended(err, was); err != errAgain {
			return 0, err
		}
	}
}

func (c *conn) sendmsg(m *message) (int, error) {
	for {
		was, err := c.writeBy.begin(c)
		if err != nil {
			return 0, err
		}
		n, err := c.s.Sendmsg(&m.hdr, 0)
		if err == nil {
			return n, nil
		}
		if err = c.writeBy.ended(err, was); err != errAgain {
			return 0, err
		}
	}
}

// recvmmsg receives as many datagrams as are there, and waits for the first only.
func (c *conn) recvmmsg(msgs []sockapi.Mmsghdr, flags int) (int, error) {
	for {
		was, err := c.readBy.begin(c)
		if err != nil {
			return 0, err
		}
		n, err := c.s.Recvmmsg(msgs, flags|unix.MSG_WAITFORONE, -1)
		if err == nil {
			return n, nil
		}
		if flags&unix.MSG_DONTWAIT != 0 {
			return 0, err
		}
		if err = c.readBy.ended(err, was); err != errAgain {
			return 0, err
		}
	}
}

func (c *conn) sendmmsg(msgs []sockapi.Mmsghdr, flags int) (int, error) {
	for {
		was, err := c.writeBy.begin(c)
		if err != nil {
			return 0, err
		}
		n, err := c.s.Sendmmsg(msgs, flags)
		if err == nil {
			return n, nil
		}
		if flags&unix.MSG_DONTWAIT != 0 {
			return 0, err
		}
		if err = c.writeBy.ended(err, was); err != errAgain {
			return 0, err
		}
	}
}
