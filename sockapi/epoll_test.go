package sockapi

import (
	"fmt"
	"net/netip"
	"os"
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

// waitAPI returns the sockets of a stack of their own.
func waitAPI(t testing.TB) *API {
	t.Helper()
	st, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return New(st)
}

// waitSocket opens a UDP socket on loopback of the kind that flag says: SOCK_OOB
// or 0.
func waitSocket(t testing.TB, a *API, flag int) *Socket {
	t.Helper()
	s, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Bind(Inet4([4]byte{127, 0, 0, 1}, 0)); err != nil {
		t.Fatal(err)
	}
	return s
}

func waitEpoll(t testing.TB, a *API) *Epoll {
	t.Helper()
	e, err := a.EpollCreate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func nameOf(t testing.TB, s *Socket) Sockaddr {
	t.Helper()
	a, err := s.Getsockname()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A waitScript is a world in which the same calls are made on sockets of either
// kind, and what they return is written down.
type waitScript struct {
	t    testing.TB
	a    *API
	flag int
	e    *Epoll
	s, p *Socket // the socket and its peer
	log  []string
}

func (w *waitScript) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *waitScript) ctl(op int, events uint32, data uint64) {
	w.note("ctl %d %#x: %v", op, events, w.e.Ctl(op, w.s, EpollEvent{events, data}))
}

func (w *waitScript) add(events uint32) { w.ctl(unix.EPOLL_CTL_ADD, events, 1<<40|7) }
func (w *waitScript) mod(events uint32) { w.ctl(unix.EPOLL_CTL_MOD, events, 1<<50|9) }
func (w *waitScript) del()              { w.ctl(unix.EPOLL_CTL_DEL, 0, 0) }

func (w *waitScript) wait() {
	var ev [4]EpollEvent
	n, err := w.e.Wait(ev[:], 0)
	w.note("wait: %x %v", ev[:n], err)
}

// send sends a datagram from the peer to the socket.
func (w *waitScript) send() {
	if _, err := w.p.Sendto([]byte("hello"), 0, nameOf(w.t, w.s)); err != nil {
		w.note("send: %v", err)
	}
}

// reply sends one from the socket to the peer.
func (w *waitScript) reply() {
	_, err := w.s.Sendto([]byte("hello"), 0, nameOf(w.t, w.p))
	w.note("reply: %v", err)
}

func (w *waitScript) recv() {
	n, err := w.s.Recv(make([]byte, 10), 0)
	w.note("recv: %d %v", n, err)
}

func (w *waitScript) shutdown(how int) { w.note("shutdown %d: %v", how, w.s.Shutdown(how)) }

func (w *waitScript) connect(to Sockaddr) { w.note("connect: %v", w.s.Connect(to)) }

// refuse makes the socket get an ICMP error: it sends to a port that nobody has.
func (w *waitScript) refuse() {
	gone := waitSocket(w.t, w.a, w.flag)
	to := nameOf(w.t, gone)
	gone.Close()
	w.connect(to)
	_, err := w.s.Send([]byte("x"), 0)
	w.note("send: %v", err)
}

const etEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI

var waitScripts = []struct {
	name string
	run  func(w *waitScript)
}{
	{"nothing", func(w *waitScript) { w.add(unix.EPOLLIN); w.wait(); w.wait() }},
	{"writable", func(w *waitScript) { w.add(unix.EPOLLOUT); w.wait(); w.wait() }},
	{"writable, all names", func(w *waitScript) { w.add(0xffff); w.wait() }},
	{"level", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"level, two datagrams", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.send()
		w.wait()
		w.recv()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"edge", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.send()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"edge, new datagram unread", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.send()
		w.wait()
		w.send()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"edge, two before a wait", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.send()
		w.send()
		w.wait()
		w.wait()
	}},
	{"edge, read before the wait", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.send()
		w.recv()
		w.wait()
		w.send()
		w.wait()
	}},
	{"edge, in and out", func(w *waitScript) {
		w.add(etEvents | unix.EPOLLET)
		w.wait()
		w.wait()
		w.send()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"edge, a datagram sent", func(w *waitScript) {
		w.add(unix.EPOLLOUT | unix.EPOLLET)
		w.wait()
		w.wait()
		w.reply()
		w.wait()
		w.wait()
	}},
	{"edge, sent, asks for input", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.reply()
		w.wait()
	}},
	{"added when ready", func(w *waitScript) { w.send(); w.add(unix.EPOLLIN); w.wait(); w.recv(); w.wait() }},
	{"added when ready, edge", func(w *waitScript) { w.send(); w.add(unix.EPOLLIN | unix.EPOLLET); w.wait(); w.wait() }},
	{"one-shot", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLONESHOT)
		w.send()
		w.wait()
		w.wait()
		w.send()
		w.wait()
		w.mod(unix.EPOLLIN | unix.EPOLLONESHOT)
		w.wait()
		w.wait()
		w.recv()
		w.recv()
		w.mod(unix.EPOLLIN | unix.EPOLLONESHOT)
		w.wait()
	}},
	{"one-shot, errors", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLONESHOT)
		w.send()
		w.wait()
		w.refuse()
		w.wait()
		w.mod(unix.EPOLLIN)
		w.wait()
	}},
	{"modified", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.mod(unix.EPOLLOUT)
		w.wait()
		w.mod(0)
		w.wait()
		w.mod(unix.EPOLLIN | unix.EPOLLET)
		w.wait()
		w.wait()
		w.mod(unix.EPOLLIN | unix.EPOLLET)
		w.wait()
		w.wait()
	}},
	{"removed", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.del()
		w.wait()
		w.add(unix.EPOLLIN)
		w.wait()
	}},
	{"errors of ctl", func(w *waitScript) {
		w.mod(unix.EPOLLIN)
		w.del()
		w.add(unix.EPOLLIN)
		w.add(unix.EPOLLIN)
		w.ctl(17, 0, 0)
		w.mod(unix.EPOLLIN | unix.EPOLLEXCLUSIVE)
		w.del()
		w.add(unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLRDHUP)
		w.add(unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLONESHOT)
		w.add(unix.EPOLLIN | unix.EPOLLEXCLUSIVE | unix.EPOLLET)
		w.mod(unix.EPOLLIN)
		w.mod(unix.EPOLLIN | unix.EPOLLEXCLUSIVE)
		w.add(unix.EPOLLIN | unix.EPOLLEXCLUSIVE)
		w.send()
		w.wait()
		w.wait()
		w.del()
		w.del()
	}},
	{"no room for events", func(w *waitScript) {
		_, err := w.e.Wait(nil, 0)
		w.note("%v", err)
	}},
	{"closed socket", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.send()
		w.s.Close()
		w.wait()
		w.add(unix.EPOLLIN)
	}},
	{"closed epoll", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.note("%v", w.e.Close())
		w.wait()
		w.del()
		w.note("%v", w.e.Close())
	}},
	{"shut down for reading", func(w *waitScript) {
		w.connect(nameOf(w.t, w.p))
		w.add(0xffff)
		w.wait()
		w.shutdown(unix.SHUT_RD)
		w.wait()
		w.recv()
		w.wait()
	}},
	{"shut down for writing", func(w *waitScript) {
		w.connect(nameOf(w.t, w.p))
		w.add(0xffff)
		w.shutdown(unix.SHUT_WR)
		w.wait()
	}},
	{"shut down for both", func(w *waitScript) {
		w.connect(nameOf(w.t, w.p))
		w.add(0)
		w.shutdown(unix.SHUT_RD)
		w.wait()
		w.shutdown(unix.SHUT_WR)
		w.wait()
		w.mod(0xffff)
		w.wait()
	}},
	{"shut down, edges", func(w *waitScript) {
		w.connect(nameOf(w.t, w.p))
		w.add(etEvents | unix.EPOLLET)
		w.wait()
		w.shutdown(unix.SHUT_RD)
		w.wait()
		w.wait()
		w.shutdown(unix.SHUT_WR)
		w.wait()
		w.wait()
	}},
	{"shut down without a peer", func(w *waitScript) {
		w.add(0xffff)
		w.shutdown(unix.SHUT_RDWR)
		w.wait()
	}},
	{"refused", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLOUT)
		w.refuse()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"refused, nothing asked", func(w *waitScript) { w.add(0); w.refuse(); w.wait(); w.recv(); w.wait() }},
	{"refused, edge", func(w *waitScript) {
		w.add(unix.EPOLLIN | unix.EPOLLET)
		w.refuse()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
	{"refused, SO_ERROR clears", func(w *waitScript) {
		w.add(unix.EPOLLIN)
		w.refuse()
		w.wait()
		v, err := w.s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_ERROR)
		w.note("SO_ERROR %d %v", v, err)
		w.wait()
	}},
	{"error queue", func(w *waitScript) {
		w.note("%v", w.s.SetsockoptInt(unix.SOL_IP, unix.IP_RECVERR, 1))
		w.add(0xffff)
		w.refuse()
		w.wait()
		v, err := w.s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_ERROR)
		w.note("SO_ERROR %d %v", v, err)
		w.wait() // the queue is not empty: still an error
		m := Msghdr{Iov: [][]byte{make([]byte, 10)}, Control: make([]byte, 200)}
		n, err := w.s.Recvmsg(&m, unix.MSG_ERRQUEUE)
		w.note("recvmsg %d %v %#x", n, err, m.Flags)
		w.wait()
	}},
	{"error queue, edges", func(w *waitScript) {
		w.note("%v", w.s.SetsockoptInt(unix.SOL_IP, unix.IP_RECVERR, 1))
		w.add(etEvents | unix.EPOLLET)
		w.wait()
		w.refuse()
		w.wait()
		w.wait()
		w.recv()
		w.wait()
	}},
}

// TestEpollAsLinux runs the scripts in-band, where the kernel's epoll answers,
// and out-of-band, where ours does.
func TestEpollAsLinux(t *testing.T) {
	for _, tt := range waitScripts {
		t.Run(tt.name, func(t *testing.T) {
			var logs [2][]string
			for i, flag := range []int{0, SOCK_OOB} {
				w := &waitScript{t: t, a: waitAPI(t), flag: flag}
				w.e = waitEpoll(t, w.a)
				w.s, w.p = waitSocket(t, w.a, flag), waitSocket(t, w.a, flag)
				tt.run(w)
				logs[i] = w.log
			}
			for i := range max(len(logs[0]), len(logs[1])) {
				if i >= len(logs[0]) || i >= len(logs[1]) || logs[0][i] != logs[1][i] {
					t.Fatalf("step %d differs\n in-band:     %q\n out-of-band: %q", i, logs[0], logs[1])
				}
			}
		})
	}
}

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
					expect(outer, 5*time.Second, EpollEvent{unix.EPOLLIN, 3})
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
				for e.waiter.Waiting() == 0 {
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
		for e.waiter.Waiting() == 0 {
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
		for e.waiter.Waiting() < n {
			runtime.Gosched()
		}
		e.Close()
		for range n {
			if err := <-done; err != unix.EBADF {
				t.Fatalf("Wait: %v", err)
			}
		}
		if fd := e.kernel.fds.Load(); fd >= 0 {
			t.Fatalf("descriptor %d is left", fd)
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

// TestEpollNoLostWakeups has senders, several who wait, and edges: one lost
// wake-up, and the test stands still.
func TestEpollNoLostWakeups(t *testing.T) {
	for _, flags := range []uint32{0, unix.EPOLLET, unix.EPOLLONESHOT} {
		for _, kernel := range []bool{false, true} {
			t.Run(fmt.Sprintf("%#x/kernel=%v", flags, kernel), func(t *testing.T) {
				a := waitAPI(t)
				e := waitEpoll(t, a)
				if kernel {
					e.Ctl(unix.EPOLL_CTL_ADD, waitSocket(t, a, 0), EpollEvent{unix.EPOLLIN, 99})
				}
				const sockets, each, readers = 5, 400, 3
				var socks [sockets]*Socket
				for i := range socks {
					socks[i] = waitSocket(t, a, SOCK_OOB)
					e.Ctl(unix.EPOLL_CTL_ADD, socks[i], EpollEvent{unix.EPOLLIN | flags, uint64(i)})
				}
				var got atomic.Int64
				var wg sync.WaitGroup
				for range readers {
					wg.Go(func() {
						var ev [2]EpollEvent
						b := make([]byte, 10)
						for {
							n, err := e.Wait(ev[:], -1)
							if err != nil {
								return
							}
							for _, v := range ev[:n] {
								for {
									if _, err := socks[v.Data].Recv(b, 0); err != nil {
										break
									}
									if got.Add(1) == sockets*each {
										e.Close()
									}
								}
								if flags == unix.EPOLLONESHOT {
									e.Ctl(unix.EPOLL_CTL_MOD, socks[v.Data], EpollEvent{unix.EPOLLIN | flags, v.Data})
								}
							}
						}
					})
				}
				for i := range sockets {
					p := waitSocket(t, a, SOCK_OOB)
					to := nameOf(t, socks[i])
					wg.Go(func() {
						for n := range each {
							p.Sendto([]byte("x"), 0, to)
							if (n+i)%5 == 0 {
								runtime.Gosched()
							}
							for int64(n*sockets)-got.Load() > 300 { // no drops
								runtime.Gosched()
							}
						}
					})
				}
				done := make(chan struct{})
				go func() { wg.Wait(); close(done) }()
				select {
				case <-done:
				case <-time.After(20 * time.Second):
					t.Fatalf("stands still after %d of %d", got.Load(), sockets*each)
				}
			})
		}
	}
}

// TestEpollStirred adds, changes, removes and closes while events come.
func TestEpollStirred(t *testing.T) {
	a := waitAPI(t)
	e, outer := waitEpoll(t, a), waitEpoll(t, a)
	outer.CtlEpoll(unix.EPOLL_CTL_ADD, e, EpollEvent{unix.EPOLLIN, 1})
	p := waitSocket(t, a, SOCK_OOB)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var current atomic.Pointer[Socket]
	current.Store(waitSocket(t, a, SOCK_OOB))
	loop := func(f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
					runtime.Gosched()
				}
			}
		})
	}
	loop(func() {
		s := waitSocket(t, a, SOCK_OOB)
		e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLIN, 1})
		current.Swap(s).Close()
	})
	loop(func() { e.Ctl(unix.EPOLL_CTL_MOD, current.Load(), EpollEvent{unix.EPOLLIN | unix.EPOLLET, 2}) })
	loop(func() { e.Ctl(unix.EPOLL_CTL_DEL, current.Load(), EpollEvent{}) })
	loop(func() {
		if to, err := current.Load().Getsockname(); err == nil {
			p.Sendto([]byte("x"), 0, to)
		}
	})
	loop(func() { e.Wait(make([]EpollEvent, 4), 50*time.Microsecond) })
	loop(func() { outer.Wait(make([]EpollEvent, 4), 50*time.Microsecond) })
	loop(func() {
		outer.CtlEpoll(unix.EPOLL_CTL_DEL, e, EpollEvent{})
		outer.CtlEpoll(unix.EPOLL_CTL_ADD, e, EpollEvent{unix.EPOLLIN, 1})
	})
	time.Sleep(200 * time.Millisecond)
	close(stop)
	wg.Wait()
	current.Load().Close()
	e.ctl.Lock()
	defer e.ctl.Unlock()
	if len(e.sockets) != 0 || e.ready.n.Load() != 0 {
		t.Errorf("%d items, %d listed, though all sockets are closed", len(e.sockets), e.ready.n.Load())
	}
}

// TestEpollDescriptors shows that nothing is left open.
func TestEpollDescriptors(t *testing.T) {
	a := waitAPI(t)
	once := func() {
		e, outer := waitEpoll(t, a), waitEpoll(t, a)
		in, s := waitSocket(t, a, 0), waitSocket(t, a, SOCK_OOB)
		e.Ctl(unix.EPOLL_CTL_ADD, in, EpollEvent{unix.EPOLLIN, 1})
		e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLIN, 1})
		outer.CtlEpoll(unix.EPOLL_CTL_ADD, e, EpollEvent{unix.EPOLLIN, 1})
		outer.Wait(make([]EpollEvent, 1), time.Millisecond)
		a.Poll([]PollFd{{Socket: in, Events: unix.POLLIN}, {Socket: s, Events: unix.POLLIN}}, time.Millisecond)
		for _, c := range []interface{ Close() error }{e, outer, in, s} {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	once()
	before := openDescriptors(t)
	for range 20 {
		once()
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func openDescriptors(t testing.TB) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(d)
}

func TestEpollWaitAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a := waitAPI(t)
	e := waitEpoll(t, a)
	s := waitSocket(t, a, SOCK_OOB)
	in := waitSocket(t, a, 0)
	e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLIN, 1})
	for name, kernel := range map[string]bool{"out-of-band": false, "both": true} {
		if kernel {
			e.Ctl(unix.EPOLL_CTL_ADD, in, EpollEvent{unix.EPOLLIN, 1})
		}
		var ev [4]EpollEvent
		b := make([]byte, 10)
		to := nameOf(t, s)
		if n := testing.AllocsPerRun(100, func() {
			e.Wait(ev[:], time.Microsecond)
			s.Sendto(b, 0, to)
			if n, _ := e.Wait(ev[:], -1); n != 1 {
				t.Fatal(n)
			}
			s.Recv(b, 0)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkEpollWait is a datagram and the Wait that returns its socket, of few
// or of many.
func BenchmarkEpollWait(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := waitAPI(b)
			e := waitEpoll(b, a)
			socks := make([]*Socket, n)
			for i := range socks {
				socks[i] = waitSocket(b, a, SOCK_OOB)
				if err := e.Ctl(unix.EPOLL_CTL_ADD, socks[i], EpollEvent{unix.EPOLLIN, uint64(i)}); err != nil {
					b.Fatal(err)
				}
			}
			p := waitSocket(b, a, SOCK_OOB)
			s := socks[n/2]
			to := nameOf(b, s)
			var ev [8]EpollEvent
			buf := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				p.Sendto(buf, 0, to)
				if k, err := e.Wait(ev[:], -1); k != 1 || err != nil || ev[0].Data != uint64(n/2) {
					b.Fatal(k, err, ev[0])
				}
				s.Recv(buf, 0)
			}
		})
	}
}

// BenchmarkEpollWaitOnly is a Wait alone that returns one socket of many.
func BenchmarkEpollWaitOnly(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := waitAPI(b)
			e := waitEpoll(b, a)
			var s *Socket
			for i := range n {
				s = waitSocket(b, a, SOCK_OOB)
				e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{unix.EPOLLIN, uint64(i)})
			}
			s.Sendto([]byte("x"), 0, nameOf(b, s))
			var ev [8]EpollEvent
			b.ReportAllocs()
			for b.Loop() {
				if k, err := e.Wait(ev[:], -1); k != 1 || err != nil {
					b.Fatal(k, err)
				}
			}
		})
	}
}
