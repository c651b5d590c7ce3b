package sockapi

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// An epollFD is a descriptor of the kernel's that is readable while an Epoll is: an
// epoll of the kernel's with the two that the Epoll may have, and an eventfd(2)
// that shows whether anything on its ready list is ready.
type epollFD struct {
	on atomic.Bool // there is one
	mu sync.Mutex  // a leaf
	// epfd is the descriptor, event the eventfd in it.
	epfd, event int
	shows       bool   // event is readable
	marks       uint64 // calls of mark
	gone        bool   // the Epoll is closed
}

// PollFD returns a descriptor of the kernel's that is readable while Wait would
// return at once, for programs with an event loop of their own, and to put this
// Epoll into an epoll of the kernel's. It stays the Epoll's: watch it, do not read
// it or close it; Close closes it. It may stay readable after an inner Epoll
// has become idle, until a Wait that returns nothing.
//
// Only an Epoll that was asked for one has it, and pays for it: a system call
// whenever that changes. EMFILE, ENFILE: there is no descriptor left. EBADF: the
// Epoll is closed.
func (e *Epoll) PollFD() (int, error) {
	e.api.nestMu.Lock()
	defer e.api.nestMu.Unlock()
	e.ctl.Lock()
	defer e.ctl.Unlock()
	p := &e.fd
	if e.closed() {
		return -1, unix.EBADF
	}
	if p.on.Load() {
		return p.epfd, nil
	}
	if !e.api.open.add(e) {
		return -1, unix.EBADF
	}
	if err := p.open(e.kernel.descriptors()); err != nil {
		return -1, err
	}
	e.api.st.WaitElsewhere(1)
	for _, it := range e.sockets {
		it.socket.tellTaken(it, e.settle)
	}
	if e.readyLocked() {
		p.mark()
	}
	return p.epfd, nil
}

// open opens the descriptor.
func (p *epollFD) open(others []int) error {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return err
	}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		unix.Close(event)
		return err
	}
	for _, fd := range append(others, event) {
		if err := addReadable(epfd, fd); err != nil {
			unix.Close(epfd)
			unix.Close(event)
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epfd, p.event = epfd, event
	p.on.Store(true)
	return nil
}

// addReadable has an epoll of the kernel's hear of when fd is readable.
func addReadable(epfd, fd int) error {
	err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN})
	if err == unix.EEXIST {
		return nil
	}
	return err
}

// mark shows that something may be ready.
func (p *epollFD) mark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks++
	p.showLocked(true)
}

func (p *epollFD) showLocked(readable bool) {
	if p.gone || readable == p.shows {
		return
	}
	p.shows = readable
	count := [8]byte{1} // any number that is not 0, in any byte order
	if readable {
		unix.Write(p.event, count[:])
	} else {
		unix.Read(p.event, count[:])
	}
}

// settle has the descriptor show what is, after something that was ready may have
// ceased to be. What becomes ready meanwhile marks it, and then that stays.
func (e *Epoll) settle() {
	p := &e.fd
	if !p.on.Load() {
		return
	}
	p.mu.Lock()
	marks := p.marks
	p.mu.Unlock()
	e.ctl.Lock()
	ready := !e.calls.closed() && e.readyLocked()
	e.ctl.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if ready || p.marks == marks {
		p.showLocked(ready)
	}
}

// close closes the descriptor, if there is one. ctl is held.
func (e *Epoll) closeFDLocked() {
	p := &e.fd
	if !p.on.Load() {
		return
	}
	for _, it := range e.sockets {
		it.socket.tellTaken(it, nil)
	}
	e.api.st.WaitElsewhere(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	unix.Close(p.epfd)
	unix.Close(p.event)
}

// A taker wants to know when something has been taken from a socket.
type taker struct {
	who any
	f   func()
}

// takers are those who want to know. The list is replaced, never changed.
type takers struct {
	mu   sync.Mutex // for changing it; a leaf but for stack.Socket's
	list atomic.Pointer[[]taker]
}

// tellTaken has f called for who whenever something has been taken from the
// socket, by the rules of stack.Socket.SetTaken; nil ends that.
func (s *stackSocket) tellTaken(who any, f func()) {
	t := &s.takers
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []taker
	if old := t.list.Load(); old != nil {
		for _, o := range *old {
			if o.who != who {
				list = append(list, o)
			}
		}
	}
	if f != nil {
		list = append(list, taker{who, f})
	}
	t.list.Store(&list)
	if len(list) == 0 {
		s.K.SetTaken(nil)
		return
	}
	s.K.SetTaken(s.taken)
}

func (s *stackSocket) taken() {
	for _, t := range *s.takers.list.Load() {
		t.f()
	}
}
