package stack

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Events of a socket as poll(2) and epoll(7) name them, in the groups in which
// Linux' sockets raise them.
const (
	EventsIn  = unix.EPOLLIN | unix.EPOLLRDNORM
	EventsOut = unix.EPOLLOUT | unix.EPOLLWRNORM | unix.EPOLLWRBAND
	// EventsAll is raised by a change that concerns whoever watches for anything.
	EventsAll = ^uint32(0)
)

// A Watch is somebody who wants to know when a socket's events change. Its
// fields are set before Endpoint.Watch, and not changed while it is in force.
type Watch struct {
	// Notify is called when some of the events may have begun to hold: it looks
	// for itself with Endpoint.Events. It reports whether it has made somebody
	// run. It is called on any goroutine, must return at once, and may neither
	// send nor receive nor call Watch or Unwatch: the socket's list of
	// watches is locked.
	Notify func(events uint32) bool
	// Closed is called, with no lock held, when the socket is closed. It is not
	// watched any more then. It may be nil.
	Closed func()
	// Exclusive watches are told in turn until one of them has made somebody
	// run (EPOLLEXCLUSIVE in epoll_ctl(2)).
	Exclusive bool

	next, prev *Watch
	on         *Endpoint // nil: not in force; guarded by the socket's watches
}

// watches are those who watch a socket. As in Linux' wait queues the exclusive
// ones come last, in their order, and the others before, the latest first.
type watches struct {
	head atomic.Pointer[Watch] // nil: nobody watches; changed with mu held
	mu   sync.Mutex
}

// Watch has w told of the socket's events, from now on until Unwatch or Close.
// EBADF: the socket is closed.
func (k *Endpoint) Watch(w *Watch) error {
	l := &k.watches
	l.mu.Lock()
	if w.on == k { // it is in force
		l.mu.Unlock()
		return nil
	}
	w.on = k
	head := l.head.Load()
	if !w.Exclusive || head == nil {
		w.next = head
		if head != nil {
			head.prev = w
		}
		l.head.Store(w)
	} else {
		last := head
		for last.next != nil {
			last = last.next
		}
		last.next, w.prev = w, last
	}
	l.mu.Unlock()
	if k.Closed() {
		k.Unwatch(w)
		return unix.EBADF
	}
	return nil
}

// Unwatch takes w out. Notify is not running, and will not be called, when it
// returns. It does nothing if w is not in force.
func (k *Endpoint) Unwatch(w *Watch) {
	l := &k.watches
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removeLocked(k, w)
}

func (l *watches) removeLocked(k *Endpoint, w *Watch) {
	if w.on != k {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head.Store(w.next)
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.next, w.prev, w.on = nil, nil, nil
}

// watched reports whether anybody watches. Hot.
func (k *Endpoint) watched() bool { return k.watches.head.Load() != nil }

// changed tells who watches the socket that events may have begun to hold.
func (k *Endpoint) changed(events uint32) {
	if k.watched() {
		k.watches.tell(events)
	}
}

func (k *Endpoint) tell(events uint32) { k.watches.tell(events) }

func (l *watches) tell(events uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := l.head.Load(); w != nil; w = w.next {
		if w.Notify(events) && w.Exclusive && events != EventsAll {
			return
		}
	}
}

// unwatchAll ends all watches of a socket that is closed.
func (k *Endpoint) unwatchAll() {
	l := &k.watches
	for {
		l.mu.Lock()
		w := l.head.Load()
		if w == nil {
			l.mu.Unlock()
			return
		}
		l.removeLocked(k, w)
		l.mu.Unlock()
		if w.Closed != nil {
			w.Closed()
		}
	}
}

// Events returns what holds of the socket now, as poll(2) would report it: the
// rules are those of Linux' datagram_poll.
func (k *Endpoint) Events() uint32 { return k.EventsOf(EventsAll) }

// EventsOf is Events for who wants to know of some events only; others may be missing.
// To know whether there is room in a device takes a system call.
func (k *Endpoint) EventsOf(want uint32) uint32 {
	var ev uint32
	st := k.state.Load()
	if st&stateError != 0 || k.errors.n.Load() > 0 {
		ev |= unix.EPOLLERR
		if k.selectErrors.Load() {
			ev |= unix.EPOLLPRI
		}
	}
	switch st & (stateShutRead | stateShutWrite) {
	case stateShutRead | stateShutWrite:
		ev |= unix.EPOLLHUP | unix.EPOLLRDHUP | EventsIn
	case stateShutRead:
		ev |= unix.EPOLLRDHUP | EventsIn
	}
	if k.queue.n.Load() > 0 || k.sendExtras.times.n.Load() > 0 {
		ev |= EventsIn
	}
	switch {
	case want&EventsOut == 0 && k.writableHere():
	case k.writable():
		ev |= EventsOut
	default:
		k.missing()
	}
	return ev
}

// SetTaken has f called whenever a datagram has been taken from the queue, or the
// pending error: the socket may not be readable any more, of which a Watch is not
// told. The rules for f are those for Watch.Notify; nil takes it away.
func (k *Endpoint) SetTaken(f func()) {
	if f == nil {
		k.onTaken.Store(nil)
		return
	}
	k.onTaken.Store(&f)
}

func (k *Endpoint) taken() {
	if f := k.onTaken.Load(); f != nil {
		(*f)()
	}
}

// WaitElsewhere counts who waits outside of the stack for more than a socket, n
// more or, if it is negative, fewer: see Socket.WaitElsewhere.
func (s *Stack) WaitElsewhere(n int32) { s.elsewhere.Add(n) }

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
		k.s.elsewhere.Add(1)
	} else {
		k.s.elsewhere.Add(-1)
	}
}
