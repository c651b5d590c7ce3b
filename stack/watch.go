package stack

import (
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// Events of a socket as poll(2) and epoll(7) name them, in the groups in which
// Linux' sockets raise them.
const (
	EventsIn  = drive.In
	EventsOut = drive.Out
	// EventsAll is raised by a change that concerns whoever watches for anything.
	EventsAll = drive.All
)

// A Watch is somebody who wants to know when a socket's events change: when some may
// have begun to hold, when something has been taken, when the socket has ended. Its
// fields are set before Endpoint.Watch, and not changed while it is in force but by
// ChangeWatch.
type Watch = drive.Watch

// Watch has w told of the socket's events, from now on until Unwatch or Close.
// EBADF: the socket is closed.
func (k *Endpoint) Watch(w *Watch) error {
	k.watches.Add(w)
	if k.Closed() {
		k.Unwatch(w)
		return unix.EBADF
	}
	return nil
}

// Unwatch takes w out. Notify is not running, and will not be called, when it
// returns. It does nothing if w is not in force.
func (k *Endpoint) Unwatch(w *Watch) { k.watches.Remove(w) }

// ChangeWatch changes w, whether it is in force or not.
func (k *Endpoint) ChangeWatch(w *Watch, change func(w *Watch)) { k.watches.Change(w, change) }

// Events returns what holds of the socket now, as poll(2) would report it: the
// rules are those of Linux' datagram_poll.
func (k *Endpoint) Events() uint32 { return k.EventsOf(EventsAll) }

// EventsOf is Events for who wants to know of some events only; others may be missing.
// To know whether there is room in a device takes a system call.
func (k *Endpoint) EventsOf(want uint32) uint32 {
	var ev uint32
	st := k.state.Load()
	if st&output.StateError != 0 || k.errors.Queued() > 0 {
		ev |= unix.EPOLLERR
		if k.errors.SelectErrors() {
			ev |= unix.EPOLLPRI
		}
	}
	switch st & (output.StateShutRead | output.StateShutWrite) {
	case output.StateShutRead | output.StateShutWrite:
		ev |= unix.EPOLLHUP | unix.EPOLLRDHUP | EventsIn
	case output.StateShutRead:
		ev |= unix.EPOLLRDHUP | EventsIn
	}
	if k.queue.N.Load() > 0 || k.times.sent.Len() > 0 {
		ev |= EventsIn
	}
	switch {
	case want&EventsOut == 0 && k.out.WritableHere():
	case k.out.Writable():
		ev |= EventsOut
	default:
		k.out.Missing()
	}
	return ev
}

// WaitElsewhere counts who waits outside of the stack for more than a socket, n
// more or, if it is negative, fewer: see Socket.WaitElsewhere.
func (s *Stack) WaitElsewhere(n int32) { s.drive.Elsewhere(n) }

// WaitElsewhere says that the socket's owner waits for it outside of the stack,
// told by a Watch, so that somebody else has to drive the links meanwhile, at
// once and not after the while that the housekeeper else gives receivers.
func (k *Endpoint) WaitElsewhere(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if on == k.elsewhere || on && k.Closed() {
		return
	}
	k.elsewhere = on
	if on {
		k.s.WaitElsewhere(1)
	} else {
		k.s.WaitElsewhere(-1)
	}
}
