package sockapi

import (
	"time"
	"unsafe"

	"github.com/outband/outband/sockapi/internal/epoll"
)

// An EpollEvent is what an [Epoll] is asked for, and what it reports (struct
// epoll_event in epoll_event(3type)).
type EpollEvent struct {
	// Events are unix.EPOLLIN and so on; for Ctl with unix.EPOLLET,
	// EPOLLONESHOT and EPOLLEXCLUSIVE.
	Events uint32
	// Data is the caller's own.
	Data uint64
}

// An Epoll watches any number of sockets, kernel descriptors and other Epolls
// (epoll(7)). What Wait costs depends on how many are ready, not on how many are
// watched. A goroutine that waits drives the stack's links, as a receiver does.
type Epoll struct{ set *epoll.Set }

// EpollCreate opens an Epoll (epoll_create1(2)). Close gives back what it
// takes, which is nothing of the kernel's while no kernel descriptor is in it. The
// stack's Close closes it too. ENETDOWN: the stack is closed.
func (a *API) EpollCreate() (*Epoll, error) {
	set, err := a.epolls.New()
	if err != nil {
		return nil, err
	}
	return &Epoll{set}, nil
}

// Ctl adds, changes or removes a socket (unix.EPOLL_CTL_ADD, _MOD and _DEL of
// epoll_ctl(2)). A socket that is closed leaves by itself. In-band sockets are
// watched by their descriptor.
//
// Errors: EBADF: the Epoll or the socket is closed. EEXIST, ENOENT: it is, or
// is not, in it. EINVAL: an unknown op, or EPOLLEXCLUSIVE where it may not be.
// EXDEV: a socket of another stack.
func (e *Epoll) Ctl(op int, s *Socket, ev EpollEvent) error {
	return s.epollCtl(e.set, op, epoll.Event(ev))
}

// CtlFd adds, changes or removes a descriptor of the kernel's: a socket, a pipe,
// a timerfd. The kernel's own epoll watches it, so that events, flags and errors
// are epoll_ctl(2)'s: EPERM is a file that cannot be watched.
func (e *Epoll) CtlFd(op, fd int, ev EpollEvent) error { return e.set.CtlFd(op, fd, epoll.Event(ev)) }

// CtlEpoll adds, changes or removes another Epoll, which is readable while
// something in it is ready. Errors are those of Ctl, and ELOOP: e would be
// inside itself, or more than 5 would be inside one another; EINVAL also for e
// itself and for EPOLLEXCLUSIVE.
func (e *Epoll) CtlEpoll(op int, inner *Epoll, ev EpollEvent) error {
	return e.set.CtlEpoll(op, inner.set, epoll.Event(ev))
}

// Wait waits until something that is watched is ready, and stores up to
// len(events) events (epoll_wait(2)). It returns how many: 0 if there was
// nothing when the time-out had passed. A negative time-out waits without end, 0
// not at all. EINVAL: no room for events. EBADF: the Epoll is closed. Hot: no
// allocation.
func (e *Epoll) Wait(events []EpollEvent, timeout time.Duration) (int, error) {
	// The types differ in name only, and can be converted, but slices of them cannot.
	same := unsafe.Slice((*epoll.Event)(unsafe.Pointer(unsafe.SliceData(events))), len(events))
	return e.set.Wait(same, timeout)
}

// SetSpin sets how long Wait looks for events before it sleeps: a duration, or
// one of stack.SpinAdaptive (the default), stack.SpinNever and stack.SpinAlways.
func (e *Epoll) SetSpin(d time.Duration) { e.set.SetSpin(d) }

// PollFD returns a descriptor of the kernel's that is readable while Wait would
// return at once, for programs with an event loop of their own, and to put this
// Epoll into an epoll of the kernel's. It stays the Epoll's: watch it, do not read
// it or close it; Close closes it. It may stay readable after an inner Epoll
// has become idle, until a Wait that returns nothing.
//
// Only an Epoll that was asked for one has it, and pays for it: a system call
// whenever that changes. EMFILE, ENFILE: there is no descriptor left. EBADF: the
// Epoll is closed.
func (e *Epoll) PollFD() (int, error) { return e.set.PollFD() }

// Close ends the Epoll. Calls of Wait that are under way return EBADF.
func (e *Epoll) Close() error { return e.set.Close() }
