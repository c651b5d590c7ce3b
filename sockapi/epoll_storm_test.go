package sockapi

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi/internal/epoll"
)

// stormFor is how long storms last: in CI long enough to find what has been found.
var stormFor = flag.Duration("storm", stormInCI, "how long each storm of calls lasts")

const stormInCI = 2 * time.Second

// watchdog fails the test, with all stacks, if it is not stopped in time.
func watchdog(t testing.TB, limit time.Duration) (stop func()) {
	timer := time.AfterFunc(limit, func() {
		b := make([]byte, 1<<20)
		panic(t.Name() + " stands still\n" + string(b[:runtime.Stack(b, true)]))
	})
	return func() { timer.Stop() }
}

// TestEpollNestStorm puts a few Epolls into one another and takes them out, closes
// them and opens new ones, while what is in them becomes ready: whatever the
// order, nothing stands still, and nothing is left.
func TestEpollNestStorm(t *testing.T) {
	a := waitAPI(t)
	before := openDescriptors(t)
	defer watchdog(t, *stormFor+5*time.Second)()
	const epolls, sockets = 5, 3
	var es [epolls]atomic.Pointer[Epoll]
	open := func() *Epoll {
		e, err := a.EpollCreate()
		if err != nil {
			t.Error(err)
		}
		return e
	}
	for i := range es {
		es[i].Store(open())
	}
	var ss, in [sockets]*Socket
	for i := range ss {
		ss[i], in[i] = waitSocket(t, a, SOCK_OOB), waitSocket(t, a, 0)
	}
	ops := []int{unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_MOD, unix.EPOLL_CTL_DEL}
	flags := []uint32{0, 0, unix.EPOLLET, unix.EPOLLONESHOT}
	var wg sync.WaitGroup
	end := time.Now().Add(*stormFor)
	var events [8]func(r *rand.Rand)
	any := func(r *rand.Rand) *Epoll { return es[r.IntN(epolls)].Load() }
	event := func(r *rand.Rand) EpollEvent {
		return EpollEvent{unix.EPOLLIN | flags[r.IntN(4)], r.Uint64()}
	}
	events = [...]func(r *rand.Rand){
		func(r *rand.Rand) { any(r).CtlEpoll(ops[r.IntN(4)], any(r), event(r)) },
		func(r *rand.Rand) { any(r).CtlEpoll(ops[r.IntN(4)], any(r), event(r)) },
		func(r *rand.Rand) { any(r).Ctl(ops[r.IntN(4)], ss[r.IntN(sockets)], event(r)) },
		func(r *rand.Rand) { any(r).Ctl(ops[r.IntN(4)], in[r.IntN(sockets)], event(r)) },
		func(r *rand.Rand) {
			s := [][sockets]*Socket{ss, in}[r.IntN(2)][r.IntN(sockets)]
			if to, err := s.Getsockname(); err == nil {
				s.Sendto([]byte("x"), 0, to)
			}
			if r.IntN(2) == 0 {
				s.Recv(make([]byte, 4), 0)
			}
		},
		func(r *rand.Rand) {
			any(r).Wait(make([]EpollEvent, 4), time.Duration(r.IntN(50))*time.Microsecond)
		},
		func(r *rand.Rand) {
			a.Poll([]PollFd{{Epoll: any(r), Events: unix.POLLIN}}, time.Duration(r.IntN(50))*time.Microsecond)
		},
		func(r *rand.Rand) {
			switch r.IntN(8) {
			case 0:
				es[r.IntN(epolls)].Swap(open()).Close()
			case 1:
				any(r).PollFD()
			}
		},
	}
	for w := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), uint64(end.UnixNano())))
			for time.Now().Before(end) {
				for range 50 {
					events[r.IntN(len(events))](r)
				}
			}
		})
	}
	wg.Wait()
	for i := range es {
		es[i].Load().Close()
	}
	for i := range ss {
		ss[i].Close()
		in[i].Close()
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestEpollNestAsLinux makes the same random changes to Epolls and to epolls of the
// kernel's, and compares errors and what is readable after each.
func TestEpollNestAsLinux(t *testing.T) {
	a := waitAPI(t)
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	const epolls = 8
	var ours [epolls]*Epoll
	var linux [epolls]int
	s, k := waitSocket(t, a, SOCK_OOB), waitSocket(t, a, 0)
	fd, _ := k.PollFD()
	open := func(i int) {
		ours[i] = waitEpoll(t, a)
		var err error
		if linux[i], err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	for i := range ours {
		open(i)
	}
	defer func() {
		for _, fd := range linux {
			unix.Close(fd)
		}
	}()
	ops := []int{unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_MOD, unix.EPOLL_CTL_DEL}
	flags := []uint32{0, 0, 0, unix.EPOLLET, unix.EPOLLONESHOT, unix.EPOLLEXCLUSIVE}
	for n := range 3000 {
		i, j, op := r.IntN(epolls), r.IntN(epolls), ops[r.IntN(len(ops))]
		ev := EpollEvent{unix.EPOLLIN | flags[r.IntN(len(flags))], uint64(n)}
		var got, want error
		what := "CtlEpoll"
		switch c := r.IntN(20); {
		case c < 9:
			got, want = ours[i].CtlEpoll(op, ours[j], ev), unix.EpollCtl(linux[i], op, linux[j], epoll.KernelEvent(epoll.Event(ev)))
		case c < 11: // a socket of each kind in ours, the kernel's in both
			what = "Ctl"
			got, want = ours[i].Ctl(op, s, ev), unix.EpollCtl(linux[i], op, fd, epoll.KernelEvent(epoll.Event(ev)))
		case c == 11 && n%3 == 0:
			what = "Close"
			ours[i].Close()
			unix.Close(linux[i])
			open(i)
		case c < 14:
			what = "a datagram"
			s.Sendto([]byte("x"), 0, nameOf(t, s))
			k.Sendto([]byte("x"), 0, nameOf(t, k))
		case c < 17:
			what = "Recv"
			s.Recv(make([]byte, 1), 0)
			k.Recv(make([]byte, 1), 0)
		default:
			what = "Wait"
			var a [epolls]EpollEvent
			var b [epolls]unix.EpollEvent
			x, _ := ours[i].Wait(a[:], 0)
			y := epoll.EpollNow(linux[i], b[:])
			if x != y {
				for e := range y {
					t.Logf("Linux: %+v", epoll.UserEvent(&b[e]))
				}
				t.Fatalf("seed %d, step %d: Wait of %d returns %+v, Linux %d", seed, n, i, a[:x], y)
			}
		}
		if got == nil != (want == nil) || got != nil && got != want {
			t.Fatalf("seed %d, step %d: %s %d of %d in %d, %+v: %v, Linux says %v", seed, n, what, op, j, i, ev, got, want)
		}
	}
}
