package conformance

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// TestDeadlineUnderFlood: a call ends in time although frames for others come as fast
// as the ring takes them in.
func TestDeadlineUnderFlood(t *testing.T) {
	const d, slack = 20 * time.Millisecond, 200 * time.Millisecond
	for name, spin := range spins {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{stack: stack.Config{Spin: spin}})
			w.udp(9) // whose queue is full
			a := sockapi.New(w.stack)
			s, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
			check(t, err)
			check(t, s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, d))
			e, err := a.EpollCreate()
			check(t, err)
			defer e.Close()
			check(t, e.Ctl(unix.EPOLL_CTL_ADD, s, sockapi.EpollEvent{Events: unix.EPOLLIN}))
			var over atomic.Bool
			var flood sync.WaitGroup
			defer flood.Wait()
			defer over.Store(true)
			for range 2 {
				peer := w.far.UDP(t, 0)
				flood.Go(func() {
					for b := make([]byte, 18); !over.Load(); {
						_ = peer.SendTo(b, w.ours(9)) // full or not
					}
				})
			}
			m := sockapi.Msghdr{Iov: [][]byte{make([]byte, 8)}}
			for name, call := range map[string]func() error{
				"Recv":       func() error { _, err := s.Recv(make([]byte, 8), 0); return err },
				"OobRecvmsg": func() error { _, err := s.OobRecvmsg(&m, a.Date(d), 0); return err },
				"Poll":       func() error { _, err := a.Poll([]sockapi.PollFd{{Socket: s, Events: unix.POLLIN}}, d); return err },
				"Wait":       func() error { _, err := e.Wait(make([]sockapi.EpollEvent, 1), d); return err },
			} {
				least := time.Duration(math.MaxInt64)
				for range 4 {
					began := time.Now()
					if err := call(); err != nil && err != unix.EAGAIN && err != unix.ETIMEDOUT {
						t.Errorf("%s: %v", name, err)
					}
					took := time.Since(began)
					if least = min(least, took); took < d {
						t.Errorf("%s: over after %v", name, took)
					}
				}
				if least > d+slack {
					t.Errorf("%s: %v at best, for a time-out of %v", name, least, d)
				}
			}
			began := time.Now()
			if _, err := s.Recv(make([]byte, 8), unix.MSG_DONTWAIT); err != unix.EAGAIN || time.Since(began) > time.Second {
				t.Errorf("a call that does not wait: %v after %v", err, time.Since(began))
			}
		})
	}
}
