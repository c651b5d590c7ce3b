package gonet

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A deadline is until when calls of one direction go on. What is past fails a call before it
// begins, as in package net: the socket's own deadline only ends waits.
type deadline struct {
	st  *stack.Stack
	set func(at int64) error // of the socket

	mu      sync.Mutex    // held while it is changed, so that at is the socket's too
	at      atomic.Int64  // by the stack's clock; stack.NoDeadline: none
	changes atomic.Uint32 // counts them
}

func (d *deadline) init(st *stack.Stack, set func(at int64) error) {
	d.st, d.set = st, set
	d.at.Store(stack.NoDeadline)
}

// change sets the deadline, for calls that wait too.
func (d *deadline) change(at int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at.Store(at)
	d.changes.Add(1)
	return d.set(at)
}

// passed reports whether the deadline is there. It looks at the clock only if there is one.
func (d *deadline) passed() bool {
	at := d.at.Load()
	return at != stack.NoDeadline && d.st.Deadline(0) >= at
}

// SetDeadline sets the deadlines of reads and of writes; see net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline sets until when reads go on, those that wait already too. What is past
// fails them at once, with os.ErrDeadlineExceeded, whether a datagram is there or not; a
// later time, or the zero Time for none, has them go on.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline is SetReadDeadline for writes.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *conn) setDeadlines(t time.Time, read, write bool) error {
	if !c.ok() {
		return errInvalid
	}
	at := c.s.API().Deadline(t)
	var err error
	if read {
		err = c.readBy.change(at)
	}
	if write && err == nil {
		err = c.writeBy.change(at)
	}
	return c.setError(err)
}

// errAgain says that a call is to be made again.
var errAgain = unix.ERESTART

// begin returns how often the deadline was changed, for ended, or the error of a call that it
// forbids: that of Close comes before it.
func (d *deadline) begin(c *conn) (was uint32, err error) {
	was = d.changes.Load()
	if d.passed() {
		if err = c.closedError(); err == nil {
			err = os.ErrDeadlineExceeded
		}
	}
	return was, err
}

// ended returns the error of a call that began when the deadline had been changed as often
// as was says: a time-out for EAGAIN of a wait that the deadline ended, errAgain if it has
// been changed meanwhile.
func (d *deadline) ended(err error, was uint32) error {
	switch {
	case err != unix.EAGAIN:
		return err
	case d.passed():
		return os.ErrDeadlineExceeded
	case d.changes.Load() != was:
		return errAgain
	default:
		return err // SO_RCVTIMEO or O_NONBLOCK, which Control has set, or no free port
	}
}
