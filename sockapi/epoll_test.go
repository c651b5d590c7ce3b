package sockapi

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// TestEpollMaxEvents shows that what does not fit is reported next, in turn.
func TestEpollMaxEvents(t *testing.T) {
	var logs [2]string
	for i, flag := range []int{0, SOCK_OOB} {
		a := waitAPI(t)
		e := waitEpoll(t, a)
		p := waitSocket(t, a, flag)
		for n := range 5 {
			s := waitSocket(t, a, flag)
			if err := e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLIN, uint64(n)}); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Sendto([]byte("x"), 0, nameOf(t, s)); err != nil {
				t.Fatal(err)
			}
		}
		var ev [2]EpollEvent
		for range 6 {
			n, err := e.Wait(ev[:], 0)
			logs[i] += fmt.Sprint(ev[:n], err, "; ")
		}
	}
	if logs[0] != logs[1] {
		t.Fatalf("in-band:     %s\nout-of-band: %s", logs[0], logs[1])
	}
}

// nestKernelOracle makes the same nest of the kernel's epolls.
func kernelNest(t *testing.T, n int, link func(i, j int) bool) []error {
	fds := make([]int, n)
	for i := range fds {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	var out []error
	for i := range n {
		for j := range n {
			if link(i, j) {
				out = append(out, unix.EpollCtl(fds[i], unix.EPOLL_CTL_ADD, fds[j], &unix.EpollEvent{Events: unix.EPOLLIN}))
			}
		}
	}
	return out
}

func TestEpollNestingLimits(t *testing.T) {
	for name, link := range map[string]func(i, j int) bool{
		"itself":               func(i, j int) bool { return i == 0 && j == 0 },
		"chain":                func(i, j int) bool { return j == i+1 },
		"chain from inside":    func(i, j int) bool { return i == 7-j+1 && i > 0 },
		"ring":                 func(i, j int) bool { return j == (i+1)%3 && i < 3 },
		"both ways":            func(i, j int) bool { return i < 2 && j < 2 && i != j },
		"twice":                func(i, j int) bool { return i == 0 && j <= 1 },
		"joined in the middle": func(i, j int) bool { return j == i+1 && i != 3 || i == 7 && j == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			const n = 8
			a := waitAPI(t)
			var es [n]*Epoll
			for i := range es {
				es[i] = waitEpoll(t, a)
			}
			var got []error
			for i := range n {
				for j := range n {
					if link(i, j) {
						got = append(got, es[i].CtlEpoll(unix.EPOLL_CTL_ADD, es[j], EpollEvent{Events: unix.EPOLLIN}))
					}
				}
			}
			if want := kernelNest(t, n, link); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("out-of-band: %v\nin-band:     %v", got, want)
			}
		})
	}
}

// TestEpollNested has a socket two steps inside, of either kind and of a kernel
// descriptor added later.
func TestEpollNested(t *testing.T) {
	for _, flag := range []int{0, SOCK_OOB} {
		for _, late := range []bool{false, true} {
			for _, edge := range []uint32{0, unix.EPOLLET} {
				t.Run(fmt.Sprintf("%#x/late=%v/%#x", flag, late, edge), func(t *testing.T) {
					a := waitAPI(t)
					outer, middle, inner := waitEpoll(t, a), waitEpoll(t, a), waitEpoll(t, a)
					s, p := waitSocket(t, a, flag), waitSocket(t, a, flag)
					add := func() {
						if err := inner.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLIN, 1}); err != nil {
							t.Fatal(err)
						}
					}
					if !late {
						add()
					}
					if err := middle.CtlEpoll(unix.EPOLL_CTL_ADD, inner, EpollEvent{unix.EPOLLIN, 2}); err != nil {
						t.Fatal(err)
					}
					if err := outer.CtlEpoll(unix.EPOLL_CTL_ADD, middle, EpollEvent{unix.EPOLLIN | edge, 3}); err != nil {
						t.Fatal(err)
					}
					if late {
						add()
					}
					var ev [4]EpollEvent
					expect := func(e *Epoll, timeout time.Duration, want ...EpollEvent) {
						t.Helper()
						if n, err := e.Wait(ev[:], timeout); err != nil || fmt.Sprint(ev[:n]) != fmt.Sprint(want) {
							t.Fatalf("Wait: %v %v, want %v", ev[:n], err, want)
						}
					}
					expect(outer, 0)
					go func() {
						time.Sleep(time.Millisecond)
						p.Sendto([]byte("x"), 0, nameOf(t, s))
					}()
					expect(outer, time.Minute, EpollEvent{unix.EPOLLIN, 3})
					if edge != 0 {
						expect(outer, 0)
					} else {
						expect(outer, 0, EpollEvent{unix.EPOLLIN, 3})
					}
					expect(middle, 0, EpollEvent{unix.EPOLLIN, 2})
					expect(inner, 0, EpollEvent{unix.EPOLLIN, 1})
					s.Recv(make([]byte, 10), 0)
					expect(outer, 0)
					expect(inner, 0)
					p.Sendto([]byte("x"), 0, nameOf(t, s))
					expect(outer, time.Second, EpollEvent{unix.EPOLLIN, 3})
					if err := outer.CtlEpoll(unix.EPOLL_CTL_DEL, middle, EpollEvent{}); err != nil {
						t.Fatal(err)
					}
					expect(outer, 0)
					if err := outer.CtlEpoll(unix.EPOLL_CTL_ADD, middle, EpollEvent{unix.EPOLLIN, 4}); err != nil {
						t.Fatal(err)
					}
					expect(outer, 0, EpollEvent{unix.EPOLLIN, 4})
					middle.Close()
					expect(outer, 0)
					if err := outer.CtlEpoll(unix.EPOLL_CTL_DEL, middle, EpollEvent{}); err != unix.EBADF {
						t.Fatalf("closed: %v", err)
					}
				})
			}
		}
	}
}

// TestEpollWakesSleepers sleeps for each kind of event.
func TestEpollWakesSleepers(t *testing.T) {
	a := waitAPI(t)
	e := waitEpoll(t, a)
	s, p := waitSocket(t, a, SOCK_OOB), waitSocket(t, a, SOCK_OOB)
	in := waitSocket(t, a, 0)
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLIN, 1})
	for name, step := range map[string]struct {
		do   func()
		data uint64
		undo func()
	}{
		"datagram": {func() { p.Sendto([]byte("x"), 0, nameOf(t, s)) }, 1, func() { s.Recv(make([]byte, 9), 0) }},
		"pipe":     {func() { unix.Write(fds[1], []byte("x")) }, 2, func() { unix.Read(fds[0], make([]byte, 9)) }},
		"in-band":  {func() { in.Sendto([]byte("x"), 0, nameOf(t, in)) }, 3, func() { in.Recv(make([]byte, 9), 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "datagram" {
				e.CtlFd(unix.EPOLL_CTL_ADD, fds[0], EpollEvent{unix.EPOLLIN, 2})
				e.Ctl(unix.EPOLL_CTL_ADD, in, EpollEvent{unix.EPOLLIN, 3})
			}
			for range 50 {
				got := make(chan EpollEvent)
				go func() {
					var ev [1]EpollEvent
					e.Wait(ev[:], 10*time.Second)
					got <- ev[0]
				}()
				for sleepersOf(e) == 0 {
					runtime.Gosched()
				}
				step.do()
				if ev := <-got; ev.Data != step.data || ev.Events != unix.EPOLLIN {
					t.Fatalf("got %v", ev)
				}
				step.undo()
			}
		})
	}
}

// TestEpollBothKinds has neither kind hide the other.
func TestEpollBothKinds(t *testing.T) {
	a := waitAPI(t)
	e := waitEpoll(t, a)
	s, in := waitSocket(t, a, SOCK_OOB), waitSocket(t, a, 0)
	e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLOUT, 1})
	e.Ctl(unix.EPOLL_CTL_ADD, in, EpollEvent{unix.EPOLLOUT, 1<<63 | 2})
	seen := map[uint64]int{}
	for range 10 {
		var ev [1]EpollEvent
		if n, err := e.Wait(ev[:], 0); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		seen[ev[0].Data]++
	}
	if seen[1] != 5 || seen[1<<63|2] != 5 {
		t.Errorf("seen %v", seen)
	}
	var ev [4]EpollEvent
	if n, _ := e.Wait(ev[:], 0); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

// TestEpollExclusive wakes one of several.
func TestEpollExclusive(t *testing.T) {
	a := waitAPI(t)
	s, p := waitSocket(t, a, SOCK_OOB), waitSocket(t, a, SOCK_OOB)
	const n = 4
	var es [n]*Epoll
	var woken atomic.Int32
	var wg sync.WaitGroup
	for i := range es {
		es[i] = waitEpoll(t, a)
		if err := es[i].Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLIN | unix.EPOLLEXCLUSIVE, 1}); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			var ev [1]EpollEvent
			if k, err := es[i].Wait(ev[:], -1); k == 1 && err == nil {
				woken.Add(1)
			}
		})
	}
	for _, e := range es {
		for sleepersOf(e) == 0 {
			runtime.Gosched()
		}
	}
	p.Sendto([]byte("x"), 0, nameOf(t, s))
	for woken.Load() == 0 {
		runtime.Gosched()
	}
	time.Sleep(5 * time.Millisecond)
	if k := woken.Load(); k != 1 {
		t.Errorf("%d woken by one datagram", k)
	}
	for _, e := range es {
		e.Close()
	}
	wg.Wait()
}

func TestEpollCloseWakes(t *testing.T) {
	for _, kernel := range []bool{false, true} {
		a := waitAPI(t)
		e := waitEpoll(t, a)
		if kernel {
			e.Ctl(unix.EPOLL_CTL_ADD, waitSocket(t, a, 0), EpollEvent{unix.EPOLLIN, 1})
		}
		done := make(chan error)
		const n = 3
		for range n {
			go func() {
				_, err := e.Wait(make([]EpollEvent, 1), -1)
				done <- err
			}()
		}
		for sleepersOf(e) < n {
			runtime.Gosched()
		}
		e.Close()
		for range n {
			if err := <-done; err != unix.EBADF {
				t.Fatalf("Wait: %v", err)
			}
		}
		if fds := e.set.Descriptors(); len(fds) > 0 {
			t.Fatalf("descriptors %d are left", fds)
		}
	}
}

// TestEpollTimeout sleeps in simulated time.
func TestEpollTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pipe.New(pipe.Options{})
		_ = far
		st, err := stack.New(stack.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		i, err := st.AddLink(near, stack.InterfaceConfig{})
		if err != nil {
			t.Fatal(err)
		}
		i.AddAddress(netip.MustParsePrefix("10.9.0.1/24"))
		a := New(st)
		e := waitEpoll(t, a)
		defer e.Close()
		s := waitSocket(t, a, SOCK_OOB)
		defer s.Close()
		e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLIN, 1})
		start := time.Now()
		if n, err := e.Wait(make([]EpollEvent, 1), time.Minute); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if d := time.Since(start); d != time.Minute {
			t.Errorf("slept %v", d)
		}
		time.AfterFunc(time.Second, func() { s.Sendto([]byte("x"), 0, nameOf(t, s)) })
		start = time.Now()
		if n, err := e.Wait(make([]EpollEvent, 1), -1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if d := time.Since(start); d < time.Second || d > time.Second+time.Millisecond {
			t.Errorf("woken after %v", d)
		}
	})
}
