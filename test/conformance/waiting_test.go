package conformance

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// spins are the ways in which a receiver may wait.
var spins = map[string]time.Duration{
	"never": stack.SpinNever, "adaptive": stack.SpinAdaptive, "200us": 200 * time.Microsecond, "always": stack.SpinAlways,
}

// A reader who waits gets what comes, however he waits and however long it takes.
func TestBlockedReader(t *testing.T) {
	for name, spin := range spins {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{stack: stack.Config{Spin: spin}})
			k, peer := w.udp(7), w.far.UDP(t, 7)
			w.echoOnce(k, peer, []byte("resolve"))
			r := w.reader(k)
			for i := range 60 {
				pause := []time.Duration{0, 20 * time.Microsecond, 200 * time.Microsecond, 3 * time.Millisecond}[i%4]
				for end := time.Now().Add(pause); time.Now().Before(end); time.Sleep(pause / 4) {
				}
				b := fmt.Sprint("datagram ", i)
				check(t, peer.SendTo([]byte(b), w.ours(7)))
				r.want(t, b)
			}
		})
	}
}

// A deadline is kept: never early, and late by no more than the machine makes it.
func TestDeadline(t *testing.T) {
	const slack = 8 * time.Millisecond
	for name, spin := range spins {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{})
			k := w.udp(7)
			k.Spinner().Set(spin)
			b := make([]byte, 1)
			for _, d := range []time.Duration{0, 300 * time.Microsecond, 5 * time.Millisecond, 30 * time.Millisecond} {
				least := time.Hour
				for range 5 {
					begin := time.Now()
					_, _, err := k.Recv(b, 0, w.stack.Deadline(d))
					took := time.Since(begin)
					wantErr(t, err, unix.EAGAIN)
					if took < d {
						t.Errorf("deadline %v: back after %v", d, took)
					}
					least = min(least, took)
				}
				if least > d+slack {
					t.Errorf("deadline %v: back after %v at best", d, least)
				}
			}
			_, _, err := k.Recv(b, unix.MSG_DONTWAIT, stack.NoDeadline)
			wantErr(t, err, unix.EAGAIN)
		})
	}
}

// A deadline is kept by a follower too: somebody else leads all the while.
func TestDeadlineOfFollower(t *testing.T) {
	for name, spin := range spins {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{stack: stack.Config{Spin: spin}})
			leader, k := w.udp(7), w.udp(8)
			r := w.reader(leader)
			for range 3 {
				begin := time.Now()
				_, _, err := k.Recv(make([]byte, 1), 0, w.stack.Deadline(10*time.Millisecond))
				wantErr(t, err, unix.EAGAIN)
				if took := time.Since(begin); took < 10*time.Millisecond || took > time.Second {
					t.Errorf("back after %v", took)
				}
			}
			peer := w.far.UDP(t, 0)
			check(t, peer.SendTo([]byte("to the leader"), w.ours(7)))
			r.want(t, "to the leader")
		})
	}
}

// A hundred goroutines at one socket: each datagram goes to one of them, and
// Close sends all of them home.
func TestManyReadersOfOneSocket(t *testing.T) {
	for name, spin := range spins {
		readers, datagrams := 100, 1000
		if spin == stack.SpinAlways { // there are not so many CPUs
			readers, datagrams = 10, 100
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{stack: stack.Config{Spin: spin}})
			k, peer := w.udp(7), w.far.UDP(t, 7)
			k.SetReceiveBuffer(4 << 20)
			seen := make([]atomic.Int32, datagrams)
			var total atomic.Int32
			var wg sync.WaitGroup
			for range readers {
				wg.Go(func() {
					b := make([]byte, 200)
					for {
						n, _, err := k.Recv(b, 0, stack.NoDeadline)
						if err != nil {
							if err != unix.EBADF {
								t.Errorf("Recv: %v, want EBADF", err)
							}
							return
						}
						number, ok := intact(b[:n])
						if !ok || int(number) >= datagrams {
							t.Errorf("a corrupt datagram of %d bytes", n)
							continue
						}
						seen[number].Add(1)
						total.Add(1)
					}
				})
			}
			for i := range datagrams {
				check(t, peer.SendTo(sealed(100, uint32(i)), w.ours(7)))
				if i%50 == 0 {
					time.Sleep(time.Millisecond) // let them fall asleep
				}
			}
			eventually(func() bool { return int(total.Load()) == datagrams })
			for i := range seen {
				if n := seen[i].Load(); n != 1 {
					t.Errorf("datagram %d was received %d times", i, n)
					break
				}
			}
			check(t, k.Close())
			wg.Wait()
		})
	}
}

// A hundred sockets with a reader each.
func TestManySocketsManyReaders(t *testing.T) {
	w := newWorld(t, setup{})
	const sockets, rounds = 100, 10
	var got [sockets]atomic.Int32
	var wg sync.WaitGroup
	for i := range sockets {
		k := w.udp(uint16(1000 + i))
		wg.Go(func() {
			b := make([]byte, 200)
			for round := range rounds {
				n, info, err := k.Recv(b, 0, w.stack.Deadline(lab.Patience))
				if err != nil {
					t.Errorf("socket %d, round %d: %v", i, round, err)
					return
				}
				if number, ok := intact(b[:n]); !ok || int(number) != i || int(info.ToPort) != 1000+i {
					t.Errorf("socket %d got datagram %d", i, number)
				}
				got[i].Add(1)
			}
		})
	}
	sendShuffled(t, w, sockets, rounds)
	wg.Wait()
	for i := range got {
		if got[i].Load() != rounds {
			t.Errorf("socket %d received %d datagrams, want %d", i, got[i].Load(), rounds)
		}
	}
}

// sendShuffled sends rounds datagrams to each of the ports from 1000 on, each
// with the number of its socket.
func sendShuffled(t testing.TB, w *world, sockets, rounds int) {
	t.Helper()
	peer := w.far.UDP(t, 7)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		for _, i := range rnd.Perm(sockets) {
			check(t, peer.SendTo(sealed(100, uint32(i)), w.ours(uint16(1000+i))))
		}
	}
}

// A hundred sockets and one goroutine, which is told which of them to look at.
func TestOneReaderOfManySockets(t *testing.T) {
	w := newWorld(t, setup{})
	const sockets, rounds = 100, 10
	ready := make(chan int, sockets*rounds)
	ks := make([]*stack.UDPSocket, sockets)
	for i := range ks {
		ks[i] = w.udp(uint16(1000 + i))
		check(t, ks[i].Watch(&stack.Watch{Notify: func(uint32) bool { ready <- i; return true }}))
	}
	var wg sync.WaitGroup
	wg.Go(func() { sendShuffled(t, w, sockets, rounds) })
	defer wg.Wait()
	got, b := make([]int, sockets), make([]byte, 200)
	for total := 0; total < sockets*rounds; {
		var i int
		select {
		case i = <-ready:
		case <-time.After(lab.Patience):
			t.Fatalf("nobody tells of a datagram after %d", total)
		}
		for {
			n, _, err := ks[i].Recv(b, unix.MSG_DONTWAIT, 0)
			if err == unix.EAGAIN {
				break
			}
			check(t, err)
			if number, ok := intact(b[:n]); !ok || int(number) != i {
				t.Fatalf("socket %d got datagram %d", i, number)
			}
			got[i]++
			total++
		}
	}
	for i, n := range got {
		if n != rounds {
			t.Errorf("socket %d received %d datagrams", i, n)
		}
	}
}

// A poller that never sleeps does without a notification.
func TestPollManySockets(t *testing.T) {
	w := newWorld(t, setup{})
	const sockets, rounds = 100, 5
	ks := make([]*stack.UDPSocket, sockets)
	for i := range ks {
		ks[i] = w.udp(uint16(1000 + i))
	}
	sendShuffled(t, w, sockets, rounds)
	total, b := 0, make([]byte, 200)
	await(t, "all datagrams", func() bool {
		for i, k := range ks {
			n, _, err := k.Recv(b, unix.MSG_DONTWAIT, 0)
			if err != nil {
				continue
			}
			if number, ok := intact(b[:n]); !ok || int(number) != i {
				t.Errorf("socket %d got datagram %d", i, number)
			}
			total++
		}
		return total == sockets*rounds
	})
}

// Shutdown sends a reader home with an empty datagram, as Linux does.
func TestShutdownWakes(t *testing.T) {
	for name, spin := range spins {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{stack: stack.Config{Spin: spin}})
			k := w.udp(7)
			check(t, k.Connect(w.kernels(7)))
			done := make(chan error, 1)
			go func() {
				n, info, err := k.Recv(make([]byte, 10), 0, stack.NoDeadline)
				if err == nil && (n != 0 || info.Len != 0) {
					err = fmt.Errorf("%d bytes after the shutdown", n)
				}
				done <- err
			}()
			time.Sleep(2 * time.Millisecond)
			check(t, k.Shutdown(unix.SHUT_RD))
			select {
			case err := <-done:
				check(t, err)
			case <-time.After(lab.Patience):
				t.Fatal("the reader still waits")
			}
		})
	}
}

// A flood of the kernel's, for tests that end something under load.
func flood(t testing.TB, w *world, ports ...uint16) (stop func()) {
	t.Helper()
	quit := make(chan struct{})
	var wg sync.WaitGroup
	peers := make([]*inband.UDP, len(ports))
	for i, port := range ports {
		peers[i] = w.far.UDP(t, 0)
		wg.Go(func() {
			for n := uint32(0); ; n++ {
				select {
				case <-quit:
					return
				default:
				}
				// ENOBUFS, ECONNREFUSED and the like are all the same here.
				peers[i].SendTo(sealed(8+int(n%3000), n), w.ours(port))
				if n%16 == 0 {
					time.Sleep(200 * time.Microsecond)
				}
			}
		})
	}
	return func() { close(quit); wg.Wait() }
}

// Sockets close while datagrams pour in and out and others read.
func TestCloseSocketsUnderLoad(t *testing.T) {
	lab.CheckLeaks(t)
	w := newWorld(t, setup{})
	defer flood(t, w, 7, 8)()
	var wg sync.WaitGroup
	for range 30 {
		ks := []*stack.UDPSocket{w.udp(7), w.udp(8)}
		for _, k := range ks {
			for range 3 {
				wg.Go(func() { readUntilClosed(t, k) })
			}
			wg.Go(func() { sendUntilClosed(t, w, k) })
		}
		time.Sleep(3 * time.Millisecond)
		for _, k := range ks {
			check(t, k.Close())
			wantErr(t, k.Close(), unix.EBADF)
		}
		within(t, "readers and senders of closed sockets", wg.Wait)
	}
}

// The whole stack closes while datagrams pour in and out.
func TestCloseStackUnderLoad(t *testing.T) {
	lab.CheckLeaks(t)
	for name, spin := range spins {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{stack: stack.Config{Spin: spin}})
			defer flood(t, w, 7)()
			k, idle := w.udp(7), w.udp(9)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { readUntilClosed(t, k) })
				wg.Go(func() { readUntilClosed(t, idle) })
			}
			wg.Go(func() { sendUntilClosed(t, w, k) })
			wg.Go(func() { w.stack.Solicit(netip.AddrFrom4(stranger), time.Hour, 0) })
			time.Sleep(10 * time.Millisecond)
			within(t, "Close", func() { check(t, w.stack.Close()) })
			within(t, "readers and senders of a closed stack", wg.Wait)
			if _, err := w.stack.NewUDPSocket(); err != unix.ENETDOWN {
				t.Errorf("a socket of a closed stack: %v", err)
			}
		})
	}
}

func readUntilClosed(t *testing.T, k *stack.UDPSocket) {
	b := make([]byte, 1<<16)
	for {
		n, _, err := k.Recv(b, 0, stack.NoDeadline)
		switch {
		case err == unix.EBADF:
			return
		case err != nil:
			t.Errorf("Recv: %v", err)
			return
		}
		if _, ok := intact(b[:n]); !ok {
			t.Errorf("a corrupt datagram of %d bytes", n)
		}
	}
}

func sendUntilClosed(t *testing.T, w *world, k *stack.UDPSocket) {
	for i := uint32(0); ; i++ {
		err := k.SendTo(sealed(8+int(i%3000), i), 0, w.stack.Deadline(lab.Patience), w.kernels(9))
		switch err {
		case nil, unix.ECONNREFUSED, unix.EAGAIN:
		case unix.EBADF:
			return
		case unix.ENETUNREACH, unix.ENETDOWN, unix.EINVAL: // the stack has lost its addresses
			if !k.Closed() {
				time.Sleep(time.Millisecond)
			}
		default:
			t.Errorf("SendTo: %v", err)
			return
		}
		if i%16 == 0 {
			time.Sleep(200 * time.Microsecond)
		}
	}
}

// within fails the test if f does not return in time.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(2 * lab.Patience):
		t.Fatalf("not within %v: %s", 2*lab.Patience, what)
	}
}
