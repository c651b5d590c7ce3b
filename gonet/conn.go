package gonet

import (
	"net"
	"runtime"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// errInvalid is what methods of the zero connection return.
var errInvalid error = unix.EINVAL

// A conn is what connections have in common. Its fields do not change.
type conn struct {
	s            *sockapi.Socket
	network      string // as it was asked for
	laddr, raddr net.Addr
	connected    bool
	readBy       deadline
	writeBy      deadline
}

// init makes c the connection of a socket that is bound or connected. A connection that
// nobody has any more is closed, as in package net.
func (c *conn) init(s *sockapi.Socket, network string, laddr, raddr net.Addr, connected bool) {
	c.s, c.network, c.laddr, c.raddr, c.connected = s, network, laddr, raddr, connected
	st := s.API().Stack()
	c.readBy.init(st, s.SetReadDeadlineAt)
	c.writeBy.init(st, s.SetWriteDeadlineAt)
	runtime.AddCleanup(c, func(s *sockapi.Socket) { _ = s.Close() }, s)
}

// ok reports whether the connection was opened.
func (c *conn) ok() bool { return c != nil && c.s != nil }

// Read receives one datagram, and returns how many bytes of it fit into b. With an empty b it
// returns at once.
func (c *conn) Read(b []byte) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	if len(b) == 0 {
		return 0, c.readError("read", c.closedError())
	}
	n, _, err := c.recvfrom(b)
	if err != nil {
		return 0, c.readError("read", err)
	}
	return n, nil
}

// Write sends b as one datagram to the peer. See net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if !c.ok() {
		return 0, errInvalid
	}
	n, err := c.send(b)
	if err != nil {
		return 0, c.writeError("write", c.raddr, err)
	}
	return n, nil
}

// Close ends the connection: calls that wait return an error that errors.Is finds
// net.ErrClosed in, and so do all that come.
func (c *conn) Close() error {
	if !c.ok() {
		return errInvalid
	}
	c.readBy.stop()
	c.writeBy.stop()
	if err := c.s.Close(); err != nil {
		return opError("close", c.network, c.laddr, c.raddr, syscallError("close", err))
	}
	return nil
}

// LocalAddr returns the address that the connection is bound to: the same value each time,
// which is not to be changed.
func (c *conn) LocalAddr() net.Addr {
	if !c.ok() {
		return nil
	}
	return c.laddr
}

// RemoteAddr returns the peer, nil if there is none: the same value each time, which is not
// to be changed.
func (c *conn) RemoteAddr() net.Addr {
	if !c.ok() {
		return nil
	}
	return c.raddr
}

// SetReadBuffer sets how many bytes of payload may wait to be read: as in Linux the
// socket takes twice as much, for what it costs to keep them.
func (c *conn) SetReadBuffer(bytes int) error {
	if !c.ok() {
		return errInvalid
	}
	return c.setError(c.s.SetReadBuffer(bytes))
}

// SetWriteBuffer sets how many bytes may wait to be sent, as SetReadBuffer does.
func (c *conn) SetWriteBuffer(bytes int) error {
	if !c.ok() {
		return errInvalid
	}
	return c.setError(c.s.SetWriteBuffer(bytes))
}

// closedError returns EBADF if the connection is closed.
func (c *conn) closedError() error {
	_, err := c.s.Getsockname()
	return err
}

// setError returns an error of a call that sets something.
func (c *conn) setError(err error) error {
	if err == nil {
		return nil
	}
	return opError("set", c.network, nil, c.laddr, syscallError("setsockopt", err))
}

func (c *conn) readError(call string, err error) error {
	if err == nil {
		return nil
	}
	return opError("read", c.network, c.laddr, c.raddr, syscallError(call, err))
}

func (c *conn) writeError(call string, to net.Addr, err error) error {
	return opError("write", c.network, c.laddr, to, syscallError(call, err))
}
