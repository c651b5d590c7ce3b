package readiness

import (
	"sync"

	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// An eventFD is a descriptor of the kernel's that is readable while an out-of-band
// socket is: an eventfd(2) that is written to and read from as that changes.
type eventFD struct {
	mu    sync.Mutex
	fd    int
	open  bool
	shows bool // the descriptor is readable
	edges bool // it is written to for each event
	gone  bool // the socket is closed
	watch stack.Watch
}

// FD returns the descriptor, which is opened when it is asked for. EBADF: the socket
// is closed.
func (t *Outside) FD() (int, error) {
	p := &t.fd
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || t.k.Closed() {
		return -1, unix.EBADF
	}
	if p.open {
		return p.fd, nil
	}
	fd, err := descriptor.Raised(unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK))
	if err != nil {
		return -1, err
	}
	p.fd, p.open = fd, true
	// Watching locks the list of watches, whose holders wait for mu.
	p.mu.Unlock()
	p.watch.Notify = func(events uint32) bool { p.tell(t.k, events); return true }
	p.watch.Closed = p.close // Stack.Close closes the socket too
	p.watch.Drained = func() { p.update(t.k) }
	err = t.k.Watch(&p.watch)
	t.waitElsewhere(1)
	p.mu.Lock()
	if err != nil {
		p.closeLocked()
		return -1, err
	}
	if p.gone {
		return -1, unix.EBADF
	}
	p.updateLocked(t.k)
	return fd, nil
}

// SetEdges says whether each event makes a new edge for epoll(7)'s EPOLLET, as with a socket of the
// kernel's, and not only the first that makes the descriptor readable.
func (t *Outside) SetEdges(on bool) {
	t.fd.mu.Lock()
	defer t.fd.mu.Unlock()
	t.fd.edges = on
}

// tell is update for what has come.
func (p *eventFD) tell(k Socket, events uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.edges && p.shows && p.open && events&(bandIn|bandErr|unix.EPOLLHUP) != 0 {
		count := [8]byte{1}
		unix.Write(p.fd, count[:])
	}
	p.updateLocked(k)
}

// update makes the descriptor show what the socket is. Whoever changes the
// socket calls it after that, so that the last one is right.
func (p *eventFD) update(k Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.updateLocked(k)
}

func (p *eventFD) updateLocked(k Socket) {
	readable := k.Readable()
	if readable == p.shows || !p.open {
		return
	}
	p.shows = readable
	count := [8]byte{1} // any number that is not 0, in any byte order
	if readable {
		unix.Write(p.fd, count[:])
	} else {
		unix.Read(p.fd, count[:])
	}
}

// CloseFD closes the descriptor of a socket that is closed.
func (t *Outside) CloseFD() { t.fd.close() }

func (p *eventFD) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeLocked()
}

func (p *eventFD) closeLocked() {
	p.gone = true
	if p.open {
		p.open = false
		unix.Close(p.fd)
	}
}

// number returns the descriptor if there is one, else -1.
func (p *eventFD) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return -1
	}
	return p.fd
}
