package stack

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// What is at the edge of what a call takes.
func TestSendEdges(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	to := netip.AddrPortFrom(farAddr, 7)
	ping, err := p.near.NewPingSocket()
	check(t, err)
	echo := make([]byte, maxDatagram)
	echo[0] = icmp.Echo
	header := ipv4Datagram(testProtocol, nearAddr.As4(), farAddr.As4(), "")
	udp := func(n, flags int) error {
		return udpSocket(t, p.near, "").SendTo(make([]byte, n), flags, NoDeadline, to)
	}
	for _, tt := range []struct {
		name string
		got  error
		want error
	}{
		{"out of band, as long as a length may be", udp(65535, unix.MSG_OOB), unix.EOPNOTSUPP},
		{"out of band, longer", udp(65536, unix.MSG_OOB), unix.EMSGSIZE},
		{"as long as a length may be", udp(65535, 0), unix.EMSGSIZE},
		{"an echo as long as can be", ping.SendTo(echo, 0, NoDeadline, to), nil},
		{"a longer one", ping.SendTo(append(echo, 0), 0, NoDeadline, to), unix.EMSGSIZE},
		{"an echo of a header", ping.SendTo(echo[:8], 0, NoDeadline, to), nil},
		{"a shorter one", ping.SendTo(echo[:7], 0, NoDeadline, to), unix.EINVAL},
		{"to port 0", udpSocket(t, p.near, "").SendTo(nil, 0, NoDeadline, netip.AddrPortFrom(farAddr, 0)), unix.EINVAL},
		{"a header alone", rawSocketOf(t, p.near, unix.IPPROTO_RAW).SendTo(header, 0, NoDeadline, to), nil},
	} {
		if tt.got != tt.want && (tt.got != nil || tt.want != nil) {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

// No room for messages is no wait for them.
func TestNoMessages(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.near, "10.9.0.1:9")
	if n, err := k.RecvMessages(nil, 0, NoDeadline); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	k.Close()
	if _, err := k.RecvMessages(nil, 0, NoDeadline); err != unix.EBADF {
		t.Errorf("closed: %v", err)
	}
}

// That a datagram is too long is said before an error that waits, which stays.
func TestTooLongComesFirst(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	ping, err := p.near.NewPingSocket()
	check(t, err)
	echo := make([]byte, 2000)
	echo[0] = icmp.Echo
	for _, k := range []interface {
		Socket
		SetMTUDiscover(int)
	}{ping, udpSocket(t, p.near, "")} {
		k.SetMTUDiscover(unix.IP_PMTUDISC_DO)
		k.Base().errors.set(unix.ECONNREFUSED)
		for _, want := range []error{unix.EMSGSIZE, unix.EMSGSIZE} {
			if err := k.SendTo(echo, 0, NoDeadline, netip.AddrPortFrom(farAddr, 7)); err != want {
				t.Errorf("%s: %v, want %v", k.Base().kind.name(), err, want)
			}
		}
		if e := k.Base().errors.Take(); e != unix.ECONNREFUSED {
			t.Errorf("%s: the error that waited is %v", k.Base().kind.name(), e)
		}
	}
}

// Datagrams that could leave as one packet heed what the socket's others do; one alone, or
// of another size, is no packet of several.
func TestJoinedSends(t *testing.T) {
	a, b := pipe.New(pipe.Options{Caps: link.CapGSO | link.CapChecksum})
	s := newStack(t, Config{})
	ifc := addLink(t, s, a, "10.9.0.1/24")
	check(t, ifc.SetNeighbour(farAddr, farMAC, arp.Permanent))
	k := udpSocket(t, s, "")
	check(t, k.Connect(netip.AddrPortFrom(farAddr, 7)))
	check(t, k.Send(nil, 0, NoDeadline)) // which finds the path
	sent := func() (joined, single int) {
		var batch [64]link.Frame
		for n := b.Receive(batch[:]); n > 0; n = b.Receive(batch[:]) {
			for _, f := range batch[:n] {
				switch {
				case f.GSO != link.GSONone:
					joined++
				case ether.Header(f.Data).Type() == ether.TypeIPv4:
					single++
				}
			}
			b.Release()
		}
		return joined, single
	}
	sent()
	message := func(n int) OutMessage { return OutMessage{Buffers: [][]byte{make([]byte, n)}} }
	for _, tt := range []struct {
		sizes          []int
		joined, single int
	}{{[]int{9}, 0, 1}, {[]int{9, 9}, 1, 0}, {[]int{9, 10}, 0, 2}, {[]int{9, 9, 10}, 1, 1}, {[]int{9, 8, 8}, 1, 1}} {
		var msgs []OutMessage
		for _, n := range tt.sizes {
			msgs = append(msgs, message(n))
		}
		if n, err := k.SendMessages(msgs, 0, NoDeadline); n != len(msgs) || err != nil {
			t.Errorf("%v: %d, %v", tt.sizes, n, err)
		}
		if joined, single := sent(); joined != tt.joined || single != tt.single {
			t.Errorf("%v left as %d packets of several, and %d", tt.sizes, joined, single)
		}
	}
	two := []OutMessage{message(9), message(9)}
	k.errors.set(unix.ECONNREFUSED)
	if n, err := k.SendMessages(two, 0, NoDeadline); n != 0 || err != unix.ECONNREFUSED {
		t.Errorf("an error: %d, %v", n, err)
	}
	k.Shutdown(unix.SHUT_WR)
	if n, err := k.SendMessages(two, 0, NoDeadline); n != 0 || err != unix.EPIPE {
		t.Errorf("shut down: %d, %v", n, err)
	}
}

// What a socket was set to is in force again when it is set back.
func TestSetBack(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.near, "")
	k.SetSegment(5)
	if k.state.Load()&output.StateSendExtras == 0 {
		t.Error("datagrams that are cut take the fast way")
	}
	if k.SetSegment(0); k.state.Load()&output.StateSendExtras != 0 {
		t.Error("datagrams do not take the fast way any more")
	}
}

// IP_MULTICAST_IF concerns multicasts only; a datagram's own options take the socket's place
// where they say something only.
func TestWhatOptionsConcern(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("0.0.0.0:9", "")
		check(t, k.Multicast().SetInterface(GroupRequest{Interface: 1}))
		check(t, k.SendTo(nil, 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:7")))
		w.one()
		k.SetTTL(5)
		for _, tt := range []struct {
			o    SendOptions
			want uint8
		}{{SendOptions{}, 5}, {SendOptions{TTL: 1}, 1}, {SendOptions{HasTOS: true, TOS: 8}, 5}} {
			_, err := k.SendMessages([]OutMessage{{Buffers: [][]byte{nil}, To: netip.MustParseAddrPort("10.9.0.2:7"), Options: &tt.o}}, 0, NoDeadline)
			check(t, err)
			if h, _ := w.one(); h.TTL() != tt.want {
				t.Errorf("with %+v a TTL of %d", tt.o, h.TTL())
			}
		}
	})
}

// No errors are sent about errors, whatever is wrong with them; no echo to many is answered.
func TestNotAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		malformed := []byte{7, 99, 4, 0} // a record of the route that is longer than the header
		echo := icmp.AppendEcho(nil, icmp.Echo, 1, 1, nil)
		anError := icmp.AppendError(nil, icmp.DestinationUnreachable, icmp.CodePort, 0, make([]byte, 28))
		withOptions := func(m []byte) []byte {
			f := ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP, Options: []byte{1, 1, 1, 1}}, m)
			copy(f[link.HeaderLen+20:], malformed)
			header := f[link.HeaderLen : link.HeaderLen+24]
			header[10], header[11] = 0, 0
			binary.BigEndian.PutUint16(header[10:], ^checksum.Sum(header, 0))
			return f
		}
		w.feed(withOptions(echo))
		if h, b := w.one(); h.Protocol() != ipv4.ProtocolICMP || b[0] != icmp.ParameterProblem {
			t.Errorf("an echo with malformed options: %x", b)
		}
		w.feed(withOptions(anError))
		w.silent()
		for _, dst := range []ipv4.Addr{{10, 9, 0, 255}, {255, 255, 255, 255}, {224, 0, 0, 1}} {
			w.mark()
			w.feed(ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP, Dst: dst}, echo))
			w.silent()
			w.grew("IcmpInErrors", 1)
		}
	})
}

// A datagram's own extras are not those of the other sockets that have it.
func TestExtrasAreEachSockets(t *testing.T) {
	group := ipv4.Addr{239, 1, 1, 1}
	for wants := range 3 {
		p := newPair(t, Config{}, pipe.Options{})
		var all []*UDPSocket
		for i := range 3 {
			k, err := p.near.NewUDPSocket()
			check(t, err)
			k.SetReuse(true, false)
			check(t, k.Bind(netip.MustParseAddrPort("0.0.0.0:9")))
			check(t, k.Multicast().JoinGroup(GroupRequest{Group: group, Interface: p.nearIfc.Index()}))
			k.SetKeepOptions(i == wants)
			all = append(all, k)
		}
		p.near.takeIn(p.nearIfc, &link.Frame{Data: ip(ipv4.Fields{Dst: group, Options: []byte{1, 1, 1, 0}}, datagram(far4, group, 7, 9, nil))})
		for i, k := range all {
			if _, info := recv(t, k); (info.Extra != nil) != (i == wants) {
				t.Errorf("socket %d wants them, socket %d has %+v", wants, i, info.Extra)
			}
		}
	}
}

// A raw socket has the port of a datagram that is long enough to have one; one of the last
// protocol that a header has room for receives.
func TestRawEdges(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k, last := rawSocketOf(t, p.near, testProtocol), rawSocketOf(t, p.near, 255)
	for _, tt := range []struct {
		payload string
		port    uint16
	}{{"\x00\x01\x00", 0}, {"\x00\x01\x00\x35", 53}, {"\x00\x01\x00\x35\x07", 53}} {
		p.near.takeIn(p.nearIfc, &link.Frame{Data: ip(ipv4.Fields{Protocol: testProtocol}, []byte(tt.payload))})
		if _, info := recv(t, k); info.ToPort != tt.port {
			t.Errorf("%x: port %d", tt.payload, info.ToPort)
		}
	}
	p.near.takeIn(p.nearIfc, &link.Frame{Data: ip(ipv4.Fields{Protocol: 255}, []byte("last"))})
	recv(t, last)
	if n, err := p.near.NewRawSocket(256); err != nil || n.match.entered {
		t.Errorf("a protocol that no header has: %v", err)
	}
}

// A lane that somebody else leads is not touched by a call that does not wait.
func TestLedByOthers(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		l := &w.s.lanes.first
		l.begin()
		check(t, w.far.Send(udpFrom(7, 9, "x")))
		w.empty(k)
		synctest.Wait()
		l.end()
		w.got(k, "x")
	})
}

// A socket that binds without a port has one when it connects, and a ping socket has lost
// what it was given when it dissolves that.
func TestPortsComeAndGo(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k, err := p.near.NewUDPSocket()
	check(t, err)
	k.Binding().SetNoPort(true)
	check(t, k.Bind(netip.AddrPortFrom(nearAddr, 0)))
	if got := k.LocalAddr(); got != netip.AddrPortFrom(nearAddr, 0) {
		t.Errorf("bound to %v", got)
	}
	check(t, k.Connect(netip.AddrPortFrom(farAddr, 7)))
	if k.LocalAddr().Port() == 0 {
		t.Error("connected without a port")
	}
	ping, err := p.near.NewPingSocket()
	check(t, err)
	check(t, ping.Connect(netip.AddrPortFrom(farAddr, 7)))
	if ping.LocalAddr().Port() == 0 {
		t.Error("a ping socket is connected without an ident")
	}
	check(t, ping.Disconnect())
	if got := ping.LocalAddr(); got.Port() != 0 || !got.Addr().IsUnspecified() {
		t.Errorf("a ping socket that has dissolved its connection is at %v", got)
	}
	bound, err := p.near.NewUDPSocket()
	check(t, err)
	check(t, bound.Disconnect())
}

// Who waits for records of what was sent is told that there will be none.
func TestTransmitTimesEnd(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.near, "")
	k.Times().SetTransmitTimes(true)
	check(t, k.Connect(netip.AddrPortFrom(farAddr, 7)))
	check(t, k.Shutdown(unix.SHUT_WR))
	if n, lost, err := k.Times().TransmitTimes(make([]IOTimes, 1), 0, NoDeadline); n != 0 || lost || err != nil {
		t.Errorf("%d, %v, %v", n, lost, err)
	}
	if _, _, err := k.Times().TransmitTimes(make([]IOTimes, 1), unix.MSG_DONTWAIT, NoDeadline); err != unix.EAGAIN {
		t.Errorf("without waiting: %v", err)
	}
}

// Those who wait for one neighbour are taken out one by one.
func TestSolicitors(t *testing.T) {
	var l solicitors
	a, b := &solicitation{next: far4}, &solicitation{next: far4}
	l.add(a)
	l.add(b)
	l.remove(a)
	if list := l.all[far4]; len(list) != 1 || list[0] != b {
		t.Errorf("%d are left of two", len(list))
	}
	l.remove(a) // once more
	l.remove(b)
	if len(l.all) != 0 {
		t.Errorf("%v is left", l.all)
	}
}

// A numberedLink has a descriptor of the test's.
type numberedLink struct {
	*pipe.Link
	fd int
}

func (l numberedLink) FD() int { return l.fd }

// Calls spin where a link has a descriptor, be it 0, and not where all is memory: there the
// sender wakes them sooner.
func TestSpinsForDescriptors(t *testing.T) {
	for fd, want := range map[int]bool{-1: false, 0: true, 7: true} {
		s := newStack(t, Config{})
		a, _ := pipe.New(pipe.Options{})
		i, err := s.AddLink(numberedLink{a, fd}, InterfaceConfig{})
		check(t, err)
		if spins := udpSocket(t, s, "").spin.Budget() > 0; spins != want {
			t.Errorf("a link of descriptor %d: spins %v", fd, spins)
		}
		check(t, s.RemoveLink(i.Index()))
	}
}

// A stack for which there are no descriptors is not made.
func TestNewWithoutDescriptors(t *testing.T) {
	var old unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Max: old.Max}))
	s, err := New(Config{})
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	if s != nil || !errors.Is(err, unix.EMFILE) {
		t.Errorf("%v, %v", s, err)
	}
}

// Nothing is a fault where nothing panics; with Config.Panics a timer's panic goes through.
func TestNoFault(t *testing.T) {
	s := newStackAs(t, Config{})
	a, b := pipe.New(pipe.Options{})
	addLink(t, s, a, "10.9.0.1/24")
	check(t, b.Send(udpFrom(7, 9, "x")))
	driveAll(s)
	if f := s.Faults(); len(f) != 0 {
		t.Errorf("%v", f)
	}
	loud := newStack(t, Config{})
	defer func() {
		if recover() == nil {
			t.Error("a panic over a timer is contained")
		}
	}()
	defer loud.lanes.first.containTimer(0)
	panic("mistake")
}

// A function for the end is called at the end, or at once after it.
func TestOnClose(t *testing.T) {
	s := newStack(t, Config{})
	called := 0
	s.OnClose(func() { called++ })
	if called != 0 {
		t.Error("called before the end")
	}
	s.Close()
	if called != 1 {
		t.Errorf("called %d times at the end", called)
	}
	if s.OnClose(func() { called++ }); called != 2 {
		t.Error("not called after the end")
	}
}

// On a device that is full: a call that waits is ended by an error, what cannot be sent is
// said before what is wrong with the next, frames of other protocols wait their turn, and
// nothing is stamped that has not left.
func TestFullDevice(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		k := w.sender("10.9.0.1:1")
		w.number(k, 0, 100)
		good := OutMessage{Buffers: [][]byte{[]byte("x")}}
		bad := good
		bad.To = netip.MustParseAddrPort("192.0.2.1:7")
		if n, err := k.SendMessages([]OutMessage{good, bad}, unix.MSG_DONTWAIT, NoDeadline); n != 0 || err != unix.EAGAIN {
			t.Errorf("the first is stuck: %d, %v", n, err)
		}
		k.Times().SetTimestamping(unix.SOF_TIMESTAMPING_TX_SOFTWARE)
		if err := k.Send([]byte("x"), unix.MSG_DONTWAIT, NoDeadline); err != unix.EAGAIN || k.errors.Queued() != 0 {
			t.Errorf("with a stamp: %v, %d stamps", err, k.errors.Queued())
		}
		k.Times().SetTimestamping(0)
		done := make(chan error)
		go func() { done <- k.Send([]byte("x"), 0, NoDeadline) }()
		synctest.Wait()
		k.errors.set(unix.EHOSTUNREACH)
		if err := <-done; err != unix.EHOSTUNREACH {
			t.Errorf("an error while it waits: %v", err)
		}
	})
}

// The frames of a packet socket, where the device itself refuses none.
func TestFrameLengths(t *testing.T) {
	slowBubble(t, func(t *testing.T, w *slowWire) {
		k := packetSocketOf(t, w.s, false, 0)
		to := &LinkAddr{Interface: w.ifc.Index(), EtherType: testEtherType}
		plain := testFrame(farMAC, nearMAC, testEtherType, "")
		tagged := testFrame(farMAC, nearMAC, unix.ETH_P_8021Q, "")
		for _, tt := range []struct {
			name  string
			frame []byte
			want  error
		}{
			{"less than a header", plain[:13], unix.EINVAL},
			{"a header", plain, nil},
			{"the longest", append(plain, make([]byte, 1500)...), nil},
			{"longer", append(plain, make([]byte, 1501)...), unix.EMSGSIZE},
			{"the longest with a tag", append(tagged, make([]byte, 1504)...), nil},
			{"longer, with a tag", append(tagged, make([]byte, 1505)...), unix.EMSGSIZE},
		} {
			err := k.SendLink(tt.frame, unix.MSG_DONTWAIT, NoDeadline, to)
			if err != tt.want && (err != nil || tt.want != nil) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			if left := len(w.l.held); left != 0 != (tt.want == nil) {
				t.Errorf("%s: %d frames left", tt.name, left)
			}
			w.l.free(-1)
		}
	})
}

// A frame of a packet socket may have its time, for which it waits as a datagram does.
func TestFrameTimes(t *testing.T) {
	bubbleOf(t, func(t *testing.T) {
		w := newWire(t, Config{Limits: Limits{Scheduled: 1}})
		k := packetSocketOf(t, w.s, false, 0)
		k.Times().SetTxTime(TxTime{Clock: unix.CLOCK_MONOTONIC})
		k.Errors().SetRecvErr(true)
		send := func() error {
			later := SendOptions{TxTime: uint64(w.s.Monotonic() + int64(time.Second))}
			_, err := k.SendMessages([]OutMessage{{Buffers: [][]byte{testFrame(farMAC, nearMAC, testEtherType, "later")},
				Link: &LinkAddr{Interface: w.ifc.Index(), EtherType: testEtherType}, Options: &later}}, unix.MSG_DONTWAIT, NoDeadline)
			return err
		}
		check(t, send())
		if err := send(); err != unix.ENOBUFS {
			t.Errorf("a full schedule: %v", err)
		}
		w.settle()
		if f := pick(w.sent(), testEtherType); len(f) != 0 || w.s.Scheduled() != 1 {
			t.Errorf("%d frames left before their time", len(f))
		}
		time.Sleep(2 * time.Second)
		if f := pick(w.sent(), testEtherType); len(f) != 1 {
			t.Errorf("%d frames left at their time", len(f))
		}
		k.out.Charged.Add(1 << 20)
		k.SetSendBuffer(1 << 20)
		if err := send(); err != unix.EAGAIN {
			t.Errorf("a full send buffer: %v", err)
		}
		k.out.Charged.Add(-1 << 20)
	})
}
