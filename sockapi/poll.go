package sockapi

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi/internal/epoll"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A PollFd is one entry of Poll's set (struct pollfd in poll(2)).
type PollFd struct {
	// Socket is a socket of either kind, or nil: then Epoll counts.
	Socket *Socket
	// Epoll is an Epoll, which is readable while its Wait would return something,
	// or nil: then Fd counts.
	Epoll *Epoll
	// Fd is a descriptor of the kernel's; a negative one is passed over.
	Fd int
	// Events are what is asked for, Revents what holds: unix.POLLIN and so on.
	// POLLERR, POLLHUP and POLLNVAL, for what is closed, are always asked for.
	Events, Revents int16
}

// pollAlways is what Poll reports unasked.
const pollAlways = unix.POLLERR | unix.POLLHUP | unix.POLLNVAL

// Poll waits until something in the set is ready, or the time-out has passed,
// and returns how many entries have Revents (poll(2)). A negative time-out waits
// without end, 0 not at all. A goroutine that waits drives the stack's links. What a Poll
// costs grows with the set; an [Epoll]'s Wait does not. ENETDOWN: the stack is
// closed, or was meanwhile, and nothing in the set is ready.
func (a *API) Poll(fds []PollFd, timeout time.Duration) (int, error) {
	c := a.pollCall()
	defer c.free()
	n := c.look(fds)
	if n > 0 {
		return n, nil
	}
	if a.st.Closed() {
		return 0, unix.ENETDOWN
	}
	if timeout == 0 {
		c.waiter.Poll()
		return c.look(fds), nil
	}
	if err := c.watch(fds); err != nil {
		return 0, err
	}
	defer c.unwatch()
	deadline := a.st.Deadline(timeout)
	for {
		if n = c.look(fds); n > 0 {
			return n, nil
		}
		if a.st.Closed() {
			if n = c.look(fds); n == 0 {
				return 0, unix.ENETDOWN
			}
			return n, nil
		}
		intime := c.waiter.Wait(deadline)
		c.fired.Store(false)
		if err := c.watchKernel(); err != nil {
			return 0, err
		}
		if !intime {
			return c.look(fds), nil
		}
	}
}

// PollWith is Poll for a call that h may cut short, EINTR, and that does not sleep: it looks
// for as long as budget says, a duration or one of stack.SpinAdaptive, SpinNever and
// SpinAlways. h.Awake must be set.
func (a *API) PollWith(h *stack.Handle, fds []PollFd, budget time.Duration) (int, error) {
	c := a.naps.get(a)
	defer a.naps.put(c)
	n := c.look(fds)
	if n == 0 && !a.st.Closed() {
		c.waiter.Poll()
		n = c.look(fds)
	}
	if n > 0 || budget == stack.SpinNever {
		return n, nil
	}
	if err := c.watch(fds); err != nil {
		return 0, err
	}
	defer c.unwatch()
	c.waiter.SetSpin(budget) // and learns from what Disarm tells
	end := int64(stack.NoDeadline)
	if budget > 0 {
		end = a.st.Deadline(budget)
	}
	for {
		if n = c.look(fds); n > 0 {
			return n, nil
		}
		if a.st.Closed() {
			return 0, unix.ENETDOWN
		}
		v := c.waiter.WaitFor(end, nil, h)
		c.fired.Store(false)
		if err := c.watchKernel(); err != nil {
			return 0, err
		}
		if v == stack.WaitReady {
			continue
		}
		if n = c.look(fds); n == 0 && v == stack.WaitCut {
			return 0, unix.EINTR
		}
		return n, nil
	}
}

// A Nap is a Poll in whose place the caller sleeps itself: see Arm.
type Nap struct {
	call  *pollCall
	began int64 // of the stack's clock
}

// Arm has the caller sleep in place of Poll, by the kernel's calls. It appends to on the
// descriptors to sleep on, for reading, and returns until when, in nanoseconds of CLOCK_MONOTONIC:
// math.MaxInt64, without end; what is past, not at all. The descriptors stay the stack's. The caller owes a
// Disarm as soon as one is readable, the time has come, or it does not want to sleep any
// more. The stack counts on it as on a goroutine that sleeps: it may be the only one that
// hears of frames. EMFILE, ENFILE: there is no descriptor left. ENETDOWN: the stack is closed,
// and nothing in the set is ready.
func (a *API) Arm(fds []PollFd, on []int) (_ Nap, sleepOn []int, until int64, err error) {
	c := a.naps.get(a)
	if err = c.watch(fds); err != nil {
		a.naps.put(c)
		return Nap{}, on, 0, err
	}
	now := a.st.Deadline(0)
	until = int64(stack.NoDeadline)
	switch {
	case c.look(fds) > 0:
		until = 0
	case a.st.Closed():
		err = unix.ENETDOWN
	default:
		on, until, err = c.waiter.Arm(until, on)
	}
	if err != nil {
		c.unwatch()
		a.naps.put(c)
		return Nap{}, on, 0, err
	}
	if until != stack.NoDeadline && until != 0 {
		until = a.st.Monotonic() + until - now
	}
	return Nap{c, now}, on, until, nil
}

// Disarm ends what Arm began, once, and returns how many entries are ready, as Poll does. It does
// nothing to the zero Nap.
func (n Nap) Disarm(fds []PollFd) int {
	c := n.call
	if c == nil {
		return 0
	}
	c.waiter.Disarm()
	c.fired.Store(false)
	ready := c.look(fds)
	took := c.api.st.Deadline(0) - n.began
	for i := range fds {
		if s := fds[i].Socket; s != nil && fds[i].Events&unix.POLLIN != 0 {
			s.waited(took)
		}
	}
	c.unwatch()
	c.api.naps.put(c)
	return ready
}

// naps are the calls that Arm and PollWith have used: each has a descriptor of the kernel's.
type naps struct {
	mu   sync.Mutex // a leaf
	free []*pollCall
	over bool
}

func (p *naps) get(a *API) *pollCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	return newPollCall(a)
}

func (p *naps) put(c *pollCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || !c.reusable() {
		c.waiter.Close()
		return
	}
	c.fired.Store(false)
	p.free = append(p.free, c)
}

// close gives back the descriptors.
func (p *naps) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, c := range p.free {
		c.waiter.Close()
	}
	p.free = nil
}

// A pollCall is what one Poll needs, reused from call to call.
type pollCall struct {
	api    *API
	waiter *stack.Waiter
	fired  atomic.Bool // something may have changed

	kernel []unix.PollFd // entries of the kernel's
	where  []int         // their indexes in the set
	held   []*Socket     // in-band sockets whose descriptors are in kernel

	watches []pollWatch
	watched int
	epolls  []*Epoll // that are in the set
	epfd    int      // a kernel's epoll with the descriptors, to sleep on; -1: none
}

// pollWatch is the watch of one out-of-band socket in the set.
type pollWatch struct {
	watch  stack.Watch
	socket *Socket
}

func (a *API) pollCall() *pollCall {
	if c, ok := a.polls.Get().(*pollCall); ok {
		return c
	}
	return newPollCall(a)
}

func newPollCall(a *API) *pollCall {
	c := &pollCall{api: a, epfd: -1}
	c.waiter = a.st.NewWaiter(c.fired.Load)
	return c
}

// reusable reports whether the call is not larger than most will ever need.
func (c *pollCall) reusable() bool {
	return len(c.watches) <= maxMessages && cap(c.kernel) <= maxMessages
}

// free gives the call back.
func (c *pollCall) free() {
	if c.reusable() {
		c.fired.Store(false)
		c.api.polls.Put(c)
	}
}

// look stores what holds now, and returns of how many entries.
func (c *pollCall) look(fds []PollFd) int {
	c.gather(fds)
	if len(c.kernel) > 0 && epoll.PollNow(c.kernel) > 0 {
		for i := range c.kernel {
			fds[c.where[i]].Revents = c.kernel[i].Revents
		}
	}
	c.letGo()
	n := 0
	for i := range fds {
		f := &fds[i]
		if f.Socket == nil && f.Epoll != nil {
			f.Revents = f.Epoll.set.PollEvents() & (f.Events | pollAlways)
		}
		if f.Revents != 0 {
			n++
		}
	}
	return n
}

// gather collects the entries of the kernel's, holds the in-band sockets until letGo,
// and stores what holds of the out-of-band ones.
func (c *pollCall) gather(fds []PollFd) {
	c.kernel, c.where, c.held = c.kernel[:0], c.where[:0], c.held[:0]
	for i := range fds {
		f := &fds[i]
		f.Revents = 0
		fd := f.Fd
		if s := f.Socket; s != nil {
			var err error
			if fd, err = s.holdFD(); err != nil {
				f.Revents = unix.POLLNVAL
				continue
			}
			if fd < 0 {
				f.Revents = int16(s.events(uint32(uint16(f.Events)))) & (f.Events | pollAlways)
				continue
			}
			c.held = append(c.held, s)
		} else if f.Epoll != nil {
			continue
		}
		c.kernel = append(c.kernel, unix.PollFd{Fd: int32(fd), Events: f.Events})
		c.where = append(c.where, i)
	}
}

func (c *pollCall) letGo() {
	for i, s := range c.held {
		s.releaseFD()
		c.held[i] = nil
	}
	c.held = c.held[:0]
}

// watch begins to be told of the entries. It does not hold in-band sockets: as
// on Linux closing one does not end the wait.
func (c *pollCall) watch(fds []PollFd) error {
	c.makeRoom(fds)
	for i := range fds {
		s := fds[i].Socket
		if e := fds[i].Epoll; s == nil && e != nil {
			e.set.AddPoller(c)
			c.epolls = append(c.epolls, e)
		}
		if s == nil {
			continue
		}
		if w := &c.watches[c.watched]; s.watch(&w.watch) {
			w.socket = s
			c.watched++
		}
	}
	c.gather(fds)
	defer c.letGo()
	if len(c.kernel) > 0 {
		if err := c.openKernel(); err != nil {
			c.unwatch()
			return err
		}
	}
	if err := c.watchKernel(); err != nil {
		c.unwatch()
		return err
	}
	return nil
}

// watchKernel has the call sleep on the kernel's epolls of the Epolls in the set,
// which may come later.
func (c *pollCall) watchKernel() error {
	for _, e := range c.epolls {
		for _, fd := range e.set.Descriptors() {
			if c.epfd < 0 {
				if err := c.openKernel(); err != nil {
					return err
				}
			}
			if err := epoll.AddReadable(c.epfd, fd); err != nil && err != unix.EBADF { // it is being closed
				return err
			}
		}
	}
	return nil
}

// makeRoom has a watch for each entry. A watch that is in force is not moved.
func (c *pollCall) makeRoom(fds []PollFd) {
	if len(c.watches) >= len(fds) {
		return
	}
	c.watches = make([]pollWatch, len(fds))
	for i := range c.watches {
		w := &c.watches[i].watch
		w.Notify = func(uint32) bool { return c.Fire() }
		w.Closed = func() { c.Fire() }
	}
}

// Fire ends the wait: the caller looks again.
func (c *pollCall) Fire() bool {
	c.fired.Store(true)
	return c.waiter.Wake()
}

// unwatch ends what watch began.
func (c *pollCall) unwatch() {
	for i := range c.watches[:c.watched] {
		w := &c.watches[i]
		w.socket.unwatch(&w.watch)
		w.socket = nil
	}
	c.watched = 0
	for _, e := range c.epolls {
		e.set.RemovePoller(c)
	}
	clear(c.epolls)
	c.epolls = c.epolls[:0]
	if c.epfd >= 0 {
		c.waiter.SetSources(nil, nil)
		c.waiter.Close()
		c.waiter = c.api.st.NewWaiter(c.fired.Load)
		unix.Close(c.epfd)
		c.epfd = -1
	}
}

// openKernel puts the kernel's entries into an epoll of the kernel's, on which
// the call sleeps.
func (c *pollCall) openKernel() error {
	epfd, err := descriptor.Raised(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	if err != nil {
		return err
	}
	c.epfd = epfd
	for i := range c.kernel {
		f := &c.kernel[i]
		if f.Fd < 0 {
			continue
		}
		ev := unix.EpollEvent{Events: uint32(uint16(f.Events))}
		err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, int(f.Fd), &ev)
		if err == unix.EEXIST {
			for j := range c.kernel[:i] {
				if c.kernel[j].Fd == f.Fd {
					ev.Events |= uint32(uint16(c.kernel[j].Events))
				}
			}
			err = unix.EpollCtl(epfd, unix.EPOLL_CTL_MOD, int(f.Fd), &ev)
		}
		// EPERM: a file that is always ready for what it can do at all.
		if err != nil && err != unix.EPERM {
			unix.Close(epfd)
			c.epfd = -1
			return err
		}
	}
	c.waiter.SetSources([]link.Pollable{link.Descriptor(epfd)}, func() bool {
		return epoll.PollNow([]unix.PollFd{{Fd: int32(epfd), Events: unix.POLLIN}}) > 0
	})
	return nil
}
