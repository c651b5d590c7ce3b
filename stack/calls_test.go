package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/bpf"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// opens are what opens sockets of each kind.
var opens = map[string]func(s *Stack) (Socket, error){
	"udp":    func(s *Stack) (Socket, error) { return orNone(s.NewUDPSocket()) },
	"ping":   func(s *Stack) (Socket, error) { return orNone(s.NewPingSocket()) },
	"raw":    func(s *Stack) (Socket, error) { return orNone(s.NewRawSocket(testProtocol)) },
	"packet": func(s *Stack) (Socket, error) { return orNone(s.NewPacketSocket(false, unix.ETH_P_ALL)) },
}

// orNone has no socket be a nil Socket.
func orNone[T interface {
	comparable
	Socket
}](k T, err error) (Socket, error) {
	var none T
	if k == none {
		return nil, err
	}
	return k, err
}

// A stack that is closed, or has as many sockets as it may, opens none of any kind; what
// sockets want of frames is told when the first opens and when the last closes.
func TestOpenRefused(t *testing.T) {
	for name, open := range opens {
		var wants []Wants
		s := newStack(t, Config{Limits: Limits{Sockets: 1}, Wanted: func(w Wants) { wants = append(wants, w) }})
		k, err := open(s)
		check(t, err)
		if k2, err := open(s); k2 != nil || err != unix.ENFILE {
			t.Errorf("%s, one too many: %v, %v", name, k2, err)
		}
		k.Close()
		switch n := len(wants); {
		case name == "udp" || name == "ping":
			if n != 0 {
				t.Errorf("%s: %v is wanted", name, wants)
			}
		case n != 2 || wants[0].Frames != (name == "packet") || wants[0].Protocol(testProtocol) != (name == "raw") || wants[1] != Wants{}:
			t.Errorf("%s: wanted %v", name, wants)
		}
		s.Close()
		if k, err := open(s); k != nil || err != unix.ENETDOWN {
			t.Errorf("%s, of a closed stack: %v, %v", name, k, err)
		}
	}
	s := newStack(t, Config{})
	s.Close()
	if _, err := s.NewRawSocket(-1); err != unix.ENETDOWN {
		t.Errorf("no protocol, of a closed stack: %v", err)
	}
}

// What calls refuse, and with which errno.
func TestCallsRefused(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	s, ifc := p.near, p.nearIfc
	six := netip.MustParseAddrPort("[2001:db8::1]:7")
	stranger := netip.MustParseAddrPort("10.9.0.77:0")
	to := netip.AddrPortFrom(farAddr, 7)
	connected := udpSocket(t, s, "")
	check(t, connected.Connect(to))
	raw, other := rawSocketOf(t, s, unix.IPPROTO_ICMP), rawSocketOf(t, s, testProtocol)
	bound := rawSocketOf(t, s, testProtocol)
	check(t, bound.Connect(to))
	ping, err := s.NewPingSocket()
	check(t, err)
	packet := packetSocketOf(t, s, false, 0)
	onDevice := udpSocket(t, s, "")
	check(t, onDevice.SetDevice(ifc.Index()))
	gone := packetSocketOf(t, s, false, 0)
	check(t, gone.Close())
	fresh := func() *UDPSocket { return udpSocket(t, s, "") }
	second := func(_ any, err error) error { return err }
	membership := func(typ uint16, n int) Membership {
		return Membership{Interface: ifc.Index(), Type: typ, Len: n, Addr: link.MAC{1, 0, 0x5e, 1, 2, 3}}
	}
	for _, tt := range []struct {
		name string
		got  error
		want error
	}{
		{"connect, another family", fresh().Connect(six), unix.EAFNOSUPPORT},
		{"bind, another family", fresh().Bind(six), unix.EAFNOSUPPORT},
		{"connect, no route", fresh().Connect(netip.MustParseAddrPort("192.0.2.1:7")), unix.ENETUNREACH},
		{"connect, a broadcast", fresh().Connect(netip.MustParseAddrPort("10.9.0.255:7")), unix.EACCES},
		{"IP_MTU, no peer", second(fresh().PathMTU()), unix.ENOTCONN},
		{"IP_MTU", second(connected.PathMTU()), nil},
		{"IP_OPTIONS, malformed", fresh().SetOptions([]byte{7, 99}), unix.EINVAL},
		{"IP_OPTIONS", fresh().SetOptions([]byte{1}), nil},
		{"IP_UNICAST_IF, none such", fresh().SetUnicastInterface(77), unix.EADDRNOTAVAIL},
		{"IP_UNICAST_IF, bound", onDevice.SetUnicastInterface(ifc.Index()), unix.EINVAL},
		{"IP_UNICAST_IF", fresh().SetUnicastInterface(ifc.Index()), nil},
		{"IP_MULTICAST_IF, bound to another", onDevice.Multicast().SetInterface(GroupRequest{Interface: 1}), unix.EINVAL},
		{"IP_MULTICAST_IF, bound to it", onDevice.Multicast().SetInterface(GroupRequest{Interface: ifc.Index()}), nil},
		{"a device below 0", fresh().SetDevice(-1), unix.EINVAL},
		{"a device beyond", fresh().SetDevice(1 << 31), unix.EINVAL},
		{"the last device", fresh().SetDevice(1<<31 - 1), nil},
		{"raw, bind connected", bound.Bind(netip.AddrPortFrom(nearAddr, 0)), unix.EINVAL},
		{"raw, bind to another's", other.Bind(stranger), unix.EADDRNOTAVAIL},
		{"raw, bind", other.Bind(netip.AddrPortFrom(nearAddr, 0)), nil},
		{"ping, bind to another's", ping.Bind(stranger), unix.EADDRNOTAVAIL},
		{"ping, bind to a broadcast", ping.Bind(netip.MustParseAddrPort("10.9.0.255:0")), unix.EADDRNOTAVAIL},
		{"ping, bind to a group", ping.Bind(netip.MustParseAddrPort("239.1.1.1:0")), unix.EADDRNOTAVAIL},
		{"ping, dissolve nothing", ping.Disconnect(), nil},
		{"choose members by no program", grouped(t, s).AttachReusePort(nil), unix.EINVAL},
		{"an address of another family", ifc.AddAddress(netip.MustParsePrefix("2001:db8::1/64")), unix.EINVAL},
		{"ping, choose members by no program", ping.AttachReusePort(nil), unix.EINVAL},
		{"ping, choose members when bound", boundPing(t, s).AttachReusePort([]bpf.Instruction{{Op: 0x06}}), unix.EINVAL},
		{"ICMP_FILTER, not of ICMP", second(other.ICMPFilter()), unix.EOPNOTSUPP},
		{"ICMP_FILTER, set not of ICMP", other.SetICMPFilter(1), unix.EOPNOTSUPP},
		{"ICMP_FILTER, set", raw.SetICMPFilter(1), nil},
		{"packet, shut down in no direction", packet.Shutdown(77), unix.EINVAL},
		{"packet, shut down", packet.Shutdown(unix.SHUT_RD), unix.EOPNOTSUPP},
		{"packet, shut down closed", gone.Shutdown(77), unix.EBADF},
		{"packet, bind closed", gone.BindLink(ifc.Index(), 0), unix.EBADF},
		{"packet, bind to none such", packet.BindLink(77, 0), unix.ENODEV},
		{"membership, closed", gone.AddMembership(membership(unix.PACKET_MR_PROMISC, 0)), unix.EBADF},
		{"membership, of a longer address", packet.AddMembership(membership(unix.PACKET_MR_PROMISC, 7)), unix.EINVAL},
		{"membership, of a short address", packet.AddMembership(membership(unix.PACKET_MR_UNICAST, 5)), unix.EINVAL},
		{"membership, of a short group", packet.AddMembership(membership(unix.PACKET_MR_MULTICAST, 5)), unix.EINVAL},
		{"membership", packet.AddMembership(membership(unix.PACKET_MR_UNICAST, 6)), nil},
		{"neighbour, another family", ifc.SetNeighbour(six.Addr(), farMAC, arp.Permanent), unix.EAFNOSUPPORT},
		{"neighbour, a group", ifc.SetNeighbour(netip.MustParseAddr("239.1.1.1"), farMAC, arp.Permanent), unix.EINVAL},
		{"neighbour, delete, another family", ifc.DeleteNeighbour(six.Addr()), unix.EAFNOSUPPORT},
		{"neighbour, delete none", ifc.DeleteNeighbour(stranger.Addr()), unix.ENOENT},
		{"route, remove none", s.RemoveRoute(ipv4.Route{Prefix: netip.MustParsePrefix("10.88.0.0/16"), Gateway: far4}), unix.ESRCH},
	} {
		if tt.got != tt.want && (tt.got != nil || tt.want != nil) {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	if v, err := raw.ICMPFilter(); v != 1 || err != nil {
		t.Errorf("ICMP_FILTER: %#x, %v", v, err)
	}
	check(t, ifc.SetNeighbour(stranger.Addr(), farMAC, arp.Permanent))
	check(t, ifc.DeleteNeighbour(stranger.Addr()))
}

func grouped(t testing.TB, s *Stack) *UDPSocket {
	k := udpSocket(t, s, "")
	k.SetReuse(false, true)
	return k
}

func boundPing(t testing.TB, s *Stack) *PingSocket {
	t.Helper()
	k, err := s.NewPingSocket()
	check(t, err)
	check(t, k.Bind(netip.AddrPortFrom(nearAddr, 0)))
	return k
}

// What an interface that was removed says.
func TestRemovedInterface(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	packet := packetSocketOf(t, p.near, false, 0)
	m := Membership{Interface: p.nearIfc.Index(), Type: unix.PACKET_MR_PROMISC}
	check(t, packet.AddMembership(m))
	prefix := netip.MustParsePrefix("10.9.0.1/24")
	if got := p.nearIfc.AddressState(prefix); got != AddressInUse {
		t.Errorf("before: state %d", got)
	}
	check(t, p.near.RemoveLink(p.nearIfc.Index()))
	check(t, packet.DropMembership(m))
	if got := p.nearIfc.AddressState(prefix); got != AddressAbsent {
		t.Errorf("after: state %d", got)
	}
	if err := p.nearIfc.SetNeighbour(farAddr, farMAC, arp.Permanent); err != unix.ENODEV {
		t.Errorf("SetNeighbour: %v", err)
	}
	if err := p.nearIfc.DeleteNeighbour(farAddr); err != unix.ENODEV {
		t.Errorf("DeleteNeighbour: %v", err)
	}
}

// What options have before they are set, and after.
func TestOptionsKept(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.near, "")
	for _, tt := range []struct{ set, want int }{{-1, 64}, {0, 0}, {1, 1}, {255, 255}} {
		if k.SetTTL(tt.set); k.TTL() != tt.want {
			t.Errorf("TTL %d: %d", tt.set, k.TTL())
		}
	}
	for _, tt := range []struct{ set, want string }{{"", ""}, {"\x01", "\x01\x00\x00\x00"}, {"", ""}} {
		check(t, k.SetOptions([]byte(tt.set)))
		if got := k.Options(); string(got) != tt.want || tt.want == "" && got != nil {
			t.Errorf("options %q: %q", tt.set, got)
		}
	}
	if how, ok := k.Times().TxTime(); ok || how != (TxTime{}) {
		t.Errorf("SO_TXTIME before it is set: %v", how)
	}
	want := TxTime{Clock: unix.CLOCK_MONOTONIC, Report: true}
	k.Times().SetTxTime(want)
	if how, ok := k.Times().TxTime(); !ok || how != want {
		t.Errorf("SO_TXTIME: %v, %v", how, ok)
	}
}

// How datagrams come and go: by the socket's device, that of its address, or the peer's.
func TestWay(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	index := p.nearIfc.Index()
	connected, bound, device, free := udpSocket(t, p.near, ""), udpSocket(t, p.near, "10.9.0.1:7"), udpSocket(t, p.near, ""), udpSocket(t, p.near, "")
	check(t, connected.Connect(netip.AddrPortFrom(farAddr, 7)))
	check(t, device.SetDevice(index))
	packet := packetSocketOf(t, p.near, false, unix.ETH_P_ALL)
	check(t, packet.BindLink(index, 0))
	for name, k := range map[string]Socket{"connected": connected, "bound": bound, "of a device": device, "packet": packet} {
		if w := k.Base().Way(); w != (Way{Interface: index}) {
			t.Errorf("%s: %+v", name, w)
		}
	}
	if w := free.Way(); w != (Way{}) {
		t.Errorf("any way: %+v", w)
	}
	check(t, p.near.RemoveLink(p.nearIfc.Index()))
	if w := connected.Way(); w != (Way{}) {
		t.Errorf("no way to the peer: %+v", w)
	}
}

// A fresh socket can only be written to; what comes, errors, and records of what was sent
// make it readable.
func TestEventsHold(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k, far := udpSocket(t, p.near, "10.9.0.1:9"), udpSocket(t, p.far, "10.9.0.2:9")
	check(t, k.Connect(netip.AddrPortFrom(farAddr, 9)))
	check(t, p.farIfc.SetNeighbour(nearAddr, p.nearEnd.Info().HardwareAddr, arp.Permanent))
	check(t, p.nearIfc.SetNeighbour(farAddr, p.farEnd.Info().HardwareAddr, arp.Permanent))
	holds := func(when string, want uint32) {
		t.Helper()
		if got := k.Events(); got != want {
			t.Errorf("%s: %#x, want %#x", when, got, want)
		}
	}
	holds("fresh", EventsOut)
	check(t, far.SendTo([]byte("x"), 0, NoDeadline, netip.AddrPortFrom(nearAddr, 9)))
	driveAll(p.near)
	holds("a datagram", EventsOut|EventsIn)
	recv(t, k)
	holds("taken", EventsOut)
	k.errors.SetRecvErr(true)
	k.errors.push(QueuedError{Errno: unix.EHOSTUNREACH})
	k.errors.Take()
	holds("an error in the queue", EventsOut|unix.EPOLLERR)
	k.errors.SetRecvErr(false)
	l := udpSocket(t, p.near, "")
	check(t, l.Connect(netip.AddrPortFrom(farAddr, 9)))
	l.Times().SetTransmitTimes(true)
	check(t, l.Send([]byte("x"), 0, NoDeadline))
	if got := l.Events(); got != EventsOut|EventsIn {
		t.Errorf("a record: %#x", got)
	}
}

// Memberships are apart: one that is dropped leaves the others, and one that was added
// twice.
func TestMembershipsApart(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := packetSocketOf(t, p.near, false, 0)
	group := func(n byte) Membership {
		return Membership{Interface: p.nearIfc.Index(), Type: unix.PACKET_MR_MULTICAST, Len: 6, Addr: link.MAC{1, 0, 0x5e, 9, 9, n}}
	}
	for _, m := range []Membership{group(1), group(2), group(2), group(3)} {
		check(t, k.AddMembership(m))
	}
	check(t, k.DropMembership(group(3)))
	check(t, k.DropMembership(group(2)))
	if n := len(k.memberships); n != 2 || k.memberships[0].Membership != group(1) || k.memberships[1].Membership != group(2) || k.memberships[1].count != 1 {
		t.Errorf("left: %+v", k.memberships)
	}
	check(t, k.DropMembership(group(77)))
}

// Every error that a host may send is told to the sockets that sent what it quotes, and to
// the error queue of those that want it, if it means something.
func TestErrorsByKind(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		k.Errors().SetRecvErr(true)
		w.send(k, []byte("sent"))
		quoted := w.sentIP()[0].data[link.HeaderLen:]
		for _, typ := range []uint8{icmp.DestinationUnreachable, icmp.SourceQuench, icmp.Redirect, icmp.TimeExceeded, icmp.ParameterProblem} {
			for code := range uint8(20) {
				w.mark()
				w.feed(icmpError(typ, code, 0, quoted))
				_, _, means := icmp.Errno(typ, code)
				means = means && icmp.Reported(typ, code)
				n := k.errors.Queued()
				if told := n > 0; told != means {
					t.Errorf("type %d, code %d: told %v, want %v", typ, code, told, means)
				}
				k.Errors().SetRecvErr(false) // which empties the queue
				k.Errors().SetRecvErr(true)
				k.errors.Take()
				stranger := append([]byte(nil), quoted...)
				stranger[20+1] = 77 // another port: nobody's
				w.feed(icmpError(typ, code, 0, stranger))
				unvalidated := uint64(1)
				if !icmp.Reported(typ, code) {
					unvalidated = 0
				}
				w.grew("OutbandDropICMPUnvalidated", unvalidated)
			}
		}
	})
}
