package link

import (
	"sync"
	"time"

	"github.com/outband/outband/internal/descriptor"
	"golang.org/x/sys/unix"
)

// pollSet is the argument of ppoll(2): the eventfd first, then one entry each.
// What is without a descriptor has the entry -1, which the kernel passes over.
type pollSet struct {
	fds []unix.PollFd
	ts  unix.Timespec
	any bool // there is a descriptor
}

// set takes the descriptors as they are now, and reports whether there
// are any.
func (s *pollSet) set(on []Pollable) bool {
	s.any = false
	s.fds = append(s.fds[:0], unix.PollFd{Fd: -1})
	for _, p := range on {
		fd := p.FD()
		if fd >= 0 {
			s.any = true
		}
		s.fds = append(s.fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return s.any
}

// wait sleeps in ppoll(2) for at most d, and tells those of errors that have some. A signal
// (EINTR) is a return for no reason. It returns false if the kernel refuses to poll:
// ENOMEM, or EINVAL of a process that may have fewer descriptors than are polled.
func (s *pollSet) wait(on []Pollable, event *eventFD, d time.Duration) bool {
	s.fds[0] = unix.PollFd{Fd: int32(event.fd), Events: unix.POLLIN}
	s.ts = unix.NsecToTimespec(int64(d)) // the kernel writes the rest of it back
	// This is a system call that the scheduler knows of: another goroutine gets
	// the processor while the thread sleeps.
	n, err := unix.Ppoll(s.fds, &s.ts, nil)
	if err != nil || n == 0 {
		return err == nil || err == unix.EINTR
	}
	if s.fds[0].Revents != 0 {
		event.drain()
	}
	for i, p := range on {
		if s.fds[i+1].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			p.PollError()
		}
	}
	return true
}

// eventFD is an eventfd(2) that ends a ppoll(2). It is never in Go's netpoller.
type eventFD struct {
	// mu keeps a late signal from writing to a number that has been closed
	// and belongs to another file by now. It guards fd against close; fd is
	// read without it by the goroutine that is in Wait, which alone opens it.
	mu sync.Mutex
	fd int
}

// open makes the eventfd if there is none yet.
func (e *eventFD) open() error {
	if e.fd >= 0 {
		return nil
	}
	fd, err := descriptor.Raised(unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK))
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.fd = fd
	e.mu.Unlock()
	return nil
}

// signal makes the eventfd readable.
func (e *eventFD) signal() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fd < 0 {
		return
	}
	one := [8]byte{1} // any value but 0 and the maximum, in any byte order
	unix.Write(e.fd, one[:])
}

// drain makes the eventfd unreadable.
func (e *eventFD) drain() {
	var count [8]byte
	unix.Read(e.fd, count[:])
}

// close gives the descriptor back.
func (e *eventFD) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fd < 0 {
		return nil
	}
	fd := e.fd
	e.fd = -1
	return unix.Close(fd)
}
