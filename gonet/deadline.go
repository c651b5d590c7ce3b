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
// begins, as in package net: the socket's own deadline only ends waits. A timer says when
// it is past, so that calls need not look at the clock.
type deadline struct {
	st      *stack.Stack
	set     func(at int64) error // of the socket
	late    atomic.Bool          // the deadline is there
	changes atomic.Uint32        // counts them

	mu    sync.Mutex
	at    int64       // by the stack's clock; stack.NoDeadline: none
	timer *time.Timer // nil: there was no deadline yet
}

func (d *deadline) init(st *stack.Stack, set func(at int64) error) {
	d.st, d.set, d.at = st, set, stack.NoDeadline
}

// change sets the deadline, for calls that wait too: in wait, or none if never is set.
func (d *deadline) change(wait time.Duration, never bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changes.Add(1) // last, so that a call between two settings knows that it was
	d.at = stack.NoDeadline
	if !never {
		d.at = d.st.Deadline(max(wait, 0))
	}
	switch {
	case never || wait <= 0:
		d.stopLocked()
	case d.timer == nil:
		d.timer = time.AfterFunc(wait, func() { d.passed() })
	default:
		d.timer.Reset(wait)
	}
	d.late.Store(!never && wait <= 0)
	err := d.set(d.at)
	if err != nil {
		d.stopLocked() // it is closed
	}
	return err
}

// passed looks at the clock, and reports whether the deadline is there.
func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at != stack.NoDeadline && d.st.Deadline(0) >= d.at {
		d.late.Store(true)
	}
	return d.late.Load()
}

// stop gives the timer up, of a connection that is closed.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopLocked()
}

func (d *deadline) stopLocked() {
	if d.timer != nil {
		d.timer.Stop()
	}
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
	never, wait := t.IsZero(), time.Duration(0)
	if !never {
		wait = time.Until(t)
	}
	var err error
	if read {
		err = c.readBy.change(wait, never)
	}
	if write && err == nil {
		err = c.writeBy.change(wait, never)
	}
	return c.setError(err)
}

// errAgain says that a call is to be made again.
var errAgain = unix.ERESTART

// begin returns how often the deadline was changed, for ended, or the error of a call that it
// forbids: that of Close comes before it.
func (d *deadline) begin(c *conn) (was uint32, err error) {
	was = d.changes.Load()
	if d.late.Load() {
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
