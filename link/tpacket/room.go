package tpacket

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/outband/outband/internal/descriptor"
	"golang.org/x/sys/unix"
)

// A room tells when there is room again in the socket that said EAGAIN last. A sender
// by several sockets, as the link's own queue is, waits for one of them at a time, and
// if another is full then, for that.
type room struct {
	full atomic.Int32 // the socket's descriptor, 0 for none; set by stuck

	mu      sync.Mutex
	epoll   int // watches full; 0: not made yet, -1: closed
	watched int // the descriptor that it watches, 0 for none
	tell    func()
	alarm   *time.Timer // asks instead, where no descriptor was to be had
}

// stuck notes that a socket has said EAGAIN. The caller has passed the gate of the
// socket's owner.
func (r *room) stuck(fd int) {
	if r.full.Swap(int32(fd)) == int32(fd) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoll > 0 {
		r.watchLocked()
	}
}

// there reports whether there is room: less than half of SO_SNDBUF is taken.
func (r *room) there() bool {
	fd := r.full.Load()
	return fd == 0 || writable(int(fd))
}

// thereIn is there for all of an owner's sockets, of which those below 0 are not there:
// that which has no room is waited for from now on.
func (r *room) thereIn(fds ...int) bool {
	for _, fd := range fds {
		if fd >= 0 && !writable(fd) {
			r.stuck(fd)
			return false
		}
	}
	return true
}

// writable reports whether poll(2) calls a socket so, or has an error to tell, which is
// for the next send to find.
func writable(fd int) bool {
	p := unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
	n, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1,
		uintptr(unsafe.Pointer(&unix.Timespec{})), 0, 0, 0)
	return n > 0 || errno != 0
}

// fd returns the epoll instance, which poll(2) calls readable while there is room, -1 if
// there is none: then the function of setTell is called.
func (r *room) fd() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoll == 0 {
		fd, err := descriptor.Raised(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
		if err != nil {
			r.askLaterLocked()
			return -1
		}
		r.epoll = fd
		r.watchLocked()
	}
	return r.epoll
}

// watchLocked has the epoll instance watch the socket that is full.
func (r *room) watchLocked() {
	fd := int(r.full.Load())
	if r.watched != 0 && r.watched != fd {
		unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, r.watched, nil)
		r.watched = 0
	}
	if fd != 0 && r.watched == 0 {
		unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT})
		r.watched = fd
	}
}

// askEvery is how often room is asked for where no descriptor can tell.
const askEvery = time.Millisecond

// askLaterLocked has the function of setTell called soon.
func (r *room) askLaterLocked() {
	if r.alarm == nil {
		r.alarm = time.AfterFunc(askEvery, r.ask)
		return
	}
	r.alarm.Reset(askEvery)
}

// ask calls the function of setTell, and goes on while nobody has a descriptor to wait
// with and there is no room.
func (r *room) ask() {
	r.mu.Lock()
	tell := r.tell
	if r.epoll != 0 {
		tell = nil
	}
	// close takes the lock before the sockets are closed: what full names is open.
	if tell != nil && !r.there() {
		r.alarm.Reset(askEvery)
	}
	r.mu.Unlock()
	if tell != nil {
		tell() // without the lock, since the function may ask
	}
}

// setTell registers what is called where fd returns -1.
func (r *room) setTell(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell = f
}

// close gives the epoll instance back. From then on there is room, as far as one can
// tell.
func (r *room) close() {
	r.full.Store(0)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoll > 0 {
		unix.Close(r.epoll)
	}
	if r.alarm != nil {
		r.alarm.Stop()
	}
	r.epoll = -1
}
