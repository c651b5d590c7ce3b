// Package epoll is what sockapi's Epolls are (epoll(7)): sets of sockets, of the
// kernel's descriptors and of one another.
package epoll

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// An Event is what a Set is asked for, and what it reports: sockapi's EpollEvent.
type Event struct {
	Events uint32
	Data   uint64
}

// A source is a socket of the stack's that can be watched.
type source interface {
	// Of reports whether it is a socket of a stack.
	Of(st *stack.Stack) bool
	Closed() bool
	// EventsOf returns which of want hold now. Watch has w told of those to come.
	EventsOf(want uint32) uint32
	Watch(w *stack.Watch) error
	Unwatch(w *stack.Watch)
	ChangeWatch(w *stack.Watch, change func(w *stack.Watch))
}

// An Group is the Epolls of one API, which may be inside one another.
type Group struct {
	st *stack.Stack
	// nestMu is held while Epolls change how they are inside one another.
	nestMu sync.Mutex
	open   openEpolls
}

// NewGroup returns a group, which the stack's Close closes.
func NewGroup(st *stack.Stack) *Group {
	g := &Group{st: st}
	if st != nil {
		st.OnClose(g.open.closeAll)
	}
	return g
}

// An Set is what an Epoll of sockapi's comes down to (epoll(7)).
//
// # How it works
//
// As in Linux. Each watched thing has an item. An event puts its item on the
// ready list, unless it is there, and wakes one waiting goroutine. Wait takes items from
// the list and asks each what holds now: nothing, and the item leaves the list;
// something, and it is reported, and is put at the list's end again if it is
// level-triggered. So an edge is whatever calls notify.
//
// Kernel descriptors are in an epoll of the kernel's, which is opened for the
// first of them. A goroutine that waits sleeps on it too.
//
// # Locks
//
// In this order: the group's nestMu, ctl of an outer Epoll, ctl of an inner one, a
// socket's list of watches or an inner Epoll's parents, and then the ready list's,
// the descriptor's and the list of polls.
type Set struct {
	group  *Group
	waiter *stack.Waiter
	ready  readyList
	calls  callCount

	// ctl guards what is watched, and makes collectors take turns.
	ctl     sync.Mutex
	sockets map[source]*epollItem
	inner   map[*Set]*epollItem
	kernel  kernelEpoll

	parents parents
	fd      epollFD
	polls   pollers
}

// An epollItem is one watched socket or Epoll.
type epollItem struct {
	e      *Set
	socket source // or
	inner  *Set
	watch  stack.Watch
	// events are what is asked for, with epollPrivate; changed with ctl held.
	events atomic.Uint32
	data   uint64 // guarded by ctl
	gone   bool   // it is watched no more; guarded by ctl
	id     uint64 // among the nested: see kernelEpoll

	listed     atomic.Bool // on the ready list, whose lock guards:
	next, prev *epollItem
}

// epollPrivate are the bits of events that are no events (EP_PRIVATE_BITS).
const epollPrivate = unix.EPOLLET | unix.EPOLLONESHOT | unix.EPOLLEXCLUSIVE | unix.EPOLLWAKEUP

// epollExclusiveOK is what may be asked for with EPOLLEXCLUSIVE.
const epollExclusiveOK = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP |
	unix.EPOLLWAKEUP | unix.EPOLLET | unix.EPOLLEXCLUSIVE

// New opens an Set: see sockapi's EpollCreate.
func (g *Group) New() (*Set, error) {
	e := &Set{group: g, sockets: make(map[source]*epollItem)}
	e.kernel.init()
	if g.st.Closed() {
		return nil, unix.ENETDOWN
	}
	e.waiter = g.st.NewWaiter(func() bool { return e.ready.n.Load() > 0 || e.calls.closed() })
	return e, nil
}

// Ctl adds, changes or removes a socket of the stack's: see sockapi's Epoll.Ctl.
func (e *Set) Ctl(op int, s source, ev Event) error {
	if s.Closed() || e.closed() {
		return unix.EBADF
	}
	if !s.Of(e.group.st) {
		return unix.EXDEV
	}
	if !exclusiveAllowed(op, ev.Events) {
		return unix.EINVAL
	}
	defer e.settle()
	e.ctl.Lock()
	defer e.ctl.Unlock()
	if e.calls.closed() {
		return unix.EBADF
	}
	it := e.sockets[s]
	if err := mayCtl(op, it); err != nil {
		return err
	}
	switch op {
	case unix.EPOLL_CTL_ADD:
		return e.addSocketLocked(s, ev)
	case unix.EPOLL_CTL_MOD:
		return e.modifyLocked(it, ev)
	default:
		s.Unwatch(&it.watch)
		e.removeLocked(it)
		return nil
	}
}

// exclusiveAllowed reports whether EPOLLEXCLUSIVE, if it is asked for, may be.
func exclusiveAllowed(op int, events uint32) bool {
	return events&unix.EPOLLEXCLUSIVE == 0 ||
		op == unix.EPOLL_CTL_DEL || op == unix.EPOLL_CTL_ADD && events&^epollExclusiveOK == 0
}

// mayCtl returns what is wrong with op for it, the item if there is one.
func mayCtl(op int, it *epollItem) error {
	switch op {
	case unix.EPOLL_CTL_ADD:
		if it != nil {
			return unix.EEXIST
		}
	case unix.EPOLL_CTL_MOD, unix.EPOLL_CTL_DEL:
		if it == nil {
			return unix.ENOENT
		}
	default:
		return unix.EINVAL
	}
	return nil
}

// asked returns what an item asks for: errors and hang-ups always.
func asked(events uint32) uint32 { return events&^unix.EPOLLWAKEUP | unix.EPOLLERR | unix.EPOLLHUP }

func (e *Set) addSocketLocked(s source, ev Event) error {
	it := &epollItem{e: e, socket: s, data: ev.Data}
	it.events.Store(asked(ev.Events))
	it.watch.Exclusive = ev.Events&unix.EPOLLEXCLUSIVE != 0
	it.watch.Notify = it.notify
	it.watch.Closed = it.closed
	e.sockets[s] = it
	if e.fd.on.Load() {
		it.watch.Drained = e.settle
	}
	if err := s.Watch(&it.watch); err != nil {
		e.removeLocked(it)
		return err
	}
	it.checkLocked()
	return nil
}

func (e *Set) modifyLocked(it *epollItem, ev Event) error {
	if it.events.Load()&unix.EPOLLEXCLUSIVE != 0 {
		return unix.EINVAL
	}
	it.events.Store(asked(ev.Events))
	it.data = ev.Data
	it.checkLocked()
	return nil
}

// removeLocked forgets an item that is not notified any more.
func (e *Set) removeLocked(it *epollItem) {
	e.ready.remove(it)
	it.gone = true
	if it.inner != nil {
		if e.inner[it.inner] == it {
			delete(e.inner, it.inner)
		}
	} else if e.sockets[it.socket] == it {
		delete(e.sockets, it.socket)
	}
}

// closed is called when the item's socket or Epoll is.
func (it *epollItem) closed() {
	it.e.ctl.Lock()
	it.e.removeLocked(it)
	it.e.ctl.Unlock()
	it.e.settle()
}

// checkLocked puts the item on the ready list if something that it asks for
// holds. As in Linux that is no news if it is there.
func (it *epollItem) checkLocked() {
	if it.poll() != 0 && !it.listed.Load() {
		it.e.list(it)
	}
}

// poll returns what the item asks for and holds now.
func (it *epollItem) poll() uint32 {
	want := it.events.Load() &^ epollPrivate
	switch {
	case want == 0 || it.gone: // EPOLLONESHOT: it was reported
		return 0
	case it.inner != nil:
		if !it.inner.readable() {
			return 0
		}
		return want & stack.EventsIn
	default:
		return want & it.socket.EventsOf(want)
	}
}

// notify is told of events of the item's socket or Epoll. It reports whether
// that made a waiting goroutine run.
func (it *epollItem) notify(events uint32) bool {
	want := it.events.Load()
	if want&^epollPrivate == 0 || want&events == 0 {
		return false
	}
	return it.e.list(it)
}

// list puts an item on the ready list, and wakes one waiting goroutine. It
// reports whether there is one.
func (e *Set) list(it *epollItem) bool {
	e.ready.add(it)
	if e.fd.on.Load() {
		e.fd.mark()
	}
	woken := e.waiter.Wake()
	e.parents.tell()
	e.polls.tell()
	return woken || e.calls.any()
}

// closed reports whether the Epoll, or its stack, is closed.
func (e *Set) closed() bool { return e.calls.closed() || e.group.st.Closed() }

// Close ends it: see sockapi's Epoll.Close.
func (e *Set) Close() error {
	if !e.calls.close() {
		return unix.EBADF
	}
	e.waiter.WakeAll()
	e.group.open.remove(e)
	e.group.nestMu.Lock()
	e.parents.leave()
	e.ctl.Lock()
	e.closeFDLocked()
	for s, it := range e.sockets {
		s.Unwatch(&it.watch)
		e.ready.remove(it)
	}
	for _, it := range e.inner {
		e.unnestLocked(it)
	}
	clear(e.sockets)
	e.ctl.Unlock()
	e.group.nestMu.Unlock()
	e.polls.tell()
	if e.calls.leave() {
		e.free()
	}
	return nil
}

// openEpolls are the Epolls of an API that have descriptors of the kernel's, for
// the stack's Close to give those back.
type openEpolls struct {
	mu   sync.Mutex // a leaf
	all  map[*Set]struct{}
	over bool // no more: the stack is closed
}

// add has an Epoll closed with the stack, or returns false if that is closed.
func (o *openEpolls) add(e *Set) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return false
	}
	if o.all == nil {
		o.all = make(map[*Set]struct{})
	}
	o.all[e] = struct{}{}
	return true
}

func (o *openEpolls) remove(e *Set) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, e)
}

// closeAll closes them.
func (o *openEpolls) closeAll() {
	o.mu.Lock()
	o.over = true
	all := slices.Collect(maps.Keys(o.all))
	o.mu.Unlock()
	for _, e := range all {
		_ = e.Close() // or another goroutine has
	}
}

// free gives the descriptors back, when the last call has left.
func (e *Set) free() {
	e.ctl.Lock()
	e.kernel.close()
	e.ctl.Unlock()
	e.waiter.Close()
}

// callCount counts the calls that are in an Epoll, which is freed by the last
// that leaves it once it is closed. The Epoll itself counts for one.
type callCount struct{ n atomic.Int64 }

const epollClosed = 1 << 62

// enter begins a call: false, if the Epoll is closed.
func (c *callCount) enter() bool {
	for {
		n := c.n.Load()
		if n >= epollClosed {
			return false
		}
		if c.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave ends a call: true, if it was the last of a closed Epoll.
func (c *callCount) leave() bool { return c.n.Add(-1) == epollClosed }

// close marks the Epoll closed, and enters for its caller.
func (c *callCount) close() bool {
	for {
		n := c.n.Load()
		if n >= epollClosed {
			return false
		}
		if c.n.CompareAndSwap(n, n+epollClosed+1) {
			return true
		}
	}
}

func (c *callCount) closed() bool { return c.n.Load() >= epollClosed }

// any reports whether a call of Wait is under way.
func (c *callCount) any() bool { return c.n.Load()&(epollClosed-1) > 0 }
