package sockapi

import (
	"sync"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A pollFD is a descriptor of the kernel's that is readable while an out-of-band
// socket is: an eventfd(2) that is written to and read from as that changes.
type pollFD struct {
	mu    sync.Mutex
	fd    int
	open  bool
	shows bool // the descriptor is readable
	gone  bool // the socket is closed
	watch stack.Watch
}

// PollFD returns a descriptor of the kernel's that is readable while the socket
// is (level-triggered: a receive would return at once), for programs with an
// event loop of their own. It is so too where poll(2) would say POLLERR or POLLHUP
// of a socket: for a pending error, and for as long as the error queue holds
// something. It stays the socket's: watch it, do not read it or
// close it; Close closes it. An in-band socket's is its own descriptor.
//
// Only a socket that was asked for one has it, and pays for it: a system call
// whenever it becomes readable, or ceases to be. EMFILE, ENFILE: there is no
// descriptor left. EBADF: the socket is closed.
func (s *Socket) PollFD() (int, error) { return s.pollFD() }

func (s *stackSocket) pollFD() (int, error) {
	p := &s.fd
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || s.K.Closed() {
		return -1, unix.EBADF
	}
	if p.open {
		return p.fd, nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, err
	}
	p.fd, p.open = fd, true
	// Watching locks the list of watches, whose holders wait for mu.
	p.mu.Unlock()
	p.watch.Notify = func(uint32) bool { p.update(s.K); return true }
	p.watch.Closed = p.close // Stack.Close closes the socket too
	s.TellDrained(p, func() { p.update(s.K) })
	err = s.K.Watch(&p.watch)
	s.waitElsewhere(1)
	p.mu.Lock()
	if err != nil {
		p.closeLocked()
		return -1, err
	}
	if p.gone {
		return -1, unix.EBADF
	}
	p.updateLocked(s.K)
	return fd, nil
}

// update makes the descriptor show what the socket is. Whoever changes the
// socket calls it after that, so that the last one is right.
func (p *pollFD) update(k *stack.Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.updateLocked(k)
}

func (p *pollFD) updateLocked(k *stack.Socket) {
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

// close closes the descriptor of a socket that is closed.
func (p *pollFD) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeLocked()
}

func (p *pollFD) closeLocked() {
	p.gone = true
	if p.open {
		p.open = false
		unix.Close(p.fd)
	}
}

// number returns the descriptor if there is one, else -1.
func (p *pollFD) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return -1
	}
	return p.fd
}

// waitElsewhere counts the ways in which the socket's owner waits for it outside
// of the stack.
func (s *stackSocket) waitElsewhere(n int32) {
	s.K.WaitElsewhere(s.elsewhere.Add(n) > 0)
}
