package calls

import (
	"sync"
	"time"

	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// OobRecvmsg is EVL's oob_recvmsg, until a date of CLOCK_MONOTONIC; nil: without end. Hot: no allocation.
func (l *Library) OobRecvmsg(h int, m *unix.Msghdr, date *unix.Timespec, flags int) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	size := uint32(unix.SizeofSockaddrInet4)
	if s.Is().Domain == unix.AF_PACKET {
		size = unix.SizeofSockaddrLinklayer
	}
	if m.Name == nil && m.Namelen > 0 || m.Name != nil && (m.Namelen < size || int32(m.Namelen) < 0) {
		return invalid
	}
	c := getScratch()
	n := c.one(m)
	if n == 0 {
		var err error
		if n, err = s.OobRecvmsg(&c.msg, date, flags); err != nil {
			n = fail(err)
		} else {
			tell(m, &c.msg)
		}
	}
	c.free()
	return n
}

// OobSendmsg is EVL's oob_sendmsg. Hot: no allocation.
func (l *Library) OobSendmsg(h int, m *unix.Msghdr, date *unix.Timespec, flags int) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	if int32(m.Namelen) < 0 && m.Name != nil {
		return invalid
	}
	c := getScratch()
	e := c.one(m)
	if e == 0 {
		c.msg.Name, e = destination(s, name(m))
	}
	if e == 0 {
		var err error
		if e, err = s.OobSendmsg(&c.msg, date, flags); err != nil {
			e = fail(err)
		}
	}
	c.free()
	return e
}

// Solicit is EVL's evl_net_solicit.
func (l *Library) Solicit(h int, peer []byte, flags int) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	a, e := sockaddr(peer)
	if e != 0 {
		return e
	}
	return fail(s.Solicit(a, flags))
}

// values are what goes with the descriptors of a poll set.
type values struct {
	mu sync.Mutex // a leaf
	of map[int32]uint64
}

func (v *values) set(fd int32, value uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = make(map[int32]uint64)
	}
	v.of[fd] = value
}

func (v *values) forget(fd int32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.of, fd)
}

func (v *values) get(fd int32) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.of[fd]
}

// PollCtl is EpollCtl of what the caller has under a number of its own, fd, and a value to go
// with it.
func (l *Library) PollCtl(h, op, what int, fd int32, events uint32, value uint64) int {
	if l.epoll(h) == nil {
		return l.noEpoll(h)
	}
	o := l.table.get(h)
	if o == nil {
		return badHandle
	}
	var ev EpollEvent
	ev.Events = events
	*data(&ev) = [8]byte{byte(fd), byte(fd >> 8), byte(fd >> 16), byte(fd >> 24)}
	e := l.EpollCtl(h, op, what, &ev)
	switch {
	case e != 0:
	case op == unix.EPOLL_CTL_DEL:
		o.values.forget(fd)
	default:
		o.values.set(fd, value)
	}
	return e
}

// A PollEvent is a struct ob_poll_event.
type PollEvent struct {
	FD, Events uint32
	Value      uint64
}

// PollWait waits until a date for what PollCtl has added: ETIMEDOUT after that. nil: without
// end.
func (l *Library) PollWait(h int, to []PollEvent, date *unix.Timespec) int {
	r, o := l.now.Load(), l.table.get(h)
	if r == nil || o == nil || o.epoll == nil {
		return l.noEpoll(h)
	}
	timeout := time.Duration(-1)
	if date != nil {
		if date.Sec < 0 || date.Nsec < 0 || date.Nsec >= int64(time.Second) {
			return invalid
		}
		if date.Sec < int64((1<<63-1)/time.Second) {
			timeout = max(time.Duration(date.Nano()-r.api.Stack().Monotonic()), 0)
		}
	}
	var some [maxEvents]sockapi.EpollEvent
	n, err := o.epoll.Wait(some[:min(len(to), maxEvents)], timeout)
	if err != nil {
		return fail(err)
	}
	if n == 0 {
		return -int(unix.ETIMEDOUT)
	}
	for i := range some[:n] {
		b := *dataOf(&some[i])
		fd := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		to[i] = PollEvent{FD: fd, Events: some[i].Events, Value: o.values.get(int32(fd))}
	}
	return n
}

// Device returns the index of a device that the stack has: ENODEV if it has none of that name.
func (l *Library) Device(name string) int {
	r := l.now.Load()
	if r == nil {
		return -int(unix.ENETDOWN)
	}
	for _, i := range r.api.Stack().Interfaces() {
		if i.Name() == name {
			return i.Index()
		}
	}
	return -int(unix.ENODEV)
}

// DeviceStats returns the counters of a device; false if there is none.
func (l *Library) DeviceStats(index int) (link.Stats, bool) {
	r := l.now.Load()
	if r == nil {
		return link.Stats{}, false
	}
	i := r.api.Stack().InterfaceByIndex(index)
	if i == nil {
		return link.Stats{}, false
	}
	return i.Link().Stats(), true
}
