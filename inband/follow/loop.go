package follow

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// A loop is what the Kernel's goroutine needs: a netlink socket that hears the kernel's
// messages, and what is to be done because of them.
//
// The goroutine sleeps in ppoll(2) until there is a message, or until something is due
// that was held back. What a message says is not applied, but for neighbours: devices and
// addresses are asked for anew, so that a message which was lost (ENOBUFS) costs no more
// than another question.
type loop struct {
	fd       int // hears the groups
	signal   int // eventfd(2)
	quit     chan struct{}
	told     *Events // what was told of all that is there
	deletion deletion

	devices, neighbours, routes task
}

// A task is something to be done again and again, but not too often.
type task struct {
	due       bool
	notBefore time.Time
}

// ready reports whether the task is to be done now.
func (t *task) ready(now time.Time) bool { return t.due && !now.Before(t.notBefore) }

const (
	// routesPause is the least time between calls of RoutesMoved.
	routesPause = time.Millisecond
	// dumpPause is the least time between dumps, and dumpShare how many times as long as
	// it took the pause after one is: so that a host of many devices on which something
	// flaps spends at most a fifth of a processor on it.
	dumpPause = time.Millisecond
	dumpShare = 4
	// retryPause is the pause after an error that should not be.
	retryPause = 100 * time.Millisecond
	// readBatch is how many messages are read before what they led to is done.
	readBatch = 64
	// eventRoom is the socket's receive buffer in bytes, as far as the system lets it.
	eventRoom = 1 << 20
)

// groups are what the loop hears. Kernels before 5.3 have no nexthop objects.
var groups = [...]int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
	unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_NEIGH, unix.RTNLGRP_NEXTHOP}

func (l *loop) open() (err error) {
	l.fd, l.signal, l.quit = -1, -1, make(chan struct{})
	if l.signal, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	if l.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err != nil {
		return err
	}
	if unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventRoom) != nil {
		unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventRoom)
	}
	if err := unix.Bind(l.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for _, g := range groups {
		err := unix.SetsockoptInt(l.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
		if err != nil && g != unix.RTNLGRP_NEXTHOP {
			return err
		}
	}
	return nil
}

// end has the goroutine end.
func (l *loop) end() {
	close(l.quit)
	l.wake()
}

func (l *loop) close() {
	for _, fd := range [...]int{l.fd, l.signal} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	l.fd, l.signal = -1, -1
}

// wake has the goroutine look around.
func (l *loop) wake() {
	unix.Write(l.signal, binary.NativeEndian.AppendUint64(nil, 1))
}

// follow is the Kernel's goroutine.
func (k *Kernel) follow() {
	defer close(k.ended)
	l, buf := &k.loop, make([]byte, dumpLen)
	for {
		l.wait()
		select {
		case <-l.quit:
			return
		default:
		}
		if f := k.events.Load(); f != l.told {
			l.told = f
			f.changed(k.Snapshot())
			l.routes.due, l.neighbours.due = true, true
		}
		k.read(buf)
		k.work()
	}
}

// wait sleeps until there is something to do.
func (l *loop) wait() {
	fds := [...]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(l.signal), Events: unix.POLLIN}}
	var timeout *unix.Timespec
	if d, any := l.next(time.Now()); any {
		ts := unix.NsecToTimespec(max(0, d).Nanoseconds())
		timeout = &ts
	}
	if _, err := unix.Ppoll(fds[:], timeout, nil); err != nil {
		return // EINTR
	}
	if fds[1].Revents != 0 {
		var count [8]byte
		unix.Read(l.signal, count[:])
	}
}

// next returns how long it is to the first task that is due; false if none is.
func (l *loop) next(now time.Time) (d time.Duration, any bool) {
	for _, t := range [...]*task{&l.devices, &l.neighbours, &l.routes} {
		if !t.due {
			continue
		}
		if left := t.notBefore.Sub(now); !any || left < d {
			d, any = left, true
		}
	}
	return d, any
}

// read reads what messages there are, but not for ever.
func (k *Kernel) read(buf []byte) {
	l := &k.loop
	for range readBatch {
		n, errno := receive(l.fd, buf)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0 || n > len(buf): // ENOBUFS: messages were lost
			l.devices.due, l.neighbours.due, l.routes.due = true, true, true
			if errno != 0 && errno != unix.ENOBUFS {
				time.Sleep(retryPause)
				return
			}
		default:
			for m, rest, ok := cutMessage(buf[:n]); ok; m, rest, ok = cutMessage(rest) {
				k.hear(m)
			}
		}
	}
}

// hear takes one message of the kernel's.
func (k *Kernel) hear(m message) {
	l := &k.loop
	switch m.kind {
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		n, ok := parseNeighbour(m)
		if !ok {
			return
		}
		if tell, gone := l.deletion.told(m, n, time.Now()); tell {
			k.events.Load().neighbourChanged(n, gone)
		}
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR:
		l.devices.due, l.routes.due = true, true
	default:
		l.routes.due = true
	}
}

// work does what is due and not held back.
func (k *Kernel) work() {
	l, f := &k.loop, k.events.Load()
	now := time.Now()
	if l.devices.ready(now) {
		k.dumpDevices(f)
	}
	if l.neighbours.ready(now) {
		k.dumpNeighbours(f)
	}
	if now := time.Now(); l.routes.ready(now) {
		l.routes = task{notBefore: now.Add(routesPause)}
		f.routesMoved()
	}
}

// dumpDevices asks for devices and addresses, and tells if they have changed.
func (k *Kernel) dumpDevices(f *Events) {
	begin := time.Now()
	k.dumping.Lock()
	k.dumper.settle()
	s, errno := k.dumper.snapshot()
	k.dumping.Unlock()
	k.loop.devices.done(begin, errno)
	// The kernel tells of a link before it takes the link's routes away: see settle.
	k.loop.routes.due = true
	if errno == 0 && !s.equal(k.Snapshot()) {
		k.snapshot.Store(&s)
		f.changed(s)
	}
}

func (k *Kernel) dumpNeighbours(f *Events) {
	begin := time.Now()
	k.dumping.Lock()
	all, errno := k.dumper.neighbours()
	k.dumping.Unlock()
	k.loop.neighbours.done(begin, errno)
	if errno == 0 {
		f.neighbours(all)
	}
}

// done notes a dump that began then.
func (t *task) done(begin time.Time, errno unix.Errno) {
	now := time.Now()
	*t = task{notBefore: now.Add(max(dumpPause, dumpShare*now.Sub(begin)))}
	if errno != 0 {
		*t = task{due: true, notBefore: now.Add(retryPause)}
	}
}

// settle returns when the kernel has done what it told of. It tells that a link is down
// before it takes away the link's routes, about which it says nothing more; both is within
// its RTNL lock, and so is a question for one device.
func (s *socket) settle() {
	w, link := s.begin(unix.RTM_GETLINK, 0, unix.SizeofIfInfomsg)
	native.PutUint32(link[4:], 1) // ifi_index, of lo
	w.uint32(unix.IFLA_EXT_MASK, skipStatistics)
	s.ask(w.end())
}
