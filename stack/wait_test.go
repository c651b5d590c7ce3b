package stack

import (
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

func TestWatchOrder(t *testing.T) {
	s := newStack(t, Config{})
	k := udpSocket(t, s, "127.0.0.1:9")
	var told []string
	watch := func(name string, exclusive, wakes bool) *Watch {
		w := &Watch{Exclusive: exclusive, Notify: func(uint32) bool { told = append(told, name); return wakes }}
		if err := k.Watch(w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	expect := func(events uint32, want ...string) {
		t.Helper()
		told = nil
		k.watches.Tell(events)
		if len(told) != len(want) {
			t.Fatalf("told %v, want %v", told, want)
		}
		for i := range want {
			if told[i] != want[i] {
				t.Fatalf("told %v, want %v", told, want)
			}
		}
	}
	expect(EventsIn)
	e1 := watch("idle", true, false)
	a := watch("a", false, true)
	e2 := watch("first", true, true)
	b := watch("b", false, true)
	watch("second", true, true)
	expect(EventsIn, "b", "a", "idle", "first")
	expect(EventsAll, "b", "a", "idle", "first", "second")
	k.Unwatch(a)
	k.Unwatch(a)
	k.Unwatch(e2)
	expect(EventsIn, "b", "idle", "second")
	k.Unwatch(b)
	k.Unwatch(e1)
	expect(EventsIn, "second")
	k.Watch(a)
	expect(EventsIn, "a", "second")
	closed := 0
	a.Closed = func() { closed++ }
	told = nil
	k.Close()
	if closed != 1 || k.watches.Watched() {
		t.Errorf("Closed called %d times, still watched: %v", closed, k.watches.Watched())
	}
	if err := k.Watch(a); err != unix.EBADF || k.watches.Watched() {
		t.Errorf("Watch of a closed socket: %v", err)
	}
}

func TestWaiterSleepsInSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Config{}, pipe.Options{})
		k := udpSocket(t, p.far, "10.9.0.2:7")
		g := p.far.NewWaiter(func() bool { return k.Readable() })
		w := &Watch{Notify: func(uint32) bool { return g.Wake() }}
		k.Watch(w)
		start := time.Now()
		if g.Wait(p.far.Deadline(time.Hour)) || time.Since(start) != time.Hour {
			t.Errorf("Wait ended after %v", time.Since(start))
		}
		client := udpSocket(t, p.near, "")
		time.AfterFunc(time.Second, func() {
			client.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:7"))
		})
		start = time.Now()
		if !g.Wait(NoDeadline) || time.Since(start) > time.Second+10*time.Millisecond {
			t.Errorf("Wait ended after %v", time.Since(start))
		}
		if !g.Wait(NoDeadline) {
			t.Error("what is ready does not stay so")
		}
		p.near.Close()
		p.far.Close()
	})
}

// TestWaiterLeadsForOthers has waiters and receivers take turns at the links:
// whoever sleeps on them must hand over what is others', and its place.
func TestWaiterLeadsForOthers(t *testing.T) {
	s := newStack(t, Config{Spin: SpinNever})
	const each, pairs = 300, 3
	var wg sync.WaitGroup
	for i := range pairs {
		k := udpSocket(t, s, "127.0.0.1:0")
		var fired atomic.Bool
		g := s.NewWaiter(fired.Load)
		k.Watch(&Watch{Notify: func(uint32) bool { fired.Store(true); return g.Wake() }})
		back := udpSocket(t, s, "127.0.0.1:0")
		wg.Go(func() { // echoes, by Waiter
			b := make([]byte, 10)
			for n := 0; n < each; {
				g.Wait(NoDeadline)
				fired.Store(false)
				for {
					_, in, err := k.Recv(b, unix.MSG_DONTWAIT, NoDeadline)
					if err != nil {
						break
					}
					n++
					k.SendTo(b, 0, NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(in.From), in.FromPort))
				}
			}
		})
		wg.Go(func() { // sends, and receives the echo
			b := make([]byte, 10)
			for n := range each {
				back.SendTo(b, 0, NoDeadline, k.LocalAddr())
				if _, _, err := back.Recv(b, 0, s.Deadline(10*time.Second)); err != nil {
					t.Errorf("pair %d, echo %d: %v", i, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestWaiterSources(t *testing.T) {
	for _, leads := range []bool{true, false} {
		s := newStack(t, Config{})
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		if !leads { // somebody else sleeps on the links
			other := udpSocket(t, s, "127.0.0.1:9")
			go other.Recv(make([]byte, 1), 0, NoDeadline)
			for !s.drive.Asleep() {
				runtime.Gosched()
			}
		}
		var over atomic.Bool
		g := s.NewWaiter(over.Load)
		fd := int(r.Fd())
		g.SetSources([]link.Pollable{link.Descriptor(fd)}, func() bool {
			n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0
		})
		if g.Wait(s.Deadline(time.Millisecond)) {
			t.Error("nothing is there, and Wait returns true")
		}
		for range 50 {
			done := make(chan bool)
			go func() { done <- g.Wait(NoDeadline) }()
			for g.Waiting() == 0 {
				runtime.Gosched()
			}
			w.Write([]byte{1})
			if !<-done {
				t.Fatal("Wait did not see the source")
			}
			r.Read(make([]byte, 1))
		}
		done := make(chan bool)
		for range 3 {
			go func() { done <- g.Wait(NoDeadline) }()
		}
		for g.Waiting() < 3 {
			runtime.Gosched()
		}
		over.Store(true)
		g.WakeAll()
		for range 3 {
			<-done
		}
		g.Close()
	}
}

// TestSendBuffer fills the send buffer with what waits for a neighbour that
// never answers.
func TestSendBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := pipe.New(pipe.Options{})
		s := newStack(t, Config{})
		addLink(t, s, near, "10.9.0.1/24")
		k := udpSocket(t, s, "")
		other := udpSocket(t, s, "127.0.0.1:9")
		k.SetSendBuffer(9216)
		var outs int
		k.Watch(&Watch{Notify: func(ev uint32) bool {
			if ev == EventsOut {
				outs++
			}
			return false
		}})
		nobody := netip.MustParseAddrPort("10.9.0.9:9")
		n, unwritable := 0, -1
		for ; ; n++ {
			if k.Events()&unix.EPOLLOUT == 0 && unwritable < 0 {
				unwritable = n
			}
			if err := k.SendTo(payload(100), unix.MSG_DONTWAIT, NoDeadline, nobody); err == unix.EAGAIN {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if n < 9 || n > 16 || unwritable < n/2-1 || unwritable > n/2+2 || k.SendQueued() < 9216 {
			t.Errorf("%d datagrams taken, not writable after %d, %d bytes charged", n, unwritable, k.SendQueued())
		}
		// What goes elsewhere waits too: the buffer is the socket's.
		if err := k.SendTo(payload(1), unix.MSG_DONTWAIT, NoDeadline, other.LocalAddr()); err != unix.EAGAIN {
			t.Errorf("to a host that is known: %v", err)
		}
		start := time.Now()
		if err := k.SendTo(payload(1), 0, s.Deadline(time.Second), nobody); err != unix.EAGAIN || time.Since(start) != time.Second {
			t.Errorf("time-out: %v after %v", err, time.Since(start))
		}
		outs = 0
		start = time.Now()
		err := k.SendTo(payload(1), 0, NoDeadline, other.LocalAddr())
		if d := time.Since(start); d < time.Second || d > 10*time.Second {
			t.Errorf("waited %v", d)
		}
		if err != nil && err != unix.EHOSTUNREACH {
			t.Errorf("after the wait: %v", err)
		}
		if outs == 0 || k.SendQueued() != 0 || k.Events()&unix.EPOLLOUT == 0 {
			t.Errorf("told of space %d times, %d bytes charged, events %#x", outs, k.SendQueued(), k.Events())
		}
		// Close and a larger buffer end the wait too.
		for end, f := range map[error]func(){unix.EBADF: func() { k.Close() }, nil: func() { k.SetSendBuffer(1 << 20) }} {
			k = udpSocket(t, s, "")
			k.SetSendBuffer(9216)
			for k.SendTo(payload(100), unix.MSG_DONTWAIT, NoDeadline, nobody) == nil {
			}
			time.AfterFunc(time.Millisecond, f)
			start = time.Now()
			if err := k.SendTo(payload(100), 0, NoDeadline, nobody); err != end || time.Since(start) > 10*time.Millisecond {
				t.Errorf("%v, want %v, after %v", err, end, time.Since(start))
			}
		}
		s.Close()
	})
}

// TestSendBufferFlushed resolves the neighbour.
func TestSendBufferFlushed(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	server := udpSocket(t, p.far, "10.9.0.2:7")
	k := udpSocket(t, p.near, "")
	for range 20 {
		if err := k.SendTo(payload(100), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:7")); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		recv(t, server)
	}
	if n := k.SendQueued(); n != 0 {
		t.Errorf("%d bytes charged", n)
	}
}

func TestWaiterAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := newStack(t, Config{})
	g := s.NewWaiter(func() bool { return false })
	g.Wait(s.Deadline(time.Microsecond))
	if n := testing.AllocsPerRun(100, func() { g.Wait(s.Deadline(time.Microsecond)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
