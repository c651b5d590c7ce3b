package stack

import (
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// A fakeSource answers as an operating system would whose routes a test sets.
type fakeSource struct {
	mu      sync.Mutex
	answers map[ipv4.Addr]RouteAnswer
	errnos  map[ipv4.Addr]unix.Errno
	asked   []RouteQuery
}

func (f *fakeSource) Route(q RouteQuery) (RouteAnswer, unix.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	if e := f.errnos[q.Dst]; e != 0 {
		return RouteAnswer{}, e
	}
	a, ok := f.answers[q.Dst]
	if !ok {
		return a, unix.ENETUNREACH
	}
	return a, 0
}

func (f *fakeSource) set(dst ipv4.Addr, a RouteAnswer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[dst] = a
}

// queries returns what was asked since the last call.
func (f *fakeSource) queries() []RouteQuery {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.asked
	f.asked = nil
	return q
}

// A hostLoopback is a link in the place of the stack's own loopback: it keeps what is
// sent by it, and has received what a test puts there.
type hostLoopback struct {
	*pipe.Link // the other end of far

	mu   sync.Mutex
	sent []link.TxFrame
	from int32 // the device by which what it receives has come
}

func (l *hostLoopback) Info() link.Info {
	i := l.Link.Info()
	i.Name, i.MTU, i.Caps = "lo", 65535, link.CapLoopback
	return i
}

func (l *hostLoopback) Send(frame []byte) error {
	_, err := l.SendBatch([]link.TxFrame{{Data: frame}})
	return err
}

func (l *hostLoopback) SendBatch(frames []link.TxFrame) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range frames {
		f.Data = slices.Clone(f.Data)
		l.sent = append(l.sent, f)
	}
	return len(frames), nil
}

func (l *hostLoopback) Receive(frames []link.Frame) int {
	n := l.Link.Receive(frames)
	for i := range n {
		frames[i].Device = l.from
	}
	return n
}

// handed returns what was sent by it since the last call.
func (l *hostLoopback) handed() []link.TxFrame {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sent
	l.sent = nil
	return s
}

// sharing is a wire whose stack shares the addresses of a host, which a test plays.
type sharing struct {
	*wire
	source *fakeSource
	host   *hostLoopback
	hostIn *pipe.Link // what is sent by it, the stack has received from the host
}

var (
	distant4 = ipv4.Addr{192, 0, 2, 9}
	gateway4 = ipv4.Addr{10, 9, 0, 3}
)

func sharingBubble(t *testing.T, cfg Config, f func(t *testing.T, w *sharing)) {
	t.Helper()
	bubbleOf(t, func(t *testing.T) {
		lo, in := pipe.New(pipe.Options{MTU: 65535})
		t.Cleanup(func() { in.Close() })
		w := &sharing{source: &fakeSource{answers: map[ipv4.Addr]RouteAnswer{}, errnos: map[ipv4.Addr]unix.Errno{}},
			host: &hostLoopback{Link: lo}, hostIn: in}
		cfg.Routes, cfg.Loopback = w.source, w.host
		w.wire = wireOf(t, newStack(t, cfg))
		w.resolved()
		w.source.set(far4, RouteAnswer{Device: int32(w.ifc.Index()), Src: near4})
		f(t, w)
	})
}

// send sends a datagram to an address.
func (w *sharing) send(k *UDPSocket, to ipv4.Addr) error {
	return k.SendTo([]byte("x"), 0, NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(to), 9))
}

// A socket's way is that of its peer: by the link, or by what is in-band.
func TestSourceIsTheWay(t *testing.T) {
	sharingBubble(t, Config{}, func(t *testing.T, w *sharing) {
		index := w.ifc.Index()
		w.source.set(distant4, RouteAnswer{Device: int32(index), InBand: true, Src: near4, MTU: 1500})
		for to, want := range map[ipv4.Addr]Way{far4: {Interface: index}, distant4: {Interface: index, InBand: true}} {
			k := udpSocket(t, w.s, "")
			check(t, k.Connect(netip.AddrPortFrom(netip.AddrFrom4(to), 9)))
			if way := k.Way(); way != want {
				t.Errorf("to %v: %+v, want %+v", to, way, want)
			}
		}
	})
}

// Who knows the routes is asked once for a path, with all that a route may depend on, and
// again when routes have changed.
func TestSourceIsAsked(t *testing.T) {
	sharingBubble(t, Config{}, func(t *testing.T, w *sharing) {
		k := udpSocket(t, w.s, "0.0.0.0:7")
		k.SetTOS(0x10)
		k.Sending().SetMark(77)
		check(t, k.SetDevice(w.ifc.Index()))
		check(t, w.send(k, far4))
		check(t, w.send(k, far4))
		want := []RouteQuery{{Dst: far4, Device: int32(w.ifc.Index()), TOS: 0x10, Mark: 77, Loop: true, Protocol: ipv4.ProtocolUDP}}
		if got := w.source.queries(); !slices.Equal(got, want) {
			t.Errorf("asked %+v, want %+v", got, want)
		}
		w.s.RoutesChanged()
		check(t, w.send(k, far4))
		if got := w.source.queries(); !slices.Equal(got, want) {
			t.Errorf("after a change asked %+v, want %+v", got, want)
		}
		if n := len(w.sentIP()); n != 3 {
			t.Errorf("%d datagrams left by the link, want 3", n)
		}
		tos := SendOptions{TOS: 4, HasTOS: true, Mark: 5, HasMark: true}
		_, err := k.SendMessages([]OutMessage{{Buffers: [][]byte{nil}, To: netip.MustParseAddrPort("10.9.0.2:9"), Options: &tos}}, 0, NoDeadline)
		check(t, err)
		want[0].TOS, want[0].Mark = 4, 5
		if got := w.source.queries(); !slices.Equal(got, want) {
			t.Errorf("by control messages asked %+v, want %+v", got, want)
		}
	})
}

// What it answers is done: device, gateway, source, MTU, errno.
func TestSourceAnswers(t *testing.T) {
	sharingBubble(t, Config{}, func(t *testing.T, w *sharing) {
		k := udpSocket(t, w.s, "0.0.0.0:7")
		w.source.set(distant4, RouteAnswer{Device: int32(w.ifc.Index()), Gateway: gateway4, Src: ipv4.Addr{10, 9, 0, 7}, MTU: 600})
		check(t, k.Connect(netip.MustParseAddrPort("192.0.2.9:9")))
		if got := k.LocalAddr().Addr().String(); got != "10.9.0.7" {
			t.Errorf("source %s", got)
		}
		if mtu, err := k.PathMTU(); mtu != 600 || err != nil {
			t.Errorf("MTU %d, %v", mtu, err)
		}
		w.sent()
		check(t, k.Send(nil, 0, NoDeadline))
		if asks := w.sentARP(); len(asks) != 1 || !slices.Equal(asks[0].data[38:42], gateway4[:]) {
			t.Errorf("the gateway is not asked for: %d ARP frames", len(asks))
		}
		other := udpSocket(t, w.s, "")
		for _, e := range []unix.Errno{unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.ENETUNREACH} {
			w.source.errnos[distant4] = e
			if err := w.send(other, distant4); err != e {
				t.Errorf("%v, want %v", err, e)
			}
		}
		group := ipv4.Addr{10, 9, 0, 255}
		w.source.set(group, RouteAnswer{Kind: ToBroadcast, Device: int32(w.ifc.Index()), Src: near4})
		if err := w.send(other, group); err != unix.EACCES {
			t.Errorf("broadcast: %v", err)
		}
		other.SetBroadcast(true)
		check(t, w.send(other, group))
	})
}

// An MTU that was learnt is forgotten in time, as one from an ICMP error is.
func TestSourceLearntMTU(t *testing.T) {
	sharingBubble(t, Config{}, func(t *testing.T, w *sharing) {
		k := udpSocket(t, w.s, "0.0.0.0:7")
		w.source.set(far4, RouteAnswer{Device: int32(w.ifc.Index()), Src: near4, MTU: 700, Learnt: true})
		check(t, k.Connect(netip.MustParseAddrPort("10.9.0.2:9")))
		if mtu, err := k.PathMTU(); mtu != 700 || err != nil {
			t.Errorf("MTU %d, %v", mtu, err)
		}
		if n := w.s.routes.PathMTUs(); n != 1 {
			t.Errorf("%d learnt MTUs", n)
		}
	})
}

// What one socket is told of a path's MTU, those know that have asked before.
func TestSourceLearntMTUReachesOthers(t *testing.T) {
	sharingBubble(t, Config{}, func(t *testing.T, w *sharing) {
		a := RouteAnswer{Device: int32(w.ifc.Index()), Src: near4}
		w.source.set(far4, a)
		k, other := udpSocket(t, w.s, "0.0.0.0:7"), udpSocket(t, w.s, "")
		check(t, k.Connect(netip.MustParseAddrPort("10.9.0.2:9")))
		w.resolved()
		check(t, k.Send(payload(1000), 0, NoDeadline))
		if n := len(w.sentIP()); n != 1 {
			t.Errorf("%d frames at first", n)
		}
		a.MTU, a.Learnt = 700, true
		w.source.set(far4, a)
		check(t, other.Connect(netip.MustParseAddrPort("10.9.0.2:9")))
		check(t, k.Send(payload(1000), 0, NoDeadline))
		if n := len(w.sentIP()); n != 2 {
			t.Errorf("%d frames once another socket has heard of the MTU", n)
		}
	})
}

// What is for the host, what it has no interface for, and what it is told to leave to the
// host goes by the host, with the device named, and counted unless it stays there.
func TestSourceInBand(t *testing.T) {
	sharingBubble(t, Config{}, func(t *testing.T, w *sharing) {
		k := udpSocket(t, w.s, "0.0.0.0:7")
		w.source.set(near4, RouteAnswer{Local: true, Device: 1, Src: near4})
		w.source.set(distant4, RouteAnswer{Device: 99, Src: near4, MTU: 1400})
		group := ipv4.Addr{239, 1, 1, 1}
		w.source.set(group, RouteAnswer{Kind: ToMulticast, Device: int32(w.ifc.Index()), Src: near4, MTU: 1500, InBand: true})
		cases := []struct {
			to      ipv4.Addr
			device  int32
			counted uint64
		}{{near4, 0, 0}, {distant4, 99, 1}, {group, int32(w.ifc.Index()), 1}}
		for _, c := range cases {
			w.mark()
			check(t, w.send(k, c.to))
			frames := w.host.handed()
			if len(frames) != 1 {
				t.Errorf("to %s: %d frames handed to the host", c.to, len(frames))
				continue
			}
			h, _, _ := ipv4.Parse(frames[0].Data[link.HeaderLen:])
			if frames[0].Device != c.device || h.Dst() != c.to || h.Src() != near4 {
				t.Errorf("to %s: by device %d, from %s", c.to, frames[0].Device, h.Src())
			}
			if got := w.s.Stats().Get("OutbandSentInBand") - w.base.Get("OutbandSentInBand"); got != c.counted {
				t.Errorf("to %s: counted %d, want %d", c.to, got, c.counted)
			}
		}
		if n := len(w.sentIP()); n != 0 {
			t.Errorf("%d datagrams left by the link", n)
		}
		check(t, k.Connect(netip.MustParseAddrPort("192.0.2.9:9")))
		if mtu, err := k.PathMTU(); mtu != 1400 || err != nil {
			t.Errorf("MTU %d, %v", mtu, err)
		}
	})
}

// What the host hands over counts as having come by the device that it names, for sockets
// that are bound to it, in IP_PKTINFO, and for groups.
func TestCameBy(t *testing.T) {
	sharingBubble(t, Config{}, func(t *testing.T, w *sharing) {
		any, bound := udpSocket(t, w.s, "0.0.0.0:7"), udpSocket(t, w.s, "")
		check(t, bound.SetDevice(99))
		check(t, bound.Bind(netip.MustParseAddrPort("0.0.0.0:8")))
		w.host.from = 99
		w.fromHost(udpFrom(5, 7, "tunnel"))
		if _, info := recv(t, any); info.Home != 99 {
			t.Errorf("came by %d, want 99", info.Home)
		}
		w.fromHost(udpFrom(5, 8, "tunnel"))
		recv(t, bound)

		check(t, any.Multicast().JoinGroup(GroupRequest{Group: team, Interface: w.ifc.Index()}))
		w.host.from = int32(w.ifc.Index())
		w.fromHost(ip(ipv4.Fields{Src: near4, Dst: team}, datagram(near4, team, 5, 7, []byte("looped"))))
		if _, info := recv(t, any); info.Home != int32(w.ifc.Index()) {
			t.Errorf("a multicast came by %d", info.Home)
		}
	})
}

// fromHost has the host hand frames to the stack.
func (w *sharing) fromHost(frames ...[]byte) {
	w.t.Helper()
	for _, f := range frames {
		check(w.t, w.hostIn.Send(f))
	}
	w.settle()
}

// What sockets want is told when it changes, and only then.
func TestWanted(t *testing.T) {
	var told []Wants
	s := newStack(t, Config{Wanted: func(w Wants) { told = append(told, w) }})
	last := func() Wants {
		if len(told) == 0 {
			return Wants{}
		}
		return told[len(told)-1]
	}
	raw, err := s.NewRawSocket(unix.IPPROTO_ICMP)
	check(t, err)
	if w := last(); w.Frames || !w.Protocol(1) || w.Protocol(17) {
		t.Errorf("with a raw socket: %+v", w)
	}
	again, err := s.NewRawSocket(unix.IPPROTO_ICMP)
	check(t, err)
	if len(told) != 1 {
		t.Errorf("told %d times", len(told))
	}
	check(t, again.Close())
	check(t, raw.Disconnect()) // by which it loses its protocol
	if w := last(); w != (Wants{}) {
		t.Errorf("without: %+v", w)
	}
	idle, err := s.NewPacketSocket(false, 0)
	check(t, err)
	if n := len(told); n != 2 {
		t.Errorf("a packet socket that receives nothing is told of: %d", n)
	}
	check(t, idle.BindLink(1, unix.ETH_P_ALL))
	if w := last(); !w.Frames {
		t.Errorf("with a packet socket: %+v", w)
	}
	check(t, idle.Close())
	if w := last(); w != (Wants{}) {
		t.Errorf("at the end: %+v", w)
	}
}

// A groupTeller notes what it is told of groups.
type groupTeller struct {
	told   []igmp.Filter
	refuse error
}

func (g *groupTeller) SetGroup(_ ipv4.Addr, f igmp.Filter) error {
	g.told = append(g.told, f)
	return g.refuse
}

// Who reports groups is told what all sockets want together, and may refuse.
func TestGroupReporter(t *testing.T) {
	s := newStack(t, Config{})
	a, b := pipe.New(pipe.Options{})
	t.Cleanup(func() { b.Close() })
	teller := new(groupTeller)
	i, err := s.AddLink(a, InterfaceConfig{Policy: SharedPolicy(), Groups: teller})
	check(t, err)
	k, other := udpSocket(t, s, ""), udpSocket(t, s, "")
	r := GroupRequest{Group: team, Interface: i.Index()}
	check(t, k.Multicast().JoinSource(r, far4))
	check(t, other.Multicast().JoinGroup(r))
	check(t, other.Multicast().LeaveGroup(r))
	check(t, k.Close())
	last := teller.told[len(teller.told)-1]
	if last.Mode != igmp.Include || len(last.Sources) != 0 {
		t.Errorf("at the end %+v", last)
	}
	want := igmp.Filter{Mode: igmp.Include, Sources: []ipv4.Addr{far4}}
	same := func(f igmp.Filter) bool { return f.Mode == want.Mode && slices.Equal(f.Sources, want.Sources) }
	if !slices.ContainsFunc(teller.told, same) {
		t.Errorf("told %+v, never %+v", teller.told, want)
	}
	teller.refuse = unix.ENOBUFS
	if err := other.Multicast().JoinGroup(r); err != unix.ENOBUFS {
		t.Errorf("a refused join: %v", err)
	}
	teller.refuse = nil
	if err := other.Multicast().LeaveGroup(r); err != unix.EADDRNOTAVAIL {
		t.Errorf("a refused join left a membership: %v", err)
	}
}
