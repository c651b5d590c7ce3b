package sockapi

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
							for int64(n*sockets)-got.Load() > 200 { // a socket has room for 256, and may be the one that waits
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
					for _, s := range socks {
						t.Logf("%d drops, events %#x", oobOf(s).Drops(), oobOf(s).Events())
					}
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
	if sockets, listed, _, _ := e.set.State(); sockets != 0 || listed != 0 {
		t.Errorf("%d items, %d listed, though all sockets are closed", sockets, listed)
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
