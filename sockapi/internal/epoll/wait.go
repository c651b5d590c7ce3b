package epoll

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Wait waits for events: see sockapi's Epoll.Wait. Hot: no allocation.
func (e *Set) Wait(events []Event, timeout time.Duration) (int, error) {
	if !e.calls.enter() {
		return 0, unix.EBADF
	}
	n, err := 0, error(unix.EINVAL)
	switch {
	case e.closed():
		err = unix.EBADF
	case len(events) > 0:
		n, err = e.wait(events, timeout)
	}
	if e.calls.leave() {
		e.free()
	}
	return n, err
}

func (e *Set) wait(events []Event, timeout time.Duration) (int, error) {
	n := e.collect(events)
	if n > 0 {
		return n, nil
	}
	if timeout == 0 {
		e.waiter.Poll()
		return e.collect(events), nil
	}
	deadline := e.group.st.Deadline(timeout)
	for n == 0 {
		intime := e.waiter.Wait(deadline)
		if e.closed() {
			return 0, unix.EBADF
		}
		n = e.collect(events)
		if !intime {
			break
		}
	}
	return n, nil
}

// SetSpin sets how long Wait looks for events before it sleeps: a duration, or
// one of stack.SpinAdaptive (the default), stack.SpinNever and stack.SpinAlways.
func (e *Set) SetSpin(d time.Duration) { e.waiter.SetSpin(d) }

// collect stores the events that hold now.
func (e *Set) collect(events []Event) int {
	e.ctl.Lock()
	n := 0
	if k := &e.kernel; !k.used() {
		n = e.collectReadyLocked(events)
	} else {
		// Neither kind may keep the other from being seen.
		e.drainNestLocked()
		if k.first = !k.first; k.first {
			n = k.collect(events)
			n += e.collectReadyLocked(events[n:])
		} else {
			n = e.collectReadyLocked(events)
			n += k.collect(events[n:])
		}
	}
	e.ctl.Unlock()
	if e.ready.n.Load() > 0 {
		e.waiter.Wake() // what is left is for another
	}
	if e.fd.on.Load() {
		e.settle()
	}
	return n
}

// collectReadyLocked stores the events of the items that are on the ready list
// now, each once.
func (e *Set) collectReadyLocked(events []Event) int {
	n := 0
	for left := e.ready.n.Load(); left > 0 && n < len(events); left-- {
		it := e.ready.pop()
		if it == nil {
			break
		}
		got := it.poll()
		if got == 0 {
			continue
		}
		events[n] = Event{Events: got, Data: it.data}
		n++
		switch flags := it.events.Load(); {
		case flags&unix.EPOLLONESHOT != 0:
			it.events.Store(flags & epollPrivate)
		case flags&unix.EPOLLET == 0:
			e.ready.add(it)
		}
	}
	return n
}

// readyList holds the items that may be ready, in the order in which they
// became so.
type readyList struct {
	n          atomic.Int32
	mu         sync.Mutex
	head, tail *epollItem
}

// add appends an item that is not on the list. The look without the lock is
// enough: pop clears listed before the item is asked, so that a goroutine that has changed
// something, and then finds it set, knows that it will be.
func (l *readyList) add(it *epollItem) {
	if it.listed.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if it.listed.Load() {
		return
	}
	it.listed.Store(true)
	if it.prev = l.tail; it.prev != nil {
		it.prev.next = it
	} else {
		l.head = it
	}
	l.tail = it
	l.n.Add(1)
}

// pop takes the oldest item out.
func (l *readyList) pop() *epollItem {
	l.mu.Lock()
	defer l.mu.Unlock()
	it := l.head
	if it != nil {
		l.removeLocked(it)
	}
	return it
}

// remove takes an item out if it is on the list.
func (l *readyList) remove(it *epollItem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if it.listed.Load() {
		l.removeLocked(it)
	}
}

func (l *readyList) removeLocked(it *epollItem) {
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		l.head = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	} else {
		l.tail = it.prev
	}
	it.next, it.prev = nil, nil
	it.listed.Store(false)
	l.n.Add(-1)
}
