package conformance

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A reader waits in Recv, and hands on what it gets.
type reader struct {
	got  chan string
	errs chan error
}

func (w *world) reader(k *stack.UDPSocket) *reader {
	r := &reader{make(chan string, 1024), make(chan error, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, _, err := k.Recv(b, 0, stack.NoDeadline)
			if err != nil {
				r.errs <- err
				return
			}
			r.got <- string(b[:n])
		}
	})
	w.t.Cleanup(func() { k.Close(); wg.Wait() })
	return r
}

func (r *reader) want(t testing.TB, want string) {
	t.Helper()
	select {
	case got := <-r.got:
		if got != want {
			t.Fatalf("received %q, want %q", got, want)
		}
	case err := <-r.errs:
		t.Fatalf("received %v, want %q", err, want)
	case <-time.After(lab.Patience):
		t.Fatalf("received nothing, want %q", want)
	}
}

func (r *reader) wantNothing(t testing.TB) {
	t.Helper()
	select {
	case got := <-r.got:
		t.Fatalf("received %q", got)
	case err := <-r.errs:
		t.Fatalf("the reader was sent away: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
}

// state waits until the link has found out about its device.
func (w *world) state(want link.State) {
	w.t.Helper()
	await(w.t, "link "+want.String(), func() bool { return w.dev.Info().State == want })
}

// Readers wait through all that happens to the device; senders are told; and
// when it is back, everything works as before.
func TestDeviceComesAndGoes(t *testing.T) {
	for _, c := range []struct {
		name       string
		spin       time.Duration
		gone, back func(w *world)
		state      link.State
	}{
		{"down", stack.SpinAdaptive,
			func(w *world) { check(w.t, w.near.SetDown(w.near.Name)) },
			func(w *world) { check(w.t, w.near.SetUp(w.near.Name)) }, link.Down},
		{"down, spinning", stack.SpinAlways,
			func(w *world) { check(w.t, w.near.SetDown(w.near.Name)) },
			func(w *world) { check(w.t, w.near.SetUp(w.near.Name)) }, link.Down},
		{"no carrier", stack.SpinNever,
			func(w *world) { check(w.t, w.far.SetDown(w.far.Name)) },
			func(w *world) { check(w.t, w.far.SetUp(w.far.Name)) }, link.NoCarrier},
		{"deleted", stack.SpinAdaptive, deletePair, recreatePair, link.Gone},
		{"deleted, spinning", stack.SpinAlways, deletePair, recreatePair, link.Gone},
		{"moved away", stack.SpinNever,
			func(w *world) { check(w.t, w.near.MoveDevice(w.near.Name, w.far.Namespace)) },
			func(w *world) {
				check(w.t, w.far.MoveDevice(w.near.Name, w.near.Namespace))
				check(w.t, w.near.SetUp(w.near.Name))
			}, link.Gone},
	} {
		t.Run(c.name, func(t *testing.T) { comeAndGo(t, c.spin, c.gone, c.back, c.state) })
	}
}

func comeAndGo(t *testing.T, spin time.Duration, gone, back func(*world), state link.State) {
	w := newWorld(t, setup{stack: stack.Config{Spin: spin}})
	k, other, peer := w.udp(7), w.udp(8), w.far.UDP(t, 7)
	check(t, k.Connect(w.kernels(7)))
	r, r2 := w.reader(k), w.reader(other)
	for range 2 { // and once more
		exchange(t, w, k, peer, r)
		gone(w)
		w.state(state)
		wantN, want := 0, error(unix.ENETUNREACH)
		if state == link.NoCarrier {
			wantN, want = 1, nil // it is lost
		}
		if err := k.Send([]byte("x"), 0, stack.NoDeadline); err != want {
			t.Errorf("Send: %v, want %v", err, want)
		}
		n, err := k.SendMessages([]stack.OutMessage{{Buffers: [][]byte{{1}}}}, 0, stack.NoDeadline)
		if n != wantN || err != want {
			t.Errorf("SendMessages: %d, %v, want %d, %v", n, err, wantN, want)
		}
		if err := w.unbound().Connect(w.kernels(7)); err != want {
			t.Errorf("Connect: %v, want %v", err, want)
		}
		r.wantNothing(t)
		back(w)
		w.state(link.Up)
		exchange(t, w, k, peer, r)
		r2.wantNothing(t)
	}
}

// exchange sends one datagram each way, again and again until both got through:
// for a moment after its device has come up the kernel drops what it sends.
func exchange(t *testing.T, w *world, k *stack.UDPSocket, peer *inband.UDP, r *reader) {
	t.Helper()
	check(t, peer.SetReadTimeout(50*time.Millisecond))
	await(t, "a datagram to the kernel", func() bool {
		if k.Send([]byte("out"), 0, stack.NoDeadline) != nil {
			return false
		}
		_, err := peer.Recv(make([]byte, 10), 0)
		return err == nil
	})
	await(t, "a datagram to us", func() bool {
		peer.SendTo([]byte("in"), w.ours(7))
		select {
		case got := <-r.got:
			return got == "in"
		case <-time.After(20 * time.Millisecond):
			return false
		}
	})
	check(t, peer.SendTo([]byte("end"), w.ours(7)))
	for got := ""; got != "end"; {
		select {
		case got = <-r.got:
		case <-time.After(lab.Patience):
			t.Fatal("the reader got the first datagram, but not the last")
		}
	}
}

func deletePair(w *world) { check(w.t, w.near.DeleteDevice(w.near.Name)) }

func recreatePair(w *world) {
	check(w.t, w.near.AddVeth(netlab.Veth{Name: w.near.Name, PeerName: w.far.Name, Peer: w.far.Namespace,
		MAC: w.near.MAC, PeerMAC: w.far.MAC}))
	check(w.t, w.far.AddAddress(w.far.Name, w.far.Prefix()))
	check(w.t, w.far.SetUp(w.far.Name))
	check(w.t, w.near.SetUp(w.near.Name))
}

// The MTU may change while we run: what is sent fits the new one.
func TestMTUChanges(t *testing.T) {
	w := newWorld(t, setup{})
	k, peer, wire := w.udp(7), w.far.UDP(t, 7), w.far.Packet(t)
	for _, mtu := range []int{1500, 9000, 700} {
		check(t, w.far.SetMTU(w.far.Name, mtu))
		check(t, w.near.SetMTU(w.near.Name, mtu))
		await(t, "MTU known", func() bool { return w.ifc.Link().Info().MTU == mtu })
		w.echoOnce(k, peer, pattern(6000, uint32(mtu)))
		longest := 0
		for {
			frame := wire.Want(t, lab.EtherType(unix.ETH_P_IP))
			longest = max(longest, len(frame)-14)
			if h, _, _ := ipv4.Parse(frame[14:]); !h.MoreFragments() {
				break
			}
		}
		if longest > mtu || longest < min(mtu, 6028)-8 {
			t.Errorf("MTU %d: the longest packet has %d bytes", mtu, longest)
		}
	}
}

// Links and addresses are added and removed while datagrams pass.
func TestAddressesAtRunTime(t *testing.T) {
	w := newWorld(t, setup{})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	w.echoOnce(k, peer, []byte("first"))
	second := w.near.Prefix().Addr().Next().Next().Next() // 10.9.0.4
	prefix := w.near.Prefix()
	other, err := second.Prefix(32)
	check(t, err)
	check(t, w.ifc.AddAddress(other))
	check(t, peer.SendTo([]byte("to the second"), netipPort(second, 7)))
	got, info := w.recv(k)
	if string(got) != "to the second" || info.To != second.As4() {
		t.Errorf("received %q to %v", got, info.To)
	}
	wantErr(t, w.ifc.AddAddress(prefix), unix.EEXIST)
	check(t, w.ifc.RemoveAddress(prefix))
	wantErr(t, w.ifc.RemoveAddress(prefix), unix.EADDRNOTAVAIL)
	wantErr(t, k.SendTo([]byte("x"), 0, stack.NoDeadline, w.kernels(7)), unix.ENETUNREACH)
	check(t, w.ifc.AddAddress(prefix))
	w.echoOnce(k, peer, []byte("back"))
	check(t, w.stack.RemoveLink(w.ifc.Index()))
	wantErr(t, k.SendTo([]byte("x"), 0, stack.NoDeadline, w.kernels(7)), unix.ENETUNREACH)
	wantErr(t, w.stack.RemoveLink(w.ifc.Index()), unix.ENODEV)
	w.dev = openRing(t, w.near, tpacket.Options{})
	w.ifc, err = w.stack.AddLink(w.dev, stack.InterfaceConfig{})
	check(t, err)
	check(t, w.ifc.AddAddress(prefix))
	w.echoOnce(k, peer, []byte("and again"))
}

// A stoppedClock is a stack's clock that a test can hold: whoever looks at it,
// the leader among others, stands still until it goes on.
type stoppedClock struct {
	mu    sync.RWMutex
	start time.Time
	asked chan struct{} // holds one token if somebody asks while the clock is held
}

func (c *stoppedClock) Now() int64 {
	if !c.mu.TryRLock() {
		select {
		case c.asked <- struct{}{}:
		default:
		}
		c.mu.RLock()
	}
	defer c.mu.RUnlock()
	return int64(time.Since(c.start))
}

// Nobody empties the ring: what does not fit is lost, and counted, and told of to a socket
// that asks (SO_RXQ_OVFL).
func TestRingOverflow(t *testing.T) {
	clock := &stoppedClock{start: time.Now(), asked: make(chan struct{}, 1)}
	w := newWorld(t, setup{stack: stack.Config{Clock: clock},
		link: tpacket.Options{Slots: 8, SlotSize: 2048, BlockSize: 4096}})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	k.SetReceiveBuffer(1 << 20)
	k.Receiving().SetKeepDrops(true)
	w.echoOnce(k, peer, []byte("resolve"))
	before, counted := w.dev.Stats(), w.stat("LinkRxRingFull")
	const burst = 100
	clock.mu.Lock()
	for i := range burst {
		check(t, peer.SendTo(sealed(100, uint32(i)), w.ours(7)))
	}
	clock.mu.Unlock()
	await(t, "all frames received or counted as dropped", func() bool {
		s := w.dev.Stats()
		return s.RxFrames-before.RxFrames+s.RxDropped-before.RxDropped >= burst
	})
	s := w.dev.Stats()
	if s.RxDropped-before.RxDropped < burst/2 {
		t.Errorf("a ring of %d slots dropped only %d of %d frames", w.dev.Slots(), s.RxDropped-before.RxDropped, burst)
	}
	for range s.RxFrames - before.RxFrames {
		got, _ := w.recv(k)
		if _, ok := intact(got); !ok {
			t.Fatal("a corrupt datagram came out of an overflown ring")
		}
	}
	lost := w.stat("LinkRxRingFull") - counted
	if lost+s.RxFrames-before.RxFrames != burst {
		t.Errorf("%d sent, %d received, %d counted", burst, s.RxFrames-before.RxFrames, lost)
	}
	check(t, peer.SendTo([]byte("behind the gap"), w.ours(7)))
	if _, in := w.recv(k); uint64(in.Drops) != lost {
		t.Errorf("the datagram behind the gap tells of %d lost, want %d", in.Drops, lost)
	}
	w.echoOnce(k, peer, []byte("as if nothing had happened"))
}

// A full socket loses datagrams, counts them, and works on.
func TestSocketOverflow(t *testing.T) {
	w := newWorld(t, setup{})
	k, peer := w.udp(7), w.far.UDP(t, 7)
	w.echoOnce(k, peer, []byte("resolve"))
	k.SetReceiveBuffer(8192)
	const burst = 100
	for i := range burst {
		check(t, peer.SendTo(sealed(1000, uint32(i)), w.ours(7)))
	}
	await(t, "all datagrams counted", func() bool {
		return w.stat("UdpInDatagrams")+w.stat("UdpRcvbufErrors") == burst+1
	})
	drops := uint64(k.Drops())
	if drops == 0 || drops != w.stat("UdpRcvbufErrors") || drops != w.stat("UdpInErrors") {
		t.Errorf("%d drops, %d UdpRcvbufErrors, %d UdpInErrors", drops, w.stat("UdpRcvbufErrors"), w.stat("UdpInErrors"))
	}
	for i := range burst - drops { // the oldest are kept
		got, _ := w.recv(k)
		wantBytes(t, got, sealed(1000, uint32(i)))
	}
	w.echoOnce(k, peer, []byte("works on"))
}
