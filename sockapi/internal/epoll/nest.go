package epoll

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxNests is how many steps there may be from an Epoll to one inside it
// (EP_MAX_NESTS in Linux' fs/eventpoll.c).
const maxNests = 4

// CtlEpoll adds, changes or removes another: see sockapi's Epoll.CtlEpoll.
func (e *Set) CtlEpoll(op int, inner *Set, ev Event) error {
	if e.closed() || inner.closed() {
		return unix.EBADF
	}
	if inner == e {
		return unix.EINVAL
	}
	if inner.group.st != e.group.st {
		return unix.EXDEV
	}
	if ev.Events&unix.EPOLLEXCLUSIVE != 0 && op != unix.EPOLL_CTL_DEL {
		return unix.EINVAL
	}
	e.group.nestMu.Lock()
	defer e.group.nestMu.Unlock()
	if op == unix.EPOLL_CTL_ADD && (inner.contains(e) || inner.depth()+1+e.height() > maxNests) {
		return unix.ELOOP
	}
	defer e.settle()
	e.ctl.Lock()
	defer e.ctl.Unlock()
	if e.calls.closed() || inner.calls.closed() {
		return unix.EBADF
	}
	it := e.inner[inner]
	if err := mayCtl(op, it); err != nil {
		return err
	}
	switch op {
	case unix.EPOLL_CTL_ADD:
		return e.nestLocked(inner, ev)
	case unix.EPOLL_CTL_MOD:
		return e.modifyLocked(it, ev)
	default:
		e.unnestLocked(it)
		return nil
	}
}

// nestLocked adds an Epoll. nestMu and ctl are held.
func (e *Set) nestLocked(inner *Set, ev Event) error {
	it := &epollItem{e: e, inner: inner, data: ev.Data}
	it.events.Store(asked(ev.Events))
	if err := e.nestKernel(it, inner.kernel.descriptors()); err != nil {
		e.unnestLocked(it)
		return err
	}
	if e.inner == nil {
		e.inner = make(map[*Set]*epollItem)
	}
	e.inner[inner] = it
	inner.parents.add(it)
	it.checkLocked()
	return nil
}

// unnestLocked forgets an inner Epoll's item. nestMu and ctl are held.
func (e *Set) unnestLocked(it *epollItem) {
	it.inner.parents.remove(it)
	for _, fd := range it.inner.kernel.descriptors() {
		e.kernel.unnest(fd)
	}
	e.kernel.forget(it)
	e.removeLocked(it)
}

// contains reports whether other is somewhere inside e. nestMu is held, and so
// no Epoll is added to another, or taken out, meanwhile.
func (e *Set) contains(other *Set) bool {
	for inner := range e.inner {
		if inner == other || inner.contains(other) {
			return true
		}
	}
	return false
}

// depth returns the number of steps to the innermost Epoll, height to the
// outermost. nestMu is held.
func (e *Set) depth() int {
	n := 0
	for inner := range e.inner {
		n = max(n, inner.depth()+1)
	}
	return n
}

func (e *Set) height() int {
	n := 0
	for _, it := range e.parents.items {
		n = max(n, it.e.height()+1)
	}
	return n
}

// readable reports whether Wait would return something. Items that are not
// ready leave the ready list, as they do in Wait.
func (e *Set) readable() bool {
	e.ctl.Lock()
	defer e.ctl.Unlock()
	if e.calls.closed() {
		return false
	}
	if e.kernel.used() {
		e.drainNestLocked()
		if e.kernel.readable() {
			return true
		}
	}
	return e.readyLocked()
}

// readyLocked reports whether something on the ready list is ready.
func (e *Set) readyLocked() bool {
	for {
		it := e.ready.first()
		if it == nil {
			return false
		}
		// Out before it is asked, so that what happens meanwhile puts it back.
		e.ready.remove(it)
		if it.poll() != 0 {
			e.ready.addFirst(it)
			return true
		}
	}
}

func (l *readyList) first() *epollItem {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// addFirst puts back an item that was taken from the head.
func (l *readyList) addFirst(it *epollItem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if it.listed.Load() {
		return
	}
	it.listed.Store(true)
	if it.next = l.head; it.next != nil {
		it.next.prev = it
	} else {
		l.tail = it
	}
	l.head = it
	l.n.Add(1)
}

// parents are the items of the Epolls that an Epoll is in.
type parents struct {
	n     atomic.Int32 // len(items)
	mu    sync.Mutex
	items []*epollItem // changed with nestMu held too
}

// tell notifies all of them: as in Linux of EPOLLIN, whatever has happened.
func (p *parents) tell() {
	if p.n.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, it := range p.items {
		it.notify(unix.EPOLLIN)
	}
}

func (p *parents) add(it *epollItem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items = append(p.items, it)
	p.n.Add(1)
}

func (p *parents) remove(it *epollItem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.items {
		if other == it {
			p.items = append(p.items[:i], p.items[i+1:]...)
			p.n.Add(-1)
			return
		}
	}
}

// leave takes the Epoll that they are of, which is closed, out of all Epolls that it is in. nestMu is
// held.
func (p *parents) leave() {
	p.mu.Lock()
	items := append([]*epollItem(nil), p.items...)
	p.mu.Unlock()
	for _, it := range items {
		it.e.ctl.Lock()
		it.e.unnestLocked(it)
		it.e.ctl.Unlock()
	}
}
