package host

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

const (
	// DefaultMTU is the MTU of Linux' loopback device in bytes.
	DefaultMTU = 65536
	// LookInterval is how often the holders are looked at while there is no reason to.
	LookInterval = 20 * time.Microsecond
)

// A Source has what came to in-band sockets: [holder.Holders].
type Source interface {
	// FD returns a descriptor that poll(2) reports readable while there is something to
	// receive.
	FD() int
	// Receive takes datagrams without waiting, and returns how many.
	Receive(ds []holder.Datagram) int
}

// Options say what a link is made of. The zero value sends only.
type Options struct {
	// Ring is a link over lo, nil for none. It is the Link's from then on, which closes it.
	Ring link.Link
	// Source is the holders, nil for none. They stay the caller's, and must be open for as
	// long as the Link is.
	Source Source
}

// A Link is a link to the host that it runs on. Its methods are as [link.Link] says.
//
// Locking: Receive and Release belong to one goroutine at a time and take no lock. Send and
// SendBatch pass a gate, which Close shuts. mu guards what the epoll has.
type Link struct {
	ring   link.Link
	closed atomic.Bool
	due    atomic.Bool // the next Receive looks: the holders may have woken who slept, or have what was sent
	// prompted: a call has begun since the clock was looked at.
	prompted atomic.Bool
	rx       receiver
	_        [64]byte // what receiving writes is not on a cache line that sending reads
	tx       sender
	groups   memory.Groups
	modes    memory.Modes
	notify   atomic.Pointer[notify]

	mu     sync.Mutex
	epoll  int
	ringFD int // that is in the epoll; -1: none
}

var (
	_ link.Link       = (*Link)(nil)
	_ link.LossTeller = (*Link)(nil)
	_ link.Prompter   = (*Link)(nil)
	_ Source          = (*holder.Holders)(nil)
)

type notify struct{ readable, changed func() }

// Open makes a link to the calling thread's network namespace. The error wraps EPERM
// without CAP_NET_RAW there, EMFILE, ...; the ring is closed then too.
func Open(o Options) (*Link, error) {
	l := &Link{ring: o.Ring, epoll: -1, ringFD: -1}
	l.rx.init(o.Source)
	l.tx.fd, l.tx.quiet, l.tx.prio.fd = -1, -1, -1
	if err := l.open(); err != nil {
		l.shut()
		return nil, fmt.Errorf("host: %w", err)
	}
	return l, nil
}

func (l *Link) open() (err error) {
	if err := l.tx.open(); err != nil {
		return err
	}
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	l.rx.epoll = l.epoll
	if s := l.rx.source; s != nil {
		if err := l.watch(s.FD(), eventSource); err != nil {
			return fmt.Errorf("epoll of the holders: %w", err)
		}
	}
	if l.ring != nil {
		l.SetNotify(nil, nil)
		l.follow()
	}
	return nil
}

// watch puts a descriptor into the epoll.
func (l *Link) watch(fd int, token int32) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: token})
}

// follow has the epoll watch the descriptor that the ring has now. One that is of no use
// now would keep the epoll readable.
func (l *Link) follow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return
	}
	fd := l.ring.FD()
	if fd == l.ringFD {
		return
	}
	if l.ringFD >= 0 {
		unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, l.ringFD, nil)
	}
	if l.ringFD = fd; fd >= 0 && l.watch(fd, eventRing) != nil {
		l.ringFD = -1 // tried again when it changes
	}
}

// Info returns the link's properties: those of the ring's device, or lo's usual ones
// without a ring.
func (l *Link) Info() link.Info {
	info := link.Info{Name: "lo", Index: 1, MTU: DefaultMTU, State: link.Up}
	if l.ring != nil {
		info = l.ring.Info()
	}
	info.Caps = link.CapLoopback | link.CapChecksum | link.CapMark | link.CapTimestamps
	if l.closed.Load() {
		info.State = link.Gone
	}
	return info
}

// Stats returns the link's counters. RxFrames and RxBytes count what Receive handed out,
// from the ring and the holders; what a holder had no room for is not among RxDropped.
func (l *Link) Stats() (s link.Stats) {
	if l.ring != nil {
		r := l.ring.Stats()
		s = link.Stats{RxFrames: r.RxFrames, RxBytes: r.RxBytes, RxDropped: r.RxDropped,
			RxTruncated: r.RxTruncated, Reopened: r.Reopened}
	}
	s.RxFrames += l.rx.frames.Load()
	s.RxBytes += l.rx.bytes.Load()
	s.TxFrames, s.TxBytes = l.tx.frames.Load(), l.tx.bytes.Load()
	s.TxErrors, s.TxDropped = l.tx.errors.Load(), l.tx.dropped.Load()
	return s
}

// InBand implements [link.InBander].
func (l *Link) InBand() bool { return l.ring == nil }

// Lost implements [link.LossTeller], as far as the ring knows.
func (l *Link) Lost() uint64 {
	if l.ring == nil {
		return 0
	}
	if t := link.LossTellerOf(l.ring); t != nil {
		return t.Lost()
	}
	return l.ring.Stats().RxDropped
}

// SetNotify registers changed, which is called when Info would give another answer, and
// when Close begins. readable is called only if the ring has no descriptor.
func (l *Link) SetNotify(readable, changed func()) {
	l.notify.Store(&notify{readable, changed})
	if l.ring != nil {
		l.ring.SetNotify(l.ringReadable, l.ringChanged)
	}
}

func (l *Link) ringReadable() {
	if f := l.notify.Load().readable; f != nil {
		f()
	}
}

func (l *Link) ringChanged() {
	l.follow()
	l.tell()
}

func (l *Link) tell() {
	if n := l.notify.Load(); n != nil && n.changed != nil {
		n.changed()
	}
}

// FD returns the epoll's descriptor, -1 after Close. Who asks for it is about to sleep: the
// next Receive looks at the holders in any case.
func (l *Link) FD() int {
	if l.closed.Load() {
		return -1
	}
	if !l.due.Load() {
		l.due.Store(true)
	}
	return l.epoll
}

// Prompt implements [link.Prompter]: the next Receive looks at the clock.
func (l *Link) Prompt() {
	if !l.prompted.Load() {
		l.prompted.Store(true)
	}
}

// PollError has the ring clear its error. An epoll has none of its own: see receiver.look.
func (l *Link) PollError() {
	if l.ring != nil {
		l.ring.PollError()
	}
}

// JoinGroup counts a membership: all groups' frames on lo come in any case, and which of
// other devices' come the memberships of in-band sockets decide. EINVAL: no group.
func (l *Link) JoinGroup(group link.MAC) error { return l.groups.Join(group) }

// LeaveGroup undoes one JoinGroup. EADDRNOTAVAIL: there was none.
func (l *Link) LeaveGroup(group link.MAC) error { return l.groups.Leave(group) }

// AddMode counts a mode: on lo all frames come in any case. EINVAL: no mode.
func (l *Link) AddMode(m link.Mode) error { return l.modes.Add(m) }

// DropMode undoes one AddMode. EADDRNOTAVAIL: there was none.
func (l *Link) DropMode(m link.Mode) error { return l.modes.Drop(m) }

// Close ends the link and its ring: it wakes pollers by calling changed with FD at -1, and
// waits for sends that are under way. Another Close does nothing.
func (l *Link) Close() error {
	l.mu.Lock()
	first := !l.closed.Swap(true)
	l.mu.Unlock()
	if !first {
		return nil
	}
	l.tell()
	l.tx.gate.shut()
	return l.shut()
}

// shut gives back all that is open.
func (l *Link) shut() error {
	var errs []error
	if l.ring != nil {
		errs = append(errs, l.ring.Close())
	}
	for _, fd := range l.tx.fds() {
		errs = append(errs, unix.Close(fd))
	}
	if l.epoll >= 0 {
		errs = append(errs, unix.Close(l.epoll))
	}
	return errors.Join(errs...)
}
