package sockapi

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// A floodLink has more frames whenever it is asked, as a device under a flood has
// for those who are slower.
type floodLink struct {
	*pipe.Link
	frame []byte
	fd    int // readable for ever, or -1
	over  atomic.Bool
}

func (l *floodLink) FD() int    { return l.fd }
func (l *floodLink) PollError() {}

func (l *floodLink) Receive(frames []link.Frame) int {
	if l.over.Load() {
		return 0
	}
	for i := range frames {
		frames[i] = link.Frame{Data: l.frame, Meta: link.Meta{WireLen: len(l.frame)}}
	}
	return len(frames)
}

func (l *floodLink) Release() {}

func (l *floodLink) Close() error {
	l.over.Store(true)
	return l.Link.Close()
}

// floodFrame is a datagram to 10.9.0.1, port 7.
func floodFrame(mac link.MAC) []byte {
	src, dst := [4]byte{10, 9, 0, 2}, [4]byte{10, 9, 0, 1}
	b := make([]byte, 14+20+8+16)
	copy(b, mac[:])
	copy(b[6:], []byte{2, 0, 0, 0, 0, 9})
	b[12] = 8
	f := ipv4.Fields{TTL: 64, Protocol: ipv4.ProtocolUDP, Src: src, Dst: dst, DontFragment: true}
	f.Put(b[14:], 8+16)
	udp.Put(b[34:], src, dst, 9, 7, 16)
	return b
}

// Backlogs of a waitWorld.
const (
	idleWire    = "idle"
	memoryFlood = "flood"                 // by a link without a descriptor
	deviceFlood = "flood of a descriptor" // that is always readable
)

// A waitWorld is a stack with a socket that nothing ever comes to.
type waitWorld struct {
	a *API
	s *Socket
	e *Epoll
	// filled is a socket whose send buffer is full of what waits for a neighbour.
	filled *Socket
}

func newWaitWorld(t testing.TB, spin time.Duration, backlog string) *waitWorld {
	t.Helper()
	st, err := stack.New(stack.Config{Spin: spin})
	ok(t, "stack.New", err)
	t.Cleanup(func() { st.Close() })
	near, far := pipe.New(pipe.Options{})
	t.Cleanup(func() { far.Close() })
	var l link.Link = near
	if backlog != idleWire {
		flood := &floodLink{Link: near, frame: floodFrame(near.Info().HardwareAddr), fd: -1}
		if backlog == deviceFlood {
			flood.fd, err = unix.Eventfd(1, unix.EFD_CLOEXEC)
			ok(t, "eventfd", err)
			t.Cleanup(func() { unix.Close(flood.fd) })
		}
		l = flood
	}
	// nobody is not given up while a test lasts, which would make room for what waits.
	i, err := st.AddLink(l, stack.InterfaceConfig{ARP: arp.Config{RetransTime: time.Hour}})
	ok(t, "AddLink", err)
	ok(t, "AddAddress", i.AddAddress(netip.MustParsePrefix("10.9.0.1/24")))
	w := &waitWorld{a: New(st)}
	w.s, w.filled = w.open(t), w.open(t)
	victim := w.open(t)
	ok(t, "Bind", victim.Bind(Inet4([4]byte{10, 9, 0, 1}, 7)))
	ok(t, "Bind", w.s.Bind(Inet4([4]byte{10, 9, 0, 1}, 9)))
	oobOf(w.s).Times().SetTransmitTimes(true)
	w.e, err = w.a.EpollCreate()
	ok(t, "EpollCreate", err)
	ok(t, "Ctl", w.e.Ctl(unix.EPOLL_CTL_ADD, w.s, EpollEvent{Events: unix.EPOLLIN}))
	oobOf(w.filled).SetSendBuffer(4608)
	for err == nil {
		_, err = w.filled.Sendto(make([]byte, 100), unix.MSG_DONTWAIT, nobody)
	}
	want(t, "Sendto, until it is full", err, unix.EAGAIN)
	return w
}

// nobody is where no neighbour answers.
var nobody = Inet4([4]byte{10, 9, 0, 77}, 9)

func (w *waitWorld) open(t testing.TB) *Socket {
	s, err := w.a.Socket(unix.AF_INET, unix.SOCK_DGRAM|SOCK_OOB, 0)
	ok(t, "Socket", err)
	return s
}

// A waitingCall is one that waits, with what it returns for each end of it.
type waitingCall struct {
	name string
	// call waits so long; negative: without end.
	call func(w *waitWorld, d time.Duration) (int, error)
	// object returns what is closed and shut down; nil: w.s.
	object func(w *waitWorld) *Socket
	// What it returns for the ends; "": it is no end of this call's.
	timedOut, closed, shut, stackOver, after string
}

func receives(call func(w *waitWorld, d time.Duration) (int, error)) waitingCall {
	return waitingCall{call: call, timedOut: "0 EAGAIN", closed: "0 EBADF", shut: "0 OK", stackOver: "0 EBADF", after: "0 EBADF"}
}

func timed(c waitingCall) waitingCall { c.timedOut = "0 ETIMEDOUT"; return c }

func named(name string, c waitingCall) waitingCall { c.name = name; return c }

// RcvTimeout sets SO_RCVTIMEO: a socket's time-out of 0 is none, and the shortest
// stands for it.
func (w *waitWorld) rcvTimeout(d time.Duration) {
	switch {
	case d < 0:
		d = 0
	case d == 0:
		d = time.Nanosecond
	}
	stackOf(w.s).RcvTimeout.Store(int64(d))
	stackOf(w.filled).SndTimeout.Store(int64(d))
}

func (w *waitWorld) date(d time.Duration) *unix.Timespec {
	if d < 0 {
		return nil
	}
	return w.a.Date(d)
}

func oneMessage() *Msghdr { return &Msghdr{Iov: [][]byte{make([]byte, 64)}} }

var waitingCalls = []waitingCall{
	named("Recv", receives(func(w *waitWorld, d time.Duration) (int, error) {
		w.rcvTimeout(d)
		return w.s.Recv(make([]byte, 8), 0)
	})),
	named("Recv, MSG_PEEK", receives(func(w *waitWorld, d time.Duration) (int, error) {
		w.rcvTimeout(d)
		return w.s.Recv(make([]byte, 8), unix.MSG_PEEK)
	})),
	named("Recvfrom", receives(func(w *waitWorld, d time.Duration) (int, error) {
		w.rcvTimeout(d)
		n, _, err := w.s.Recvfrom(make([]byte, 8), 0)
		return n, err
	})),
	named("Recvmsg", receives(func(w *waitWorld, d time.Duration) (int, error) {
		w.rcvTimeout(d)
		return w.s.Recvmsg(oneMessage(), 0)
	})),
	// A shut-down socket has one empty datagram after the other.
	named("Recvmmsg", func() waitingCall {
		c := receives(func(w *waitWorld, d time.Duration) (int, error) {
			w.rcvTimeout(d)
			return w.s.Recvmmsg([]Mmsghdr{{Hdr: *oneMessage()}, {Hdr: *oneMessage()}}, 0, d)
		})
		c.shut = "2 OK"
		return c
	}()),
	named("Recvmmsg, MSG_WAITFORONE", func() waitingCall {
		c := receives(func(w *waitWorld, d time.Duration) (int, error) {
			w.rcvTimeout(d)
			return w.s.Recvmmsg([]Mmsghdr{{Hdr: *oneMessage()}}, unix.MSG_WAITFORONE, -1)
		})
		c.shut = "1 OK"
		return c
	}()),
	named("OobRecvmsg", timed(receives(func(w *waitWorld, d time.Duration) (int, error) {
		return w.s.OobRecvmsg(oneMessage(), w.date(d), 0)
	}))),
	named("OobRecvmsg, MSG_TIMESTAMP", timed(receives(func(w *waitWorld, d time.Duration) (int, error) {
		return w.s.OobRecvmsg(oneMessage(), w.date(d), MSG_TIMESTAMP)
	}))),
	{
		name: "Sendto",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			w.rcvTimeout(d)
			return w.filled.Sendto(make([]byte, 8), 0, nobody)
		},
		object:   func(w *waitWorld) *Socket { return w.filled },
		timedOut: "0 EAGAIN", closed: "0 EBADF", shut: "0 EPIPE", stackOver: "0 EBADF", after: "0 EBADF",
	},
	{
		name: "OobSendmsg",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			m := oneMessage()
			m.Name = nobody
			return w.filled.OobSendmsg(m, w.date(d), 0)
		},
		object:   func(w *waitWorld) *Socket { return w.filled },
		timedOut: "0 ETIMEDOUT", closed: "0 EBADF", shut: "0 EPIPE", stackOver: "0 EBADF", after: "0 EBADF",
	},
	{
		name: "Solicit",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			return 0, oobOf(w.s).Solicit(netip.AddrFrom4(nobody.IP4()), d, 0)
		},
		timedOut: "0 ETIMEDOUT", closed: "0 EBADF", shut: "0 EPIPE", stackOver: "0 EBADF", after: "0 EBADF",
	},
	{
		name: "Poll",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			return w.a.Poll([]PollFd{{Socket: w.s, Events: unix.POLLIN}}, d)
		},
		timedOut: "0 OK", closed: "1 OK", shut: "1 OK", stackOver: "1 OK", after: "1 OK",
	},
	{
		name: "Select",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			var f FdSet
			f.Set(w.s)
			return w.a.Select(&f, nil, nil, d)
		},
		timedOut: "0 OK", closed: "0 EBADF", shut: "1 OK", stackOver: "0 EBADF", after: "0 EBADF",
	},
	{
		name: "Poll of an Epoll",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			return w.a.Poll([]PollFd{{Epoll: w.e, Events: unix.POLLIN}}, d)
		},
		timedOut: "0 OK", closed: "1 OK", shut: "1 OK", stackOver: "1 OK", after: "1 OK",
	},
	{
		name: "Epoll.Wait",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			return w.e.Wait(make([]EpollEvent, 4), d)
		},
		timedOut: "0 OK", closed: "0 EBADF", shut: "1 OK", stackOver: "0 EBADF", after: "0 EBADF",
	},
	{
		name: "Epoll.Wait, of none",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			w.e.Ctl(unix.EPOLL_CTL_DEL, w.s, EpollEvent{})
			return w.e.Wait(make([]EpollEvent, 4), d)
		},
		timedOut: "0 OK", closed: "0 EBADF", stackOver: "0 EBADF", after: "0 EBADF",
	},
	{
		name: "Poll, of none",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			return w.a.Poll([]PollFd{{Fd: -1}}, d)
		},
		timedOut: "0 OK", stackOver: "0 ENETDOWN", after: "0 ENETDOWN",
	},
	{
		name: "Poll, of a kernel's socket",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			in, err := w.a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return 0, err
			}
			defer in.Close()
			return w.a.Poll([]PollFd{{Socket: in, Events: unix.POLLIN}}, d)
		},
		timedOut: "0 OK", stackOver: "0 ENETDOWN", after: "0 ENETDOWN",
	},
	{
		name: "Epoll.Wait, with a kernel's socket",
		call: func(w *waitWorld, d time.Duration) (int, error) {
			in, err := w.a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err == nil {
				defer in.Close()
				w.e.Ctl(unix.EPOLL_CTL_ADD, in, EpollEvent{Events: unix.EPOLLIN})
			}
			return w.e.Wait(make([]EpollEvent, 4), d)
		},
		timedOut: "0 OK", closed: "0 EBADF", shut: "1 OK", stackOver: "0 EBADF", after: "0 EBADF",
	},
}

// outcome puts a call's result into words.
func outcome(n int, err error) string {
	if err == nil {
		return fmt.Sprint(n, " OK")
	}
	return fmt.Sprint(n, " ", unix.ErrnoName(err.(unix.Errno)))
}

// waitEnds are the ways to end a wait.
var waitEnds = []struct {
	name    string
	timeout time.Duration
	before  bool // ended before it begins
	end     func(c *waitingCall, w *waitWorld)
	want    func(c *waitingCall) string
}{
	{"time-out", 5 * time.Millisecond, false, nil, func(c *waitingCall) string { return c.timedOut }},
	{"none", 0, false, nil, func(c *waitingCall) string { return c.timedOut }},
	{"close", -1, false, closeObject, func(c *waitingCall) string { return c.closed }},
	{"close, of the longest", math.MaxInt64, false, closeObject, func(c *waitingCall) string { return c.closed }},
	{"close, of a long one", time.Hour, false, closeObject, func(c *waitingCall) string { return c.closed }},
	{"shutdown", -1, false, shutObject, func(c *waitingCall) string { return c.shut }},
	{"shutdown, of the longest", math.MaxInt64, false, shutObject, func(c *waitingCall) string { return c.shut }},
	{"stack's close", -1, false, closeStack, func(c *waitingCall) string { return c.stackOver }},
	{"stack's close, of the longest", math.MaxInt64, false, closeStack, func(c *waitingCall) string { return c.stackOver }},
	{"after the stack's close", -1, true, closeStack, func(c *waitingCall) string { return c.after }},
	{"after the stack's close, longest", math.MaxInt64, true, closeStack, func(c *waitingCall) string { return c.after }},
	{"after close", -1, true, closeObject, func(c *waitingCall) string { return c.closed }},
}

func closeObject(c *waitingCall, w *waitWorld) {
	switch {
	case c.object != nil:
		c.object(w).Close()
	case c.name == "Poll of an Epoll" || len(c.name) > 5 && c.name[:5] == "Epoll":
		w.e.Close()
	default:
		w.s.Close()
	}
}

func shutObject(c *waitingCall, w *waitWorld) {
	s := w.s
	if c.object != nil {
		s = c.object(w)
	}
	s.Shutdown(unix.SHUT_RDWR)
}

func closeStack(_ *waitingCall, w *waitWorld) { w.a.Stack().Close() }

// TestWaitMatrix: every call that waits ends in every way to end it, whether it
// spins or sleeps, alone or with others, and however much comes for others. A run
// takes some of all combinations, by chance; with a longer -storm all of them.
func TestWaitMatrix(t *testing.T) {
	share := 3
	if raceEnabled {
		share = 12
	}
	spins := map[string]time.Duration{"never": stack.SpinNever, "adaptive": stack.SpinAdaptive,
		"always": stack.SpinAlways, "50us": 50 * time.Microsecond}
	for name, spin := range spins {
		for _, backlog := range []string{idleWire, memoryFlood, deviceFlood} {
			for _, several := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, backlog, several), func(t *testing.T) {
					for i := range waitingCalls {
						for e := range waitEnds {
							if *stormFor <= stormInCI && rand.IntN(share) > 0 {
								continue
							}
							endsWait(t, i, e, spin, backlog, several)
						}
					}
				})
			}
		}
	}
}

// waitSlack is how late a call may be over at best. In an endless backlog that is not
// looked away from it is late by seconds.
const waitSlack = 300 * time.Millisecond

func endsWait(t *testing.T, call, end int, spin time.Duration, backlog string, several int) {
	t.Helper()
	c, e := &waitingCalls[call], &waitEnds[end]
	if e.want(c) == "" {
		return
	}
	for try := 0; ; try++ {
		late := endWait(t, c, end, spin, backlog, several)
		if late < waitSlack {
			return
		}
		if try == 4 { // a busy machine is not always at fault
			t.Errorf("%s, %s: late by %v", c.name, e.name, late)
			return
		}
	}
}

// endWait ends a wait, and returns how much longer it lasted.
func endWait(t *testing.T, c *waitingCall, end int, spin time.Duration, backlog string, several int) (late time.Duration) {
	t.Helper()
	e := &waitEnds[end]
	w := newWaitWorld(t, spin, backlog)
	defer w.a.Stack().Close()
	if e.before {
		e.end(c, w)
	}
	results := make(chan string, several)
	began := time.Now()
	for range several {
		go func() { results <- outcome(c.call(w, e.timeout)) }()
	}
	if e.end != nil && !e.before {
		for range 20 { // most often they wait by then; it ends the same if not
			runtime.Gosched()
		}
		time.Sleep(500 * time.Microsecond)
		e.end(c, w)
		began = time.Now()
	}
	over := began // when it is to be
	if e.end == nil {
		over = began.Add(e.timeout)
	}
	for range several {
		select {
		case got := <-results:
			if want := e.want(c); got != want {
				t.Errorf("%s, %s: %s, want %s", c.name, e.name, got, want)
			}
			if late = time.Since(over); e.end == nil && late < 0 {
				t.Errorf("%s, %s: %v too early", c.name, e.name, -late)
			}
		case <-time.After(30 * time.Second):
			b := make([]byte, 1<<20)
			t.Fatalf("%s, %s: does not end\n%s", c.name, e.name, b[:runtime.Stack(b, true)])
		}
	}
	return late
}
