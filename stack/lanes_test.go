package stack

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// laneWire is a wire with a second interface, 10.8.0.1/24 in the second lane, whose other
// end is the test's too.
type laneWire struct {
	*wire
	second *Interface
	other  *pipe.Link
}

var (
	second4 = ipv4.Addr{10, 8, 0, 1}
	third4  = ipv4.Addr{10, 8, 0, 2}
)

func newLaneWire(t testing.TB, cfg Config) *laneWire {
	t.Helper()
	w := &laneWire{wire: newWire(t, cfg)}
	a, b := pipe.New(pipe.Options{})
	t.Cleanup(func() { b.Close() })
	i, err := w.s.AddLink(a, InterfaceConfig{Lane: 1})
	check(t, err)
	check(t, i.AddAddress(netip.PrefixFrom(netip.AddrFrom4(second4), 24)))
	w.second, w.other = i, b
	return w
}

// laneBubble runs a test with a laneWire in simulated time.
func laneBubble(t *testing.T, f func(t *testing.T, w *laneWire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Millisecond) })
		w := newLaneWire(t, Config{})
		w.resolved()
		check(t, w.second.SetNeighbour(netip.AddrFrom4(third4), farMAC, arp.Permanent))
		f(t, w)
	})
}

// secondFrame returns the frame of a datagram that comes by the second interface.
func secondFrame(port uint16, data []byte) []byte {
	return ip(ipv4.Fields{Protocol: ipv4.ProtocolUDP, Src: third4, Dst: second4}, datagram(third4, second4, 7, port, data))
}

// othersSent returns the frames that the stack has sent by the second interface.
func (w *laneWire) othersSent() []sentFrame { return (&wire{far: w.other, born: w.born}).sent() }

// TestLanesOfInterfaces: an interface names its lane, within bounds.
func TestLanesOfInterfaces(t *testing.T) {
	w := newLaneWire(t, Config{})
	for _, lane := range []int{-1, MaxLanes} {
		a, _ := pipe.New(pipe.Options{})
		if _, err := w.s.AddLink(a, InterfaceConfig{Lane: lane}); err != unix.EINVAL {
			t.Errorf("lane %d: %v, want EINVAL", lane, err)
		}
	}
	for name, i := range map[string]*Interface{"first": w.ifc, "second": w.second} {
		want := map[string]int{"first": 0, "second": 1}[name]
		if all := *w.s.lanes.all.Load(); i.lane != all[want] {
			t.Errorf("the %s interface is of another lane", name)
		}
	}
}

// TestEachLaneIsDriven: whoever waits has what comes by any lane, and the housekeeper
// drives them all when nobody does.
func TestEachLaneIsDriven(t *testing.T) {
	laneBubble(t, func(t *testing.T, w *laneWire) {
		any := w.socket("0.0.0.0:9", "")
		bound := udpSocket(t, w.s, "")
		check(t, bound.SetDevice(w.second.Index()))
		check(t, bound.Bind(netip.MustParseAddrPort("0.0.0.0:10")))
		for name, tt := range map[string]struct {
			k     *UDPSocket
			to    *pipe.Link
			frame []byte
		}{
			"first":        {any, w.far, udpFrame(9, []byte("x"))},
			"second":       {any, w.other, secondFrame(9, []byte("x"))},
			"second bound": {bound, w.other, secondFrame(10, []byte("x"))},
		} {
			check(t, tt.to.Send(tt.frame))
			if got, err := try(tt.k); err != nil || got != "x" {
				t.Errorf("%s, not waiting: %q, %v", name, got, err)
			}
			go func() {
				time.Sleep(time.Second)
				tt.to.Send(tt.frame)
			}()
			if b, _ := recvWithin(t, tt.k, 2*time.Second); string(b) != "x" {
				t.Errorf("%s, asleep: %q", name, b)
			}
			g := w.s.NewWaiter(func() bool { return tt.k.Readable() })
			go func() {
				time.Sleep(time.Second)
				tt.to.Send(tt.frame)
			}()
			if !g.Wait(w.s.Deadline(2 * time.Second)) {
				t.Errorf("%s: nothing to wait for", name)
			}
			w.got2(tt.k, "x")
		}
		w.othersSent()
		check(t, w.other.Send(ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP, Src: third4, Dst: second4},
			icmp.AppendEcho(nil, icmp.Echo, 1, 1, payload(56)))))
		w.settle()
		if n := len(w.othersSent()); n != 1 {
			t.Errorf("%d frames sent, want an echo reply", n)
		}
	})
}

// recvWithin receives one datagram within some time.
func recvWithin(t *testing.T, k *UDPSocket, d time.Duration) (string, error) {
	t.Helper()
	b := make([]byte, 2048)
	n, _, err := k.Recv(b, 0, k.s.Deadline(d))
	if err != nil {
		t.Errorf("Recv: %v", err)
	}
	return string(b[:n]), err
}

func (w *laneWire) got2(k *UDPSocket, want string) {
	w.t.Helper()
	if s, err := try(k); err != nil || s != want {
		w.t.Errorf("Recv: %q, %v; want %q", s, err, want)
	}
}

// TestTimersOfOtherLanes: an interface of another lane than the first, which runs the
// timers, reports its groups and asks for its neighbours.
func TestTimersOfOtherLanes(t *testing.T) {
	laneBubble(t, func(t *testing.T, w *laneWire) {
		k := w.socket("0.0.0.0:9", "")
		w.othersSent()
		check(t, k.Multicast().JoinGroup(GroupRequest{Group: groupAddr(1), Interface: w.second.Index()}))
		check(t, k.SendTo([]byte("x"), 0, NoDeadline, netip.MustParseAddrPort("10.8.0.9:9")))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		sent := w.othersSent()
		if n := len(pick(sent, unix.ETH_P_ARP)); n < 3 {
			t.Errorf("%d requests for a neighbour, want 3", n)
		}
		if n := len(pick(sent, unix.ETH_P_IP)); n < 2 {
			t.Errorf("%d reports of a group, want 2", n)
		}
	})
}

// TestFragmentsOfSeveralLanes: a datagram is put together of what comes by two lanes.
func TestFragmentsOfSeveralLanes(t *testing.T) {
	laneBubble(t, func(t *testing.T, w *laneWire) {
		k := w.socket("0.0.0.0:9", "")
		whole := datagram(far4, near4, 7, 9, payload(2000))
		check(t, w.far.Send(fragment(1, whole, 0, 1480)))
		w.settle()
		check(t, w.other.Send(fragment(1, whole, 1480, len(whole))))
		w.settle()
		if got, err := try(k); err != nil || len(got) != 2000 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// TestLanesAtOnce has two goroutines receive by two lanes, while all that they share is
// changed.
func TestLanesAtOnce(t *testing.T) {
	w := newLaneWire(t, Config{})
	w.resolved()
	check(t, w.second.SetNeighbour(netip.AddrFrom4(third4), farMAC, arp.Permanent))
	count := 20000
	if testing.Short() {
		count = 2000
	}
	first, second := w.socket("10.9.0.1:9", ""), w.socket("10.8.0.1:9", "")
	check(t, first.SetDevice(w.ifc.Index()))
	check(t, second.SetDevice(w.second.Index()))
	var receivers, others sync.WaitGroup
	var over atomic.Bool
	for k, from := range map[*UDPSocket]struct {
		l     *pipe.Link
		frame []byte
	}{first: {w.far, udpFrame(9, payload(32))}, second: {w.other, secondFrame(9, payload(32))}} {
		receivers.Go(func() {
			b := make([]byte, 64)
			for n := range count {
				if _, _, err := k.Recv(b, 0, k.s.Deadline(10*time.Second)); err != nil {
					t.Errorf("after %d: %v", n, err)
					return
				}
			}
		})
		others.Go(func() {
			for !over.Load() {
				if k.queue.N.Load() < 32 {
					from.l.Send(from.frame)
				}
				time.Sleep(0)
			}
		})
	}
	for _, change := range []func(n int) error{
		func(n int) error { // binds and closes
			k, err := w.s.NewUDPSocket()
			if err != nil {
				return err
			}
			defer k.Close()
			if err := k.Bind(netip.AddrPortFrom(netip.IPv4Unspecified(), 0)); err != nil {
				return err
			}
			return k.Connect(netip.MustParseAddrPort("10.8.0.2:7"))
		},
		func(n int) error { // joins and leaves, by both interfaces
			k := w.s.newUDPSocket(t)
			defer k.Close()
			r := GroupRequest{Group: groupAddr(n % 8), Interface: []*Interface{w.ifc, w.second}[n%2].Index()}
			if err := k.Multicast().JoinGroup(r); err != nil {
				return err
			}
			return k.Multicast().LeaveGroup(r)
		},
		func(n int) error { // addresses
			i := []*Interface{w.ifc, w.second}[n%2]
			p := netip.MustParsePrefix("10.7.0.1/24")
			if err := i.AddAddress(p); err != nil {
				return err
			}
			return i.RemoveAddress(p)
		},
		func(n int) error { // raw sockets
			k, err := w.s.NewRawSocket(unix.IPPROTO_ICMP)
			if err != nil {
				return err
			}
			return k.Close()
		},
		func(n int) error { // lanes
			a, b := pipe.New(pipe.Options{})
			defer b.Close()
			i, err := w.s.AddLink(a, InterfaceConfig{Lane: n % 4})
			if err != nil {
				return err
			}
			return w.s.RemoveLink(i.Index())
		},
		func(n int) error { w.s.Stats(); return nil },
	} {
		others.Go(func() {
			for n := 0; !over.Load(); n++ {
				if err := change(n); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	receivers.Wait()
	over.Store(true)
	others.Wait()
	if got := w.s.Stats().Get("UdpInDatagrams"); got < uint64(2*count) {
		t.Errorf("UdpInDatagrams is %d, want at least %d", got, 2*count)
	}
	for n, l := range (*w.s.lanes.all.Load())[:2] {
		l.begin()
		if !l.drive.Led() {
			t.Errorf("lane %d was not led", n)
		}
		l.end()
	}
}

// newUDPSocket is NewUDPSocket for tests that know that it succeeds.
func (s *Stack) newUDPSocket(t testing.TB) *UDPSocket {
	k, err := s.NewUDPSocket()
	if err != nil {
		t.Error(err)
	}
	return k
}

// laneLink is a link that has always a frame.
type laneLink struct {
	replay
	index int
	_     [64]byte // two are not on one cache line
}

func (l *laneLink) Info() link.Info {
	i := l.replay.Info()
	i.Index, i.Name = l.index, "lane"+itoa(l.index)
	return i
}

func (l *laneLink) Receive(frames []link.Frame) int {
	f := &frames[0]
	f.Data, f.Meta = l.frame, link.Meta{WireLen: len(l.frame)}
	return 1
}

// BenchmarkLanes receives by as many lanes as goroutines, each by its own. ns/op is the
// time in which each receives one datagram. Two stacks are what two lanes can be at best,
// on a machine whose processors are in one another's way, or busy otherwise.
func BenchmarkLanes(b *testing.B) {
	for _, tt := range []struct {
		name          string
		stacks, lanes int
	}{{"one", 1, 1}, {"two", 1, 2}, {"stacks", 2, 1}} {
		b.Run(tt.name, func(b *testing.B) {
			var sockets []*UDPSocket
			for range tt.stacks {
				s := newStack(b, Config{})
				for lane := range tt.lanes {
					sockets = append(sockets, laneSocket(b, s, lane))
				}
			}
			b.ResetTimer()
			before := cpuTime(b)
			var all sync.WaitGroup
			for _, k := range sockets {
				all.Go(func() {
					buf := make([]byte, 128)
					for range b.N {
						if _, _, err := k.Recv(buf, 0, NoDeadline); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			datagrams := float64(len(sockets) * b.N)
			b.ReportMetric(float64(cpuTime(b)-before)/datagrams, "cpu-ns/datagram")
			b.ReportMetric(datagrams/b.Elapsed().Seconds()/1e6, "Mdatagrams/s")
		})
	}
}

// laneSocket returns a socket that is bound to an interface of a lane, whose link has
// always a datagram for it.
func laneSocket(b *testing.B, s *Stack, lane int) *UDPSocket {
	l := &laneLink{index: 10 + lane}
	near, far := ipv4.Addr{10, byte(lane), 0, 1}, ipv4.Addr{10, byte(lane), 0, 2}
	l.frame = ip(ipv4.Fields{Protocol: ipv4.ProtocolUDP, Src: far, Dst: near}, datagram(far, near, 7, 9, payload(64)))
	i, err := s.AddLink(l, InterfaceConfig{Lane: lane})
	check(b, err)
	check(b, i.AddAddress(netip.PrefixFrom(netip.AddrFrom4(near), 24)))
	k := udpSocket(b, s, "")
	check(b, k.SetDevice(l.index))
	check(b, k.Bind(netip.AddrPortFrom(netip.IPv4Unspecified(), 9)))
	return k
}

// cpuTime returns how many nanoseconds of processors the process has had.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	check(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}
