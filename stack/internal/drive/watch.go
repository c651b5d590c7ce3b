package drive

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Events as poll(2) and epoll(7) name them, in the groups in which Linux' sockets raise
// them, and those that only the stack itself knows.
const (
	In  = unix.EPOLLIN | unix.EPOLLRDNORM
	Out = unix.EPOLLOUT | unix.EPOLLWRNORM | unix.EPOLLWRBAND
	// All is raised by a change that concerns whoever watches for anything.
	All = ^uint32(0)

	// More says that something is left of what was told of as In. Only calls that wait
	// are told.
	More = uint32(1) << 24
	// Room says that there may be room in a device. Only calls that wait are told.
	Room = uint32(1) << 25
	// Stamp says that something was sent whose times are wanted. Only calls that wait are
	// told.
	Stamp = uint32(1) << 26
	// drained is raised by Drained, for those watches that want to know.
	drained = uint32(1) << 27
	// watching is what all that have a Notify are interested in, and no call that waits.
	watching = uint32(1) << 23

	// inner are the events that watches with a Notify do not hear of.
	inner = More | Room | Stamp | drained
)

// A Watch is somebody who wants to be told when events may have begun to hold: to know
// of it, or to be woken. Its fields are set before List.Add, and not changed while it is
// in force but by List.Change.
type Watch struct {
	// Notify is called when some of the events may have begun to hold: it looks
	// for itself which do. It reports whether it has made somebody
	// run. It is called on any goroutine, must return at once, and may neither
	// send nor receive nor watch or unwatch: the list of watches is locked.
	Notify func(events uint32) bool
	// Drained is called, with no lock held, when something has been taken that made
	// events hold: they may not any more. It may be called once more after the end of
	// the watch. It may be nil.
	Drained func()
	// Closed is called, with no lock held, when what is watched has ended. It is not
	// watched any more then. It may be nil.
	Closed func()
	// Exclusive watches are told in turn until one of them has made somebody
	// run (EPOLLEXCLUSIVE in epoll_ctl(2)).
	Exclusive bool

	events     uint32   // of a sleeper: what it is woken for
	sleeper    *sleeper // not nil: to be woken, and to leave the list by that
	next, prev *Watch
	on         *List // nil: not in force; guarded by the list's mutex
}

// interest returns the events that w is told of.
func (w *Watch) interest() uint32 {
	switch {
	case w.sleeper != nil:
		return w.events
	case w.Drained != nil:
		return All&^inner | drained
	default:
		return All &^ inner
	}
}

// A List is those who are to be told of something. As in Linux' wait queues the exclusive
// ones come last, in their order, and the others before, the latest first.
type List struct {
	wanted atomic.Uint32 // what anybody is interested in; changed with mu held

	mu         sync.Mutex // a leaf but for what Notify takes
	head, tail *Watch
}

// Wanted reports whether anybody is interested in some of the events. Hot.
func (l *List) Wanted(events uint32) bool { return l.wanted.Load()&events != 0 }

// Watched reports whether anybody watches, beside calls that sleep. Hot.
func (l *List) Watched() bool { return l.Wanted(watching) }

// Add has w told from now on. It does nothing if w is in force there.
func (l *List) Add(w *Watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.on == l {
		return
	}
	w.on = l
	if w.Exclusive {
		if w.prev = l.tail; w.prev != nil {
			w.prev.next = w
		} else {
			l.head = w
		}
		l.tail = w
	} else {
		if w.next = l.head; w.next != nil {
			w.next.prev = w
		} else {
			l.tail = w
		}
		l.head = w
	}
	l.wanted.Store(l.wanted.Load() | w.interest())
}

// Remove takes w out. Notify is not running, and will not be called, when it
// returns. It does nothing if w is not in force.
func (l *List) Remove(w *Watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removeLocked(w)
}

func (l *List) removeLocked(w *Watch) {
	if w.on != l {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.tail = w.prev
	}
	w.next, w.prev, w.on = nil, nil, nil
	l.recountLocked()
}

// recountLocked finds out what the list is interested in.
func (l *List) recountLocked() {
	var events uint32
	for w := l.head; w != nil && events != All; w = w.next {
		events |= w.interest()
	}
	l.wanted.Store(events)
}

// Change changes w, in force or not, with nobody being told meanwhile.
func (l *List) Change(w *Watch, change func(w *Watch)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(w)
	l.recountLocked()
}

// Tell tells those who are interested that events may have begun to hold. One exclusive
// watch that makes somebody run is enough, but for All, which all are told of. Calls
// that sleep are woken one for each datagram, and all for an error.
func (l *List) Tell(events uint32) {
	if l.Wanted(events) {
		l.tell(events)
	}
}

// tell is Tell; it reports whether anybody was made to run.
func (l *List) tell(events uint32) (run bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oneCall := events&(unix.EPOLLERR|unix.EPOLLHUP) == 0
	enough := false
	for w, next := l.head, (*Watch)(nil); w != nil; w = next {
		next = w.next
		if w.interest()&events == 0 {
			continue
		}
		switch {
		case w.sleeper != nil:
			if enough && oneCall && w.Exclusive {
				continue
			}
			l.removeLocked(w)
			w.sleeper.wake()
			run, enough = true, enough || w.Exclusive
		case enough && w.Exclusive && events != All:
		case w.Notify(events):
			run, enough = true, enough || w.Exclusive
		}
	}
	return run
}

// Drained tells those who want to know that something has been taken. No lock may be
// held.
func (l *List) Drained() {
	if !l.Wanted(drained) {
		return
	}
	var few [4]func()
	all := few[:0]
	l.mu.Lock()
	for w := l.head; w != nil; w = w.next {
		if w.Drained != nil {
			all = append(all, w.Drained)
		}
	}
	l.mu.Unlock()
	for _, f := range all {
		f()
	}
}

// End takes out all who watch what has ended, and tells them so.
func (l *List) End() {
	var ended []*Watch
	l.mu.Lock()
	for w, next := l.head, (*Watch)(nil); w != nil; w = next {
		if next = w.next; w.sleeper == nil {
			l.removeLocked(w)
			ended = append(ended, w)
		}
	}
	l.mu.Unlock()
	for _, w := range ended {
		if w.Closed != nil {
			w.Closed()
		}
	}
}

// Sleeping returns how many calls sleep that some of the events would wake.
func (l *List) Sleeping(events uint32) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := l.head; w != nil; w = w.next {
		if w.sleeper != nil && w.events&events != 0 {
			n++
		}
	}
	return n
}
