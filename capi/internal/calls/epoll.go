package calls

import (
	"time"
	"unsafe"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// epoll returns a handle's epoll, nil if it is none.
func (l *Library) epoll(h int) *sockapi.Epoll {
	if o := l.table.get(h); o != nil {
		return o.epoll
	}
	return nil
}

// noEpoll returns why a handle is no epoll: EBADF, or EINVAL for a socket.
func (l *Library) noEpoll(h int) int {
	if l.table.get(h) != nil {
		return invalid
	}
	return badHandle
}

// EpollCreate is epoll_create1(2).
func (l *Library) EpollCreate() int {
	r := l.now.Load()
	if r == nil {
		return -int(unix.ENETDOWN)
	}
	e, err := r.api.EpollCreate()
	if err != nil {
		return fail(err)
	}
	return l.enter(r, &object{epoll: e})
}

// An EpollEvent is a struct epoll_event, as C has it: packed on amd64.
type EpollEvent = unix.EpollEvent

// data is the caller's own in an event, which package unix cuts in two.
func data(ev *EpollEvent) *[8]byte { return (*[8]byte)(unsafe.Pointer(&ev.Fd)) }

// dataOf is data of an event as sockapi has it.
func dataOf(ev *sockapi.EpollEvent) *[8]byte { return (*[8]byte)(unsafe.Pointer(&ev.Data)) }

// EpollCtl is epoll_ctl(2) of a socket, an epoll or a descriptor of the kernel's.
func (l *Library) EpollCtl(h, op, what int, ev *EpollEvent) int {
	e := l.epoll(h)
	if e == nil {
		return l.noEpoll(h)
	}
	var event sockapi.EpollEvent
	if ev != nil {
		event.Events = ev.Events
		*dataOf(&event) = *data(ev)
	} else if op != unix.EPOLL_CTL_DEL {
		return badMemory
	}
	if what < -1 {
		return fail(e.CtlFd(op, -2-what, event))
	}
	switch o := l.table.get(what); {
	case o == nil:
		return badHandle
	case o.socket != nil:
		return fail(e.Ctl(op, o.socket, event))
	default:
		return fail(e.CtlEpoll(op, o.epoll, event))
	}
}

// events is how many are asked for at once.
const maxEvents = 64

// EpollWait is epoll_wait(2): it sleeps for at most ms milliseconds, negative without end.
// Hot: no allocation.
func (l *Library) EpollWait(h int, events []EpollEvent, ms int) int {
	e := l.epoll(h)
	if e == nil {
		return l.noEpoll(h)
	}
	timeout := time.Duration(ms) * time.Millisecond
	if ms < 0 {
		timeout = -1
	}
	var some [maxEvents]sockapi.EpollEvent
	n, err := e.Wait(some[:min(len(events), maxEvents)], timeout)
	if err != nil {
		return fail(err)
	}
	for i := range some[:n] {
		events[i].Events = some[i].Events
		*data(&events[i]) = *dataOf(&some[i])
	}
	return n
}

// EpollSpin sets for how many nanoseconds EpollWait looks before it sleeps.
func (l *Library) EpollSpin(h int, budget int64) int {
	e := l.epoll(h)
	if e == nil {
		return l.noEpoll(h)
	}
	d, err := spin(budget)
	if err != nil {
		return fail(err)
	}
	e.SetSpin(d)
	return 0
}
