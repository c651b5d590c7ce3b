package stack

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/drive"
	"golang.org/x/sys/unix"
)

// deadlineMoves are what happens to a deadline while a call waits, and when that ends.
var deadlineMoves = []struct {
	name string
	own  time.Duration // the call's own deadline; 0: none
	at   time.Duration // the one of before the call; 0: none
	to   time.Duration // what it becomes after a second, from the start; negative: none
	want time.Duration
}{
	{"stays", 0, 3 * time.Second, 3 * time.Second, 3 * time.Second},
	{"later", 0, 3 * time.Second, 5 * time.Second, 5 * time.Second},
	{"earlier", 0, 3 * time.Second, 2 * time.Second, 2 * time.Second},
	{"past", 0, 3 * time.Second, time.Millisecond, time.Second},
	{"set", 0, 0, 2 * time.Second, 2 * time.Second},
	{"set to the past", 0, 0, time.Millisecond, time.Second},
	{"taken away", 4 * time.Second, 3 * time.Second, -1, 4 * time.Second},
	{"the call's is earlier", 2 * time.Second, 3 * time.Second, 5 * time.Second, 2 * time.Second},
	{"past before the call", 0, time.Nanosecond, time.Nanosecond, time.Nanosecond},
}

// moveDeadlines has call wait while a deadline changes, which set sets.
func moveDeadlines(t *testing.T, s *Stack, set func(at int64), call func(deadline int64) error) {
	for _, tt := range deadlineMoves {
		start, zero := time.Now(), s.clock.Now()
		own := NoDeadline
		if tt.own > 0 {
			own = zero + int64(tt.own)
		}
		if tt.at > 0 {
			set(zero + int64(tt.at))
		}
		time.Sleep(time.Nanosecond)
		moved := time.AfterFunc(time.Second-time.Nanosecond, func() {
			if tt.to < 0 {
				set(NoDeadline)
			} else {
				set(zero + int64(tt.to))
			}
		})
		err := call(own)
		moved.Stop()
		if d := time.Since(start); err != unix.EAGAIN || d != tt.want {
			t.Errorf("%s: %v after %v, want a time-out after %v", tt.name, err, d, tt.want)
		}
		set(NoDeadline)
	}
}

// TestReadDeadline: each call that receives obeys a deadline that changes while it waits,
// whether it sleeps on the links or behind another.
func TestReadDeadline(t *testing.T) {
	for _, behind := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, Config{}, pipe.Options{})
			k := udpSocket(t, p.far, "10.9.0.2:7")
			if behind {
				other := udpSocket(t, p.far, "10.9.0.2:8")
				go other.Recv(make([]byte, 1), 0, NoDeadline)
				synctest.Wait()
			}
			b := make([]byte, 10)
			recv := func(deadline int64) error { _, _, err := k.Recv(b, 0, deadline); return err }
			moveDeadlines(t, p.far, k.SetReadDeadline, recv)
			k.Receiving().SetPeekOffset(1)
			moveDeadlines(t, p.far, k.SetReadDeadline, func(deadline int64) error {
				_, _, err := k.Recv(b, unix.MSG_PEEK, deadline)
				return err
			})
			k.Times().SetTransmitTimes(true)
			moveDeadlines(t, p.far, k.SetReadDeadline, func(deadline int64) error {
				_, _, err := k.Times().TransmitTimes(make([]IOTimes, 1), 0, deadline)
				return err
			})
			// What is queued is had all the same, and a later deadline revives the socket.
			client := udpSocket(t, p.near, "")
			to := netip.MustParseAddrPort("10.9.0.2:7")
			k.SetReadDeadline(1)
			check(t, client.SendTo([]byte("x"), 0, NoDeadline, to))
			synctest.Wait()
			time.Sleep(time.Second) // for the neighbour, and the housekeeper
			check(t, recv(NoDeadline))
			if err := recv(NoDeadline); err != unix.EAGAIN {
				t.Errorf("with a deadline of the past: %v", err)
			}
			k.SetReadDeadline(p.far.Deadline(time.Hour))
			time.AfterFunc(time.Second, func() { client.SendTo([]byte("x"), 0, NoDeadline, to) })
			check(t, recv(NoDeadline))
			p.near.Close()
			p.far.Close()
		})
	}
}

// TestReadDeadlineSpinning: a call that never sleeps looks at the deadline too.
func TestReadDeadlineSpinning(t *testing.T) {
	s := newStack(t, Config{Spin: SpinAlways})
	k := udpSocket(t, s, "127.0.0.1:9")
	done := make(chan error)
	go func() {
		_, _, err := k.Recv(make([]byte, 1), 0, NoDeadline)
		done <- err
	}()
	for !s.lanes.first.drive.Lock.Spinning() {
		time.Sleep(time.Microsecond)
	}
	k.SetReadDeadline(s.clock.Now() - 1)
	if err := <-done; err != unix.EAGAIN {
		t.Error(err)
	}
	var h Handle
	k.SetReadDeadline(NoDeadline)
	go func() {
		_, err := k.RecvMessagesWith(&h, one(make([]byte, 1)), 0, NoDeadline)
		done <- err
	}()
	for !s.lanes.first.drive.Lock.Spinning() {
		time.Sleep(time.Microsecond)
	}
	h.Cancel()
	if err := <-done; err != unix.EINTR {
		t.Error(err)
	}
}

// A call that is kept awake gives up when it has spun for its budget, and ends as soon as the
// word in memory is not 0; what has come it takes.
func TestAwake(t *testing.T) {
	for spin, word := range map[time.Duration]uint32{SpinNever: 0, time.Millisecond: 0, SpinAlways: 1} {
		s := newStack(t, Config{Spin: spin})
		k := udpSocket(t, s, "127.0.0.1:9")
		g := s.NewWaiter(func() bool { return false })
		var cut atomic.Uint32
		h := Handle{Word: &cut, Awake: true}
		for name, wait := range map[string]func() (given, ended bool){
			"Recv": func() (bool, bool) {
				_, err := k.RecvMessagesWith(&h, one(make([]byte, 1)), 0, NoDeadline)
				return err == unix.EAGAIN, err == unix.EINTR
			},
			"peek": func() (bool, bool) {
				_, err := k.RecvMessagesWith(&h, one(make([]byte, 1)), unix.MSG_PEEK, NoDeadline)
				return err == unix.EAGAIN, err == unix.EINTR
			},
			"Waiter": func() (bool, bool) {
				v := g.WaitFor(NoDeadline, nil, &h)
				return v == WaitSpent, v == WaitCut
			},
		} {
			cut.Store(0)
			began := time.Now()
			if word != 0 {
				go func() {
					for !s.lanes.first.drive.Lock.Spinning() {
						time.Sleep(time.Microsecond)
					}
					cut.Store(word)
				}()
			}
			given, ended := wait()
			if given == (word != 0) || ended != (word != 0) {
				t.Errorf("%s, spin %v: given up %t, ended %t", name, spin, given, ended)
			}
			if d := time.Since(began); spin > 0 && d < spin {
				t.Errorf("%s gives up after %v of %v", name, d, spin)
			}
			if s.drive.Turns() != 0 {
				t.Errorf("%s, spin %v: it has slept", name, spin)
			}
		}
		cut.Store(0)
		check(t, k.SendTo([]byte("x"), 0, NoDeadline, k.LocalAddr()))
		if n, err := k.RecvMessagesWith(&h, one(make([]byte, 1)), 0, NoDeadline); n != 1 || err != nil {
			t.Errorf("what is there: %d, %v", n, err)
		}
	}
}

// TestWriteDeadline fills the send buffer with what waits for a time, so that there is no
// space for an hour.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Config{}, pipe.Options{})
		k := udpSocket(t, p.near, "")
		k.SetSendBuffer(9216)
		k.Times().SetTxTime(monotonic)
		to := netip.MustParseAddrPort("10.9.0.2:9")
		late := []OutMessage{{Buffers: [][]byte{payload(1000)}, To: to, Options: &SendOptions{TxTime: uint64(p.near.Monotonic()) + uint64(time.Hour)}}}
		for {
			if n, err := k.SendMessages(late, unix.MSG_DONTWAIT, NoDeadline); n == 0 || err != nil {
				break
			}
		}
		if !k.out.SendFull() {
			t.Fatal("there is space left")
		}
		moveDeadlines(t, p.near, k.SetWriteDeadline, func(deadline int64) error {
			return k.SendTo([]byte("x"), 0, deadline, to)
		})
		p.near.Close()
		p.far.Close()
	})
}

// TestHandle: another goroutine cuts a wait short, before it begins or while it lasts;
// nothing that has come is lost by that.
func TestHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Config{}, pipe.Options{})
		k := udpSocket(t, p.far, "10.9.0.2:7")
		g := p.far.NewWaiter(func() bool { return false })
		b := make([]byte, 10)
		for name, wait := range map[string]func(h *Handle) bool{
			"Recv":   func(h *Handle) bool { _, err := k.RecvMessagesWith(h, one(b), 0, NoDeadline); return err == unix.EINTR },
			"Waiter": func(h *Handle) bool { return g.WaitFor(NoDeadline, nil, h) == WaitCut },
			"peek": func(h *Handle) bool {
				k.Receiving().SetPeekOffset(0)
				_, err := k.RecvMessagesWith(h, one(b), unix.MSG_PEEK, NoDeadline)
				return err == unix.EINTR
			},
		} {
			var h, others Handle
			start := time.Now()
			time.AfterFunc(time.Second, others.Cancel)
			time.AfterFunc(2*time.Second, h.Cancel)
			if !wait(&h) || time.Since(start) != 2*time.Second {
				t.Errorf("%s: cut after %v", name, time.Since(start))
			}
			if start = time.Now(); !wait(&h) || time.Since(start) != 0 {
				t.Errorf("%s: a handle that was cancelled before, after %v", name, time.Since(start))
			}
			h.Renew()
			time.AfterFunc(time.Second, h.Cancel)
			if start = time.Now(); !wait(&h) || time.Since(start) != time.Second {
				t.Errorf("%s: a handle that was renewed, after %v", name, time.Since(start))
			}
		}
		var h Handle
		client := udpSocket(t, p.near, "")
		time.AfterFunc(time.Second, func() {
			client.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:7"))
		})
		n, err := k.RecvMessagesWith(&h, one(b), 0, NoDeadline)
		if n != 1 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		p.near.Close()
		p.far.Close()
	})
}

// loop is an event loop that waits for what g waits for. It returns false if it was not
// woken in time.
func loop(t *testing.T, s *Stack, g *Waiter) bool {
	deadline := s.Deadline(20 * time.Second)
	for {
		fds, until, err := g.Arm(deadline, nil)
		check(t, err)
		var set []unix.PollFd
		for _, fd := range fds {
			set = append(set, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		ms := max((until-s.clock.Now()+999_999)/1e6, 0)
		unix.Poll(set, int(min(ms, 20_000)))
		if g.Disarm() {
			return true
		}
		if s.clock.Now() >= deadline {
			return false
		}
	}
}

// TestArm has an event loop sleep in place of a goroutine, on the links and behind one
// that does: each datagram wakes it, and none before it sleeps is overlooked.
func TestArm(t *testing.T) {
	for name, behind := range map[string]bool{"on the links": false, "behind another": true} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, Config{Spin: SpinNever}, pipe.Options{})
			k := udpSocket(t, p.far, "10.9.0.2:7")
			if behind {
				other := udpSocket(t, p.far, "10.9.0.2:8")
				go other.Recv(make([]byte, 1), 0, NoDeadline)
				for !p.far.drive.Asleep() {
					time.Sleep(time.Microsecond)
				}
			}
			g := p.far.NewWaiter(func() bool { return k.Readable() })
			defer g.Close()
			check(t, k.Watch(&Watch{Notify: func(uint32) bool { return g.Wake() }}))
			client := udpSocket(t, p.near, "")
			check(t, client.Connect(netip.MustParseAddrPort("10.9.0.2:7")))
			b := make([]byte, 10)
			for i := range 500 {
				go func() {
					if i%3 == 0 {
						time.Sleep(time.Duration(i) * time.Microsecond / 10)
					}
					client.Send([]byte{1}, 0, NoDeadline)
				}()
				if !loop(t, p.far, g) {
					t.Fatalf("datagram %d has not woken the loop", i)
				}
				_, _, err := k.Recv(b, unix.MSG_DONTWAIT, NoDeadline)
				check(t, err)
			}
		})
	}
}

// runDue runs the timers with which a stack begins.
func runDue(s *Stack) {
	l := &s.lanes.first
	l.begin()
	l.drive.RunTimers(s.clock.Now())
	l.end()
}

// TestArmIsWoken: what ends a goroutine's sleep ends an event loop's.
func TestArmIsWoken(t *testing.T) {
	for name, wake := range map[string]func(s *Stack, g *Waiter, over *atomic.Bool){
		"Wake":    func(_ *Stack, g *Waiter, over *atomic.Bool) { over.Store(true); g.Wake() },
		"WakeAll": func(_ *Stack, g *Waiter, over *atomic.Bool) { over.Store(true); g.WakeAll() },
		"Close":   func(s *Stack, _ *Waiter, _ *atomic.Bool) { s.Close() },
		"a new link": func(s *Stack, _ *Waiter, _ *atomic.Bool) {
			a, _ := pipe.New(pipe.Options{})
			s.AddLink(a, InterfaceConfig{})
		},
		"the sources": func(_ *Stack, g *Waiter, _ *atomic.Bool) { g.SetSources(nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t, Config{})
			var over atomic.Bool
			g := s.NewWaiter(over.Load)
			runDue(s)
			fds, until, err := g.Arm(NoDeadline, nil)
			check(t, err)
			if until <= s.clock.Now() {
				t.Error("there is nothing to sleep for")
			}
			if _, _, err := g.Arm(NoDeadline, nil); err != unix.EBUSY {
				t.Errorf("armed twice: %v", err)
			}
			set := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}}
			if n, _ := unix.Poll(set, 0); n != 0 {
				t.Fatal("readable at once")
			}
			wake(s, g, &over)
			if n, _ := unix.Poll(set, 0); n != 1 {
				t.Error("the loop was not woken")
			}
			if ended := g.Disarm(); ended != (over.Load() || s.Closed()) {
				t.Errorf("Disarm returned %t", ended)
			}
			if s.Closed() {
				return
			}
			over.Store(false)
			fds, _, err = g.Arm(NoDeadline, nil)
			check(t, err)
			set[0].Fd = int32(fds[0])
			if n, _ := unix.Poll(set, 0); n != 0 {
				t.Error("the wake-up of before is told again")
			}
			g.Disarm()
			over.Store(true)
			if _, until, err = g.Arm(NoDeadline, nil); err != nil || until > s.clock.Now() {
				t.Errorf("armed when it is over: sleep until %d, %v", until, err)
			}
			g.Disarm()
			g.Close()
		})
	}
}

// TestArmTimers: an event loop on the links sleeps no longer than until the next timer,
// and runs it; a place that it leaves is another's.
func TestArmTimers(t *testing.T) {
	c := new(handClock)
	s := newStack(t, Config{Clock: c})
	runDue(s)
	ran := false
	s.timers.Set(drive.NewTimer(func(int64) { ran = true }), 500)
	g := s.NewWaiter(func() bool { return false })
	defer g.Close()
	_, until, err := g.Arm(700, nil)
	check(t, err)
	if until != 500 || !s.drive.Asleep() {
		t.Errorf("sleeps until %d, on the links: %t", until, s.drive.Asleep())
	}
	c.now.Store(500)
	if g.Disarm() || !ran {
		t.Errorf("the timer has run: %t", ran)
	}
	if s.drive.Asleep() {
		t.Error("the loop is still on the links")
	}
}

// follow has somebody sleep on the links of a stack, so that the others that wait are
// followers, whom only a wake-up of their own ends.
func follow(t *testing.T, s *Stack, addr string) {
	k := udpSocket(t, s, addr)
	go k.Recv(make([]byte, 1), 0, NoDeadline)
	synctest.Wait()
}

// after has wake called in a second, and returns how long call took and what it said.
func after(wake func(), call func() error) (time.Duration, error) {
	start := time.Now()
	time.AfterFunc(time.Second, wake)
	err := call()
	return time.Since(start), err
}

// TestFollowersAreWoken: each thing that a call may wait for wakes it, though nothing comes
// by a link that would.
func TestFollowersAreWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Config{}, pipe.Options{})
		follow(t, p.near, "10.9.0.1:1")
		nobody := netip.MustParseAddr("10.9.0.77")
		k := udpSocket(t, p.near, "")
		k.Times().SetTransmitTimes(true)
		lo := udpSocket(t, p.near, "127.0.0.1:9")
		times := func() error {
			_, _, err := k.Times().TransmitTimes(make([]IOTimes, 1), 0, p.near.Deadline(time.Hour))
			return err
		}
		solicit := func() error { return k.Solicit(nobody, time.Hour, 0) }
		for _, tt := range []struct {
			name string
			wake func()
			call func() error
			want error
		}{
			{"a record", func() { k.SendTo([]byte("x"), 0, NoDeadline, lo.LocalAddr()) }, times, nil},
			{"no more records", func() { k.Times().SetTransmitTimes(false) }, times, unix.EINVAL},
			{"a neighbour", func() { p.nearIfc.SetNeighbour(nobody, farMAC, arp.Permanent) }, solicit, nil},
			{"a closed socket", func() { k.Close() }, func() error {
				return k.Solicit(netip.MustParseAddr("10.9.0.78"), time.Hour, 0)
			}, unix.EBADF},
		} {
			if d, err := after(tt.wake, tt.call); d != time.Second || err != tt.want {
				t.Errorf("%s: %v after %v, want %v after a second", tt.name, err, d, tt.want)
			}
		}
		p.near.Close()
		p.far.Close()
	})
}

// TestLeadIsPassedOn: a call or an event loop that leaves the links gives its place to
// one that sleeps, at once and not when the housekeeper comes by.
func TestLeadIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Config{}, pipe.Options{})
		s := p.far
		first := udpSocket(t, s, "10.9.0.2:1")
		second := udpSocket(t, s, "10.9.0.2:2")
		receive := func(k *UDPSocket) { k.Recv(make([]byte, 1), 0, NoDeadline) }
		go receive(first)
		synctest.Wait()
		go receive(second)
		synctest.Wait()
		turn := s.drive.Turns()
		first.SetReadDeadline(1) // it leaves
		synctest.Wait()
		if !s.drive.Asleep() || s.drive.Turns() != turn+1 {
			t.Error("nobody took the place of a receiver")
		}
		second.Close()
		synctest.Wait()
		g := s.NewWaiter(func() bool { return false })
		_, _, err := g.Arm(NoDeadline, nil)
		check(t, err)
		third := udpSocket(t, s, "10.9.0.2:3")
		go receive(third)
		synctest.Wait()
		turn = s.drive.Turns()
		g.Disarm()
		synctest.Wait()
		if !s.drive.Asleep() || s.drive.Turns() != turn+1 {
			t.Error("nobody took the place of an event loop")
		}
		g.Close()
		p.near.Close()
		p.far.Close()
	})
}

// TestQueuedErrorIsTold: those who watch hear of an entry in the error queue that is no
// pending error.
func TestQueuedErrorIsTold(t *testing.T) {
	k := udpSocket(t, newStack(t, Config{}), "127.0.0.1:9")
	var told uint32
	check(t, k.Watch(&Watch{Notify: func(events uint32) bool { told |= events; return false }}))
	k.errors.push(QueuedError{Errno: unix.ENOMSG, Origin: unix.SO_EE_ORIGIN_TIMESTAMPING})
	if told != unix.EPOLLERR || k.Events()&unix.EPOLLERR == 0 {
		t.Errorf("told %#x, events %#x", told, k.Events())
	}
}

// TestRoomWakesAFollower: a send that waits for room in a device that has no descriptor.
func TestRoomWakesAFollower(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		w.company()
		reader := w.socket("10.9.0.1:9", "")
		go reader.Recv(nil, 0, NoDeadline)
		k := w.sender("10.9.0.1:1")
		n := w.number(k, 0, 100)
		d, err := after(func() { w.l.free(n) }, func() error { return k.Send([]byte{0, 0}, 0, NoDeadline) })
		if err != nil || d != time.Second {
			t.Errorf("%v after %v, want a second", err, d)
		}
		reader.Close()
	})
}

// TestOutgoingFrameWakesAFollower: a packet socket gets what others send.
func TestOutgoingFrameWakesAFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, Config{}, pipe.Options{})
		time.Sleep(10 * time.Second) // the addresses are announced
		follow(t, p.near, "10.9.0.1:1")
		k := packetSocketOf(t, p.near, true, unix.ETH_P_ALL)
		check(t, k.BindLink(p.nearIfc.Index(), unix.ETH_P_ALL))
		from := packetSocketOf(t, p.near, true, 0)
		to := &LinkAddr{Interface: p.nearIfc.Index(), EtherType: testEtherType, Addr: farMAC}
		d, err := after(func() { from.SendLink([]byte("x"), 0, NoDeadline, to) }, func() error {
			_, _, err := k.Recv(make([]byte, 10), 0, p.near.Deadline(time.Hour))
			return err
		})
		if err != nil || d != time.Second {
			t.Errorf("%v after %v, want a second", err, d)
		}
		p.near.Close()
		p.far.Close()
	})
}
