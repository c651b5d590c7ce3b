package sockapi

import (
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// API returns what the socket was opened by.
func (s *Socket) API() *API { return s.api }

// Deadline returns t as a time of the stack's clock, for SetReadDeadlineAt: what is past is
// now, and the zero Time never.
func (a *API) Deadline(t time.Time) int64 {
	if t.IsZero() {
		return stack.NoDeadline
	}
	return a.st.Deadline(max(time.Until(t), 0))
}

// SetReadDeadline ends calls that wait to receive, those in progress too, at t: they
// return EAGAIN, as after SO_RCVTIMEO. A later time makes their waits longer, what is past
// ends them at once, and the zero Time is none. A call that need not wait does not
// look at it. EBADF: the socket is closed. EOPNOTSUPP: an in-band socket, which waits in
// the kernel.
func (s *Socket) SetReadDeadline(t time.Time) error {
	return s.setReadDeadline(s.api.Deadline(t))
}

// SetWriteDeadline is SetReadDeadline for calls that send.
func (s *Socket) SetWriteDeadline(t time.Time) error {
	return s.setWriteDeadline(s.api.Deadline(t))
}

// SetReadDeadlineAt is SetReadDeadline for a time of the stack's clock: stack.NoDeadline is
// none.
func (s *Socket) SetReadDeadlineAt(at int64) error { return s.setReadDeadline(at) }

// SetWriteDeadlineAt is SetReadDeadlineAt for calls that send.
func (s *Socket) SetWriteDeadlineAt(at int64) error { return s.setWriteDeadline(at) }

func (s *stackSocket) setReadDeadline(at int64) error {
	if s.K.Closed() {
		return unix.EBADF
	}
	s.K.SetReadDeadline(at)
	return nil
}

func (s *stackSocket) setWriteDeadline(at int64) error {
	if s.K.Closed() {
		return unix.EBADF
	}
	s.K.SetWriteDeadline(at)
	return nil
}

func (s *kernelSocket) setReadDeadline(int64) error { return s.orClosed(unix.EOPNOTSUPP) }

func (s *kernelSocket) setWriteDeadline(int64) error { return s.orClosed(unix.EOPNOTSUPP) }
