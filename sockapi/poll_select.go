package sockapi

import (
	"time"

	"golang.org/x/sys/unix"
)

// An FdSet is a set of sockets, Epolls and kernel descriptors for Select (select(2)),
// without FD_SETSIZE. The zero value is empty.
type FdSet struct {
	sockets map[*Socket]struct{}
	fds     map[int]struct{}
	epolls  map[*Epoll]struct{}
}

// Set adds a socket.
func (f *FdSet) Set(s *Socket) {
	if f.sockets == nil {
		f.sockets = make(map[*Socket]struct{})
	}
	f.sockets[s] = struct{}{}
}

// SetFd adds a descriptor of the kernel's.
func (f *FdSet) SetFd(fd int) {
	if f.fds == nil {
		f.fds = make(map[int]struct{})
	}
	f.fds[fd] = struct{}{}
}

// SetEpoll adds an Epoll.
func (f *FdSet) SetEpoll(e *Epoll) {
	if f.epolls == nil {
		f.epolls = make(map[*Epoll]struct{})
	}
	f.epolls[e] = struct{}{}
}

// Clear takes a socket out, ClearFd a descriptor, ClearEpoll an Epoll, Zero all.
func (f *FdSet) Clear(s *Socket) { delete(f.sockets, s) }

// ClearFd takes a descriptor out.
func (f *FdSet) ClearFd(fd int) { delete(f.fds, fd) }

// ClearEpoll takes an Epoll out.
func (f *FdSet) ClearEpoll(e *Epoll) { delete(f.epolls, e) }

// Zero empties the set.
func (f *FdSet) Zero() { clear(f.sockets); clear(f.fds); clear(f.epolls) }

// IsSet reports whether a socket is in the set.
func (f *FdSet) IsSet(s *Socket) bool { _, ok := f.sockets[s]; return ok }

// IsSetEpoll reports whether an Epoll is in the set.
func (f *FdSet) IsSetEpoll(e *Epoll) bool { _, ok := f.epolls[e]; return ok }

// IsSetFd reports whether a descriptor is in the set.
func (f *FdSet) IsSetFd(fd int) bool { _, ok := f.fds[fd]; return ok }

// What select(2) calls readable, writable and exceptional.
const (
	selectRead   = unix.EPOLLRDNORM | unix.EPOLLRDBAND | unix.POLLIN | unix.POLLHUP | unix.POLLERR
	selectWrite  = unix.EPOLLWRNORM | unix.EPOLLWRBAND | unix.POLLOUT | unix.POLLERR
	selectExcept = unix.POLLPRI
)

// Select waits until something in one of the sets, each of which may be nil, is
// ready, or the time-out has passed, and leaves in the sets what is ready
// (select(2)). It returns how many that are in all. A negative time-out waits
// without end. EBADF: something in a set is closed; the sets are as they were.
func (a *API) Select(read, write, except *FdSet, timeout time.Duration) (int, error) {
	sets := [3]*FdSet{read, write, except}
	classes := [3]int16{selectRead, selectWrite, selectExcept}
	var fds []PollFd
	at := make(map[any]int)
	ask := func(key any, f PollFd, class int16) {
		i, ok := at[key]
		if !ok {
			i = len(fds)
			at[key] = i
			fds = append(fds, f)
		}
		fds[i].Events |= class
	}
	for i, set := range sets {
		if set == nil {
			continue
		}
		for s := range set.sockets {
			ask(s, PollFd{Socket: s}, classes[i])
		}
		for e := range set.epolls {
			ask(e, PollFd{Epoll: e}, classes[i])
		}
		for fd := range set.fds {
			if fd < 0 {
				return 0, unix.EBADF
			}
			ask(fd, PollFd{Fd: fd}, classes[i])
		}
	}
	if n, err := a.selectWait(fds, timeout); n == 0 || err != nil {
		if err == nil {
			for _, set := range sets {
				if set != nil {
					set.Zero()
				}
			}
		}
		return 0, err
	}
	n := 0
	for i, set := range sets {
		if set == nil {
			continue
		}
		for s := range set.sockets {
			if fds[at[s]].Revents&classes[i] == 0 {
				set.Clear(s)
			}
		}
		for fd := range set.fds {
			if fds[at[fd]].Revents&classes[i] == 0 {
				set.ClearFd(fd)
			}
		}
		for e := range set.epolls {
			if fds[at[e]].Revents&classes[i] == 0 {
				set.ClearEpoll(e)
			}
		}
		n += len(set.sockets) + len(set.fds) + len(set.epolls)
	}
	return n, nil
}

// selectWait polls until something holds that was asked for: POLLHUP and POLLERR
// come unasked, and do not count for every set.
func (a *API) selectWait(fds []PollFd, timeout time.Duration) (int, error) {
	deadline := a.st.Deadline(timeout)
	for {
		n, err := a.Poll(fds, timeout)
		if err != nil || n == 0 {
			return 0, err
		}
		asked := 0
		for i := range fds {
			f := &fds[i]
			if f.Revents&unix.POLLNVAL != 0 {
				return 0, unix.EBADF
			}
			if f.Revents&f.Events != 0 {
				asked++
			}
		}
		if asked > 0 || timeout == 0 {
			return asked, nil
		}
		// What holds was not asked for, and it stays: look again after a while.
		left := time.Duration(deadline - a.st.Deadline(0))
		if timeout > 0 && left <= 0 {
			return 0, nil
		}
		pause := selectPause
		if timeout > 0 {
			timeout = left
			pause = min(pause, left)
		}
		time.Sleep(pause)
	}
}

// selectPause is how long Select waits where poll(2) would not wait at all: for
// a socket with a hang-up or an error in a set that asks for neither.
const selectPause = time.Millisecond
