package sockapi

import (
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// pair returns a socket that is bound, of an API, and one that sends to it.
func napPair(t *testing.T, a *API) (rx, tx *Socket) {
	t.Helper()
	for _, s := range []**Socket{&rx, &tx} {
		var err error
		if *s, err = a.Socket(unix.AF_INET, unix.SOCK_DGRAM|SOCK_OOB, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := rx.Bind(Inet4([4]byte{127, 0, 0, 1}, 0)); err != nil {
		t.Fatal(err)
	}
	local, _ := rx.Getsockname()
	if err := tx.Connect(local); err != nil {
		t.Fatal(err)
	}
	return rx, tx
}

func TestPollWith(t *testing.T) {
	a := snapshotAPI(t)
	rx, tx := napPair(t, a)
	var cut atomic.Uint32
	h := &stack.Handle{Word: &cut, Awake: true}
	set := []PollFd{{Socket: rx, Events: unix.POLLIN}, {Fd: -1}}
	poll := func(budget time.Duration, want int, err error) {
		t.Helper()
		if n, e := a.PollWith(h, set, budget); n != want || e != err {
			t.Errorf("budget %v: %d, %v, want %d, %v", budget, n, e, want, err)
		}
	}
	poll(stack.SpinNever, 0, nil)
	began := time.Now()
	poll(2*time.Millisecond, 0, nil)
	if d := time.Since(began); d < 2*time.Millisecond {
		t.Errorf("it looks for %v", d)
	}
	cut.Store(1)
	poll(stack.SpinAlways, 0, unix.EINTR)
	cut.Store(0)
	time.AfterFunc(time.Millisecond, func() { cut.Store(1) })
	poll(stack.SpinAlways, 0, unix.EINTR)
	cut.Store(0)
	time.AfterFunc(time.Millisecond, func() { tx.Send([]byte("x"), 0) })
	poll(stack.SpinAlways, 1, nil)
	cut.Store(1)
	poll(stack.SpinAlways, 1, nil) // what is there, before what ends the call
	if set[0].Revents != unix.POLLIN {
		t.Errorf("revents %#x", set[0].Revents)
	}
	rx.Recv(make([]byte, 1), 0)
	a.Stack().Close()
	poll(stack.SpinNever, 1, nil) // POLLNVAL
	set = set[1:]
	poll(stack.SpinAlways, 0, unix.ENETDOWN)
}

// An event that comes while the caller sleeps makes one of the descriptors readable, whatever
// it is of.
func TestArm(t *testing.T) {
	a := snapshotAPI(t)
	rx, tx := napPair(t, a)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	e, err := a.EpollCreate()
	if err != nil {
		t.Fatal(err)
	}
	inner, innerTx := napPair(t, a)
	if err := e.Ctl(unix.EPOLL_CTL_ADD, inner, EpollEvent{Events: unix.EPOLLIN}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	events := make([]EpollEvent, 1)
	set := []PollFd{{Socket: rx, Events: unix.POLLIN}, {Fd: int(r.Fd()), Events: unix.POLLIN}, {Epoll: e, Events: unix.POLLIN}}
	for name, tt := range map[string]struct {
		which      int
		come, take func()
	}{
		"a datagram":    {0, func() { tx.Send(b, 0) }, func() { rx.Recv(b, 0) }},
		"the kernel's":  {1, func() { w.Write(b) }, func() { r.Read(b) }},
		"in an Epoll":   {2, func() { innerTx.Send(b, 0) }, func() { inner.Recv(b, 0); e.Wait(events, 0) }},
		"a closed one":  {0, func() { rx.Close() }, func() { rx, tx = napPair(t, a); set[0].Socket = rx }},
		"and once more": {0, func() { tx.Send(b, 0) }, func() { rx.Recv(b, 0) }},
	} {
		nap, on := armed(t, a, set)
		if readable(on, 0) {
			t.Errorf("%s: there is nothing, and a descriptor is readable", name)
		}
		tt.come()
		if !readable(on, 20*time.Second) {
			t.Errorf("%s: no descriptor is readable", name)
		}
		if n := nap.Disarm(set); n != 1 || set[tt.which].Revents == 0 {
			t.Errorf("%s: %d are ready: %+v", name, n, set)
		}
		nap, _, until, err := a.Arm(set, nil)
		if err != nil || until > a.Stack().Monotonic() {
			t.Errorf("%s: it is there, and the caller is to sleep until %d: %v", name, until, err)
		}
		if n := nap.Disarm(set); n != 1 {
			t.Errorf("%s: not at once: %d", name, n)
		}
		tt.take()
	}
}

// armed arms until the caller may sleep: a timer of the stack's may have been due.
func armed(t *testing.T, a *API, set []PollFd) (Nap, []int) {
	t.Helper()
	for range 100 {
		nap, on, until, err := a.Arm(set, nil)
		if err != nil || len(on) == 0 {
			t.Fatalf("descriptors %d: %v", on, err)
		}
		if until > a.Stack().Monotonic() {
			return nap, on
		}
		if n := nap.Disarm(set); n != 0 {
			t.Fatalf("%d are ready", n)
		}
	}
	t.Fatal("the caller may never sleep")
	return Nap{}, nil
}

// readable reports whether one of some descriptors is, or becomes so within a time.
func readable(on []int, within time.Duration) bool {
	set := make([]unix.PollFd, len(on))
	for i, fd := range on {
		set[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	n, _ := unix.Poll(set, int(within/time.Millisecond))
	return n > 0
}

// A stack that is closed has nobody sleep, and what sleeping took is given back.
func TestArmClosed(t *testing.T) {
	before, _ := os.ReadDir("/proc/self/fd")
	st, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	a := New(st)
	rx, _ := napPair(t, a)
	set := []PollFd{{Socket: rx, Events: unix.POLLIN}}
	naps := make([]Nap, 3)
	var on []int
	for i := range naps {
		naps[i], on = armed(t, a, set)
	}
	naps[0].Disarm(set)
	st.Close()
	if !readable(on, 20*time.Second) {
		t.Error("the stack is closed, and the caller sleeps")
	}
	for _, n := range naps[1:] {
		if n := n.Disarm(set); n != 1 || set[0].Revents != unix.POLLNVAL {
			t.Errorf("%d, revents %#x", n, set[0].Revents)
		}
	}
	if after, _ := os.ReadDir("/proc/self/fd"); len(after) > len(before) {
		t.Errorf("%d descriptors, %d before", len(after), len(before))
	}
}

// No sleep allocates, nor opens a descriptor, after the first.
func TestArmAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has pools forget")
	}
	a := snapshotAPI(t)
	rx, _ := napPair(t, a)
	set := []PollFd{{Socket: rx, Events: unix.POLLIN}}
	on := make([]int, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		nap, _, _, err := a.Arm(set, on)
		if err != nil {
			t.Fatal(err)
		}
		nap.Disarm(set)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
