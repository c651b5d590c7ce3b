package stack

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// A fakeHolder holds ports as an operating system would, or as a test says.
type fakeHolder struct {
	t *testing.T
	// answer is called for each request, without a lock; nil agrees to all.
	answer func(r PortRequest) (uint16, unix.Errno)

	mu       sync.Mutex
	requests []PortRequest
	held     map[uint16]int // ports that are held, by how many
	releases int
	latest   *fakeHold
	number   uint32 // of the holds to come
}

// A fakeHold is a port that a fakeHolder holds. It notes what it is told.
type fakeHold struct {
	port    uint16
	number  uint32
	release func()
	refuse  unix.Errno // what Connect and SetDevice say
	local   ipv4.Addr  // what Connect gives
	told    []string
	shared  func() // what NotifyShared was given
}

func (h *fakeHold) Port() uint16   { return h.port }
func (h *fakeHold) Number() uint32 { return h.number }

func (h *fakeHold) Connect(p PortPeer) (ipv4.Addr, unix.Errno) {
	h.told = append(h.told, fmt.Sprintf("connect %+v", p))
	return h.local, h.refuse
}

func (h *fakeHold) Disconnect() { h.told = append(h.told, "disconnect") }

func (h *fakeHold) SetDevice(index int32) unix.Errno {
	h.told = append(h.told, fmt.Sprintf("device %d", index))
	return h.refuse
}

func (h *fakeHold) SetReuse(addr, port bool) {
	h.told = append(h.told, fmt.Sprintf("reuse %t %t", addr, port))
}

func (h *fakeHold) NotifyShared(shared func()) { h.shared = shared }

func (h *fakeHold) Release() { h.release() }

func (h *fakeHolder) HoldPort(r PortRequest) (PortHold, unix.Errno) {
	h.mu.Lock()
	h.requests = append(h.requests, r)
	h.mu.Unlock()
	port := r.Port
	if h.answer != nil {
		p, e := h.answer(r)
		if e != 0 {
			return nil, e
		}
		if p != 0 {
			port = p
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		h.held = make(map[uint16]int)
	}
	h.held[port]++
	var once atomic.Bool
	h.latest = &fakeHold{port: port, number: h.number, release: func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if once.Swap(true) {
			h.t.Errorf("port %d is released twice", port)
		}
		h.releases++
		if h.held[port]--; h.held[port] == 0 {
			delete(h.held, port)
		}
	}}
	return h.latest, 0
}

// holds fails unless exactly these ports are held.
func (h *fakeHolder) holds(want ...uint16) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, c := range h.held {
		n += c
	}
	ok := n == len(want)
	for _, p := range want {
		ok = ok && h.held[p] > 0
	}
	if !ok {
		h.t.Errorf("held: %v, want %v", h.held, want)
	}
}

// last returns the last request.
func (h *fakeHolder) last() PortRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests[len(h.requests)-1]
}

func newHeld(t *testing.T, answer func(PortRequest) (uint16, unix.Errno)) (*Stack, *fakeHolder) {
	h := &fakeHolder{t: t, answer: answer}
	return newStack(t, Config{Ports: h}), h
}

var local9 = netip.MustParseAddrPort("127.0.0.1:9")

// Each way to a port asks for it, and each way to lose it lets it go, once.
func TestHolderIsAsked(t *testing.T) {
	s, h := newHeld(t, nil)
	k := udpSocket(t, s, "127.0.0.1:9")
	if want := (PortRequest{Protocol: ipv4.ProtocolUDP, Addr: loopbackAddr, Port: 9}); h.last() != want {
		t.Errorf("Bind: %+v, want %+v", h.last(), want)
	}
	h.holds(9)
	check(t, k.Connect(local9))
	check(t, k.Disconnect()) // keeps a port that was named
	h.holds(9)
	check(t, k.Close())
	h.holds()

	k = udpSocket(t, s, "")
	k.SetReuse(true, true)
	check(t, k.SetDevice(1))
	check(t, k.Connect(local9))
	port := k.LocalAddr().Port()
	if want := (PortRequest{Protocol: ipv4.ProtocolUDP, Port: port, Chosen: true, Device: 1, ReuseAddr: true, ReusePort: true}); h.last() != want {
		t.Errorf("Connect: %+v, want %+v", h.last(), want)
	}
	h.holds(port)
	check(t, k.Disconnect()) // gives one up that was chosen
	h.holds()
	check(t, k.SendTo(nil, 0, NoDeadline, local9)) // and takes another
	h.holds(k.LocalAddr().Port())
	check(t, k.Close())

	ping, err := s.NewPingSocket()
	check(t, err)
	check(t, ping.Bind(netip.MustParseAddrPort("0.0.0.0:77")))
	if want := (PortRequest{Protocol: ipv4.ProtocolICMP, Port: 77}); h.last() != want {
		t.Errorf("ping: %+v, want %+v", h.last(), want)
	}
	h.holds(77)
	check(t, s.Close())
	h.holds()
	if n := len(h.requests); h.releases != n {
		t.Errorf("%d releases of %d", h.releases, n)
	}
}

// What the holder says is what Bind says; sending and connecting without a port say
// EAGAIN, as ever. Nothing is left behind, and the next may have the port.
func TestHolderRefuses(t *testing.T) {
	for _, e := range []unix.Errno{unix.EADDRINUSE, unix.EACCES} {
		refuse := true
		s, h := newHeld(t, func(PortRequest) (uint16, unix.Errno) {
			if refuse {
				return 0, e
			}
			return 0, 0
		})
		k := udpSocket(t, s, "")
		if err := k.Bind(local9); err != e || k.LocalAddr().Port() != 0 {
			t.Errorf("Bind: %v, port %d; want %v", err, k.LocalAddr().Port(), e)
		}
		if err := k.Bind(netip.MustParseAddrPort("127.0.0.1:0")); err != e {
			t.Errorf("Bind to port 0: %v, want %v", err, e)
		}
		// A port that is in use makes another be tried, anything else does not.
		if n := len(h.requests) - 1; n > 1 != (e == unix.EADDRINUSE) || n > 100 {
			t.Errorf("%v: asked %d times for a chosen port", e, n)
		}
		if err := k.Connect(local9); err != unix.EAGAIN {
			t.Errorf("Connect: %v", err)
		}
		if err := k.SendTo(nil, 0, NoDeadline, local9); err != unix.EAGAIN {
			t.Errorf("SendTo: %v", err)
		}
		h.holds()
		refuse = false
		check(t, udpSocket(t, s, "").Bind(local9))
		h.holds(9)
	}
}

// In place of a port that the stack has chosen the holder may have another, unless
// somebody else of the stack has it: then it is asked again. It may not change one that
// was named.
func TestHolderChooses(t *testing.T) {
	next := []uint16{5001, 5000, 5000, 5002}
	s, h := newHeld(t, func(r PortRequest) (uint16, unix.Errno) {
		p := next[0]
		next = next[1:]
		return p, 0
	})
	named := udpSocket(t, s, "")
	if err := named.Bind(local9); err != unix.EADDRINUSE {
		t.Errorf("the holder has changed a port that was named: %v", err)
	}
	h.holds()
	for _, want := range []uint16{5000, 5002} {
		k := udpSocket(t, s, "127.0.0.1:0")
		if got := k.LocalAddr().Port(); got != want {
			t.Errorf("port %d, want %d", got, want)
		}
		check(t, k.SendTo([]byte("x"), 0, NoDeadline, k.LocalAddr()))
		recv(t, k)
	}
	h.holds(5000, 5002)
}

// slowHolder returns a stack whose holder answers for port 9 once something is sent to
// answer; asked is told that it is asked.
func slowHolder(t *testing.T) (s *Stack, h *fakeHolder, asked chan struct{}, answer chan unix.Errno) {
	asked, answer = make(chan struct{}, 10), make(chan unix.Errno)
	s, h = newHeld(t, func(r PortRequest) (uint16, unix.Errno) {
		if r.Port != 9 {
			return 0, 0
		}
		asked <- struct{}{}
		return 0, <-answer
	})
	return s, h, asked, answer
}

// start runs a call that is to wait.
func start(call func() error) chan error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	return done
}

// ends returns what a call that was started returns within a second.
func ends(t *testing.T, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("it does not return")
		return nil
	}
}

// While the holder is asked the port is nobody's else, and receives nothing; no lock is
// held: other sockets are bound, send and receive, and the socket's own options are set.
func TestHolderIsSlow(t *testing.T) {
	s, h, asked, answer := slowHolder(t)
	k, rival, same := udpSocket(t, s, ""), udpSocket(t, s, ""), udpSocket(t, s, "127.0.0.1:0")
	bound := start(func() error { return k.Bind(local9) })
	<-asked
	if err := rival.Bind(local9); err != unix.EADDRINUSE {
		t.Errorf("the port is another's too: %v", err)
	}
	other := udpSocket(t, s, "127.0.0.1:10")
	check(t, other.SendTo([]byte("x"), 0, NoDeadline, other.LocalAddr()))
	recv(t, other)
	check(t, other.SendTo([]byte("lost"), 0, NoDeadline, local9))
	k.SetReuse(false, false)
	k.SetIncomingCPU(1)
	check(t, k.SetDevice(0))
	if got := k.LocalAddr().Port(); got != 0 {
		t.Errorf("the socket has port %d already", got)
	}
	// Bind by another goroutine, and what else needs the port, wait.
	again := start(func() error { return k.Bind(netip.MustParseAddrPort("127.0.0.1:11")) })
	sent := start(func() error { return k.SendTo([]byte("y"), 0, NoDeadline, same.LocalAddr()) })
	select {
	case err := <-again:
		t.Errorf("a second Bind has not waited: %v", err)
	case err := <-sent:
		t.Errorf("SendTo has not waited: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	answer <- 0
	check(t, ends(t, bound))
	check(t, ends(t, sent))
	if err := ends(t, again); err != unix.EINVAL {
		t.Errorf("a second Bind: %v", err)
	}
	if _, info := recv(t, same); info.FromPort != 9 {
		t.Errorf("sent from port %d", info.FromPort)
	}
	if _, err := try(k); err != unix.EAGAIN {
		t.Errorf("what came before was received: %v", err)
	}
	check(t, other.SendTo([]byte("z"), 0, NoDeadline, local9))
	if b, _ := recv(t, k); string(b) != "z" {
		t.Errorf("received %q", b)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[9] != 1 || h.held[11] != 0 {
		t.Errorf("held: %v", h.held)
	}
}

// A device that the socket was bound to meanwhile counts once it has the port.
func TestHolderDeviceMeanwhile(t *testing.T) {
	s, _, asked, answer := slowHolder(t)
	k := udpSocket(t, s, "")
	bound := start(func() error { return k.Bind(local9) })
	<-asked
	check(t, k.SetDevice(77)) // which nothing comes by
	answer <- 0
	check(t, ends(t, bound))
	from := udpSocket(t, s, "127.0.0.1:10")
	check(t, from.SendTo([]byte("x"), 0, NoDeadline, local9))
	if _, err := try(k); err != unix.EAGAIN {
		t.Errorf("received by another device: %v", err)
	}
	check(t, k.SetDevice(1))
	check(t, from.SendTo([]byte("y"), 0, NoDeadline, local9))
	if b, _ := recv(t, k); string(b) != "y" {
		t.Errorf("received %q", b)
	}
}

// Of several who want a port at once one gets it, however long the holder takes, and the
// others are told at once.
func TestHolderRace(t *testing.T) {
	s, h := newHeld(t, func(PortRequest) (uint16, unix.Errno) {
		time.Sleep(time.Millisecond)
		return 0, 0
	})
	for range 20 {
		var won atomic.Int32
		var all sync.WaitGroup
		var winners sync.Map
		for range 8 {
			k := udpSocket(t, s, "")
			all.Go(func() {
				switch err := k.Bind(local9); err {
				case nil:
					won.Add(1)
					winners.Store(k, true)
				case unix.EADDRINUSE:
				default:
					t.Errorf("Bind: %v", err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d have the port", won.Load())
		}
		h.holds(9)
		winners.Range(func(k, _ any) bool { check(t, k.(*UDPSocket).Close()); return true })
		h.holds()
	}
}

// A socket that is closed while the holder is asked gives back what that grants, and
// whoever waits hears of it at once.
func TestHolderClosedMeanwhile(t *testing.T) {
	for name, close := range map[string]func(s *Stack, k *UDPSocket) error{
		"socket": func(_ *Stack, k *UDPSocket) error { return k.Close() },
		"stack":  func(s *Stack, _ *UDPSocket) error { return s.Close() },
	} {
		for _, e := range []unix.Errno{0, unix.EACCES} {
			s, h, asked, answer := slowHolder(t)
			k := udpSocket(t, s, "")
			bound := start(func() error { return k.Bind(local9) })
			<-asked
			again := start(func() error { return k.Bind(local9) })
			time.Sleep(time.Millisecond)
			if err := ends(t, start(func() error { return close(s, k) })); err != nil {
				t.Errorf("%s: Close: %v", name, err)
			}
			if err := ends(t, again); err != unix.EBADF {
				t.Errorf("%s: a Bind that has waited: %v", name, err)
			}
			answer <- e
			want := unix.EBADF
			if e != 0 {
				want = e
			}
			if err := ends(t, bound); err != want {
				t.Errorf("%s: Bind: %v, want %v", name, err, want)
			}
			h.holds()
			if name == "socket" {
				next := udpSocket(t, s, "")
				bound = start(func() error { return next.Bind(local9) })
				<-asked
				answer <- 0
				check(t, ends(t, bound))
			}
		}
	}
}

// The holder may use the stack that asks it: no lock is held, in either call.
func TestHolderMayCallBack(t *testing.T) {
	var s *Stack
	var inside atomic.Bool
	h := &reentrant{call: func() {
		if inside.Swap(true) {
			return
		}
		defer inside.Store(false)
		k := udpSocket(t, s, "127.0.0.1:0")
		check(t, k.SendTo([]byte("x"), 0, NoDeadline, k.LocalAddr()))
		recv(t, k)
		s.Sockets()
		s.Stats()
	}}
	s = newStack(t, Config{Ports: h})
	k := udpSocket(t, s, "127.0.0.1:9")
	check(t, k.Connect(local9))
	check(t, k.Close())
	k = udpSocket(t, s, "")
	check(t, k.Connect(local9))
	check(t, k.Disconnect())
	if h.calls.Load() < 5 {
		t.Errorf("%d calls", h.calls.Load())
	}
	inside.Store(true) // what is closed from now on opens nothing
}

type reentrant struct {
	call  func()
	calls atomic.Int32
}

func (h *reentrant) HoldPort(PortRequest) (PortHold, unix.Errno) {
	h.calls.Add(1)
	h.call()
	return &fakeHold{release: func() { h.calls.Add(1); h.call() }}, 0
}

// Who holds a port hears of all that changes what the socket receives there, and what it
// says is what the call says.
func TestHolderIsTold(t *testing.T) {
	s, h := newHeld(t, nil)
	k := udpSocket(t, s, "0.0.0.0:9")
	hold := h.latest
	k.SetReuse(true, false)
	k.SetTOS(0x10)
	k.SetMTUDiscover(unix.IP_PMTUDISC_OMIT)
	k.Sending().SetMark(3)
	k.SetBroadcast(true)
	k.Sending().SetDontRoute(true)
	check(t, k.SetUnicastInterface(1))
	check(t, k.Connect(local9))
	peer := fmt.Sprintf("%+v", PortPeer{Addr: loopbackAddr, Port: 9, Device: 1, TOS: 0x10, Mark: 3, Broadcast: true, DontRoute: true, MTUDiscover: unix.IP_PMTUDISC_OMIT})
	check(t, k.Disconnect())
	check(t, k.SetDevice(1))
	want := []string{"reuse true false", "connect " + peer, "disconnect", "device 1"}
	if !slices.Equal(hold.told, want) {
		t.Errorf("told %q, want %q", hold.told, want)
	}
	hold.refuse = unix.EPERM
	if err := k.Connect(local9); err != unix.EPERM {
		t.Errorf("Connect: %v", err)
	}
	if _, ok := k.RemoteAddr(); ok {
		t.Error("there is a peer that the holder refused")
	}
	if err := k.SetDevice(2); err != unix.EPERM || k.Device() != 1 {
		t.Errorf("SetDevice: %v, device %d", err, k.Device())
	}
	check(t, k.Close())

	k = udpSocket(t, s, "0.0.0.0:9")
	h.latest.local = ipv4.Addr{127, 0, 0, 7}
	check(t, k.Connect(local9))
	if got := k.LocalAddr().String(); got != "127.0.0.7:9" {
		t.Errorf("local address %s, want the holder's choice", got)
	}
}

// An address that is not the stack's is the holder's to refuse.
func TestHolderKnowsAddresses(t *testing.T) {
	s, _ := newHeld(t, nil)
	k := udpSocket(t, s, "")
	if err := k.Bind(netip.MustParseAddrPort("10.1.1.1:9")); err != nil {
		t.Errorf("Bind: %v", err)
	}
}
