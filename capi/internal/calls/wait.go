package calls

import (
	"sync"
	"time"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A Want is a struct ob_want.
type Want struct {
	Handle          int32
	Events, Revents int16
}

// want makes of what C wants what Poll takes. bad says that a handle stands for nothing.
func (l *Library) want(to []sockapi.PollFd, w []Want) (_ []sockapi.PollFd, bad bool) {
	for i := range w {
		f := sockapi.PollFd{Fd: -1, Events: w[i].Events}
		switch h := int(w[i].Handle); {
		case h == -1:
		case h < 0:
			f.Fd = -2 - h // OB_FD
		default:
			if o := l.table.get(h); o != nil {
				f.Socket, f.Epoll = o.socket, o.epoll
			} else {
				bad = true
			}
		}
		to = append(to, f)
	}
	return to, bad
}

// found tells C what is ready, and returns of how many.
func (l *Library) found(w []Want, fds []sockapi.PollFd) (n int) {
	for i := range w[:min(len(w), len(fds))] {
		w[i].Revents = fds[i].Revents
		if h := int(w[i].Handle); h >= 0 && l.table.get(h) == nil {
			w[i].Revents = unix.POLLNVAL
		}
		if w[i].Revents != 0 {
			n++
		}
	}
	return n
}

// Poll is poll(2): it sleeps for at most ms milliseconds, negative without end.
func (l *Library) Poll(w []Want, ms int) int {
	return l.poll(w, func(r *running, t *nap, bad bool) (int, error) {
		timeout := time.Duration(ms) * time.Millisecond
		if ms < 0 {
			timeout = -1
		}
		if bad {
			timeout = 0
		}
		return r.api.Poll(t.fds, timeout)
	})
}

// Spin looks whether one is ready for budget nanoseconds, and does not sleep: EINTR as soon
// as *cut is not 0.
func (l *Library) Spin(w []Want, budget int64, cut *uint32) int {
	return l.poll(w, func(r *running, t *nap, bad bool) (int, error) {
		d := r.spin
		if budget != SpinAdaptive {
			var err error
			if d, err = spin(budget); err != nil {
				return 0, err
			}
		}
		if bad {
			d = stack.SpinNever
		}
		c := getScratch()
		defer c.free()
		return r.api.PollWith(c.until(cut), t.fds, d)
	})
}

func (l *Library) poll(w []Want, call func(r *running, t *nap, bad bool) (int, error)) int {
	r := l.now.Load()
	if r == nil {
		return -int(unix.ENETDOWN)
	}
	t := l.naps.take()
	defer l.naps.give(t)
	var bad bool
	t.fds, bad = l.want(t.fds[:0], w)
	if _, err := call(r, t, bad); err != nil {
		return fail(err)
	}
	return l.found(w, t.fds)
}

// A nap is somebody's sleep outside of the stack, from Arm to Disarm.
type nap struct {
	token int
	taken bool
	armed bool
	nap   sockapi.Nap
	fds   []sockapi.PollFd
	on    []int
}

// naps gives them numbers.
type naps struct {
	mu   sync.Mutex // a leaf
	all  []*nap
	free []*nap
}

func (p *naps) take() *nap {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		t := p.free[n-1]
		p.free = p.free[:n-1]
		t.taken = true
		return t
	}
	t := &nap{token: len(p.all), taken: true}
	p.all = append(p.all, t)
	return t
}

func (p *naps) give(t *nap) {
	clear(t.fds)
	p.mu.Lock()
	defer p.mu.Unlock()
	t.taken, t.armed = false, false
	p.free = append(p.free, t)
}

// find returns what a token stands for, nil if that is nothing.
func (p *naps) find(token int) *nap {
	p.mu.Lock()
	defer p.mu.Unlock()
	if uint(token) >= uint(len(p.all)) || !p.all[token].taken {
		return nil
	}
	return p.all[token]
}

// Arm says what to sleep on in place of Poll: it stores descriptors in on, their number in
// *n, until when in *until, and returns a token for Disarm. ENOSPC: on is too short.
func (l *Library) Arm(w []Want, on []int32, n *uint32, until *int64) int {
	r := l.now.Load()
	if r == nil {
		return -int(unix.ENETDOWN)
	}
	t := l.naps.take()
	var bad bool
	t.fds, bad = l.want(t.fds[:0], w)
	*n, *until = 0, 0
	if bad {
		return t.token
	}
	var err error
	if t.nap, t.on, *until, err = r.api.Arm(t.fds, t.on[:0]); err != nil {
		l.naps.give(t)
		return fail(err)
	}
	if len(t.on) > len(on) {
		t.nap.Disarm(t.fds)
		l.naps.give(t)
		return -int(unix.ENOSPC)
	}
	t.armed = true
	for i, fd := range t.on {
		on[i] = int32(fd)
	}
	*n = uint32(len(t.on))
	return t.token
}

// Disarm ends what Arm began, and returns how many are ready. EINVAL: no such token.
func (l *Library) Disarm(token int, w []Want) int {
	t := l.naps.find(token)
	if t == nil {
		return invalid
	}
	defer l.naps.give(t)
	if t.armed {
		t.nap.Disarm(t.fds)
	}
	return l.found(w, t.fds)
}

// PollFD returns a descriptor for the kernel's poll(2) and epoll(7).
func (l *Library) PollFD(h int) int {
	o := l.table.get(h)
	if o == nil {
		return badHandle
	}
	var fd int
	var err error
	if o.socket != nil {
		fd, err = o.socket.PollFD()
	} else {
		fd, err = o.epoll.PollFD()
	}
	if err != nil {
		return fail(err)
	}
	return fd
}

// PollEdges says whether each datagram makes an edge at PollFD's descriptor.
func (l *Library) PollEdges(h int, on bool) int {
	s := l.socket(h)
	if s == nil {
		return l.noSocket(h)
	}
	return fail(s.SetPollEdges(on))
}

// Events returns what poll(2) would report of a socket or an epoll now.
func (l *Library) Events(h int) int {
	w := []Want{{Handle: int32(h), Events: 0x7fff}}
	if l.table.get(h) == nil {
		return badHandle
	}
	if n := l.Spin(w, SpinNever, nil); n < 0 {
		return n
	}
	return int(uint16(w[0].Revents))
}
