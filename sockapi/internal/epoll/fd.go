package epoll

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/stack"
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

// PollFD returns the descriptor that shows whether Wait would return at once: see
// sockapi's Epoll.PollFD.
func (e *Set) PollFD() (int, error) {
	e.group.nestMu.Lock()
	defer e.group.nestMu.Unlock()
	e.ctl.Lock()
	defer e.ctl.Unlock()
	p := &e.fd
	if e.closed() {
		return -1, unix.EBADF
	}
	if p.on.Load() {
		return p.epfd, nil
	}
	if !e.group.open.add(e) {
		return -1, unix.EBADF
	}
	if err := p.open(e.kernel.descriptors()); err != nil {
		return -1, err
	}
	e.group.st.WaitElsewhere(1)
	for _, it := range e.sockets {
		it.socket.ChangeWatch(&it.watch, func(w *stack.Watch) { w.Drained = e.settle })
	}
	if e.readyLocked() {
		p.mark()
	}
	return p.epfd, nil
}

// open opens the descriptor.
func (p *epollFD) open(others []int) error {
	event, err := descriptor.Raised(unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK))
	if err != nil {
		return err
	}
	epfd, err := descriptor.Raised(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	if err != nil {
		unix.Close(event)
		return err
	}
	for _, fd := range append(others, event) {
		if err := AddReadable(epfd, fd); err != nil {
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

// AddReadable has an epoll of the kernel's hear of when fd is readable.
func AddReadable(epfd, fd int) error {
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
func (e *Set) settle() {
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
func (e *Set) closeFDLocked() {
	p := &e.fd
	if !p.on.Load() {
		return
	}
	for _, it := range e.sockets {
		it.socket.ChangeWatch(&it.watch, func(w *stack.Watch) { w.Drained = nil })
	}
	e.group.st.WaitElsewhere(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	unix.Close(p.epfd)
	unix.Close(p.event)
}
