package stack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
)

// A hostilePair is what honest traffic costs beside what a stranger can make of it: both
// do one step, of which n is the number. A hostile step may cost at most three times as
// much as an honest one, and keep no memory.
type hostilePair struct {
	name string
	make func(t testing.TB) (honest, hostile func(n int))
}

// hostilePairs are all ways that are known in which a stranger could set the price.
var hostilePairs = []hostilePair{
	{"multicast to one member of 4000 sockets at a port, sources forged", func(t testing.TB) (_, _ func(int)) {
		return groupPair(t, func(k *UDPSocket, n int, i *Interface) { join(t, k, i, n) }, 0)
	}},
	{"multicast, the other sockets want other sources", func(t testing.TB) (_, _ func(int)) {
		return groupPair(t, func(k *UDPSocket, n int, i *Interface) {
			if n == 0 {
				join(t, k, i, 0)
				return
			}
			err := k.Multicast().JoinSource(GroupRequest{Group: groupAddr(0), Interface: i.Index()}, ipv4.Addr{198, 18, byte(n >> 8), byte(n)})
			if err != nil {
				t.Fatal(err)
			}
		}, 0)
	}},
	{"multicast, the other sockets are connected", func(t testing.TB) (_, _ func(int)) {
		return groupPair(t, func(k *UDPSocket, n int, i *Interface) {
			if join(t, k, i, 0); n > 0 {
				if err := k.Connect(netip.AddrPortFrom(farAddr, uint16(10000+n))); err != nil {
					t.Fatal(err)
				}
			}
		}, 0)
	}},
	{"multicasts to 4000 groups in turn", func(t testing.TB) (_, _ func(int)) {
		return groupPair(t, func(k *UDPSocket, n int, i *Interface) { join(t, k, i, n) }, 4000)
	}},
	{"sends while a path of others changes its MTU", pathPair},
}

// pathPair is a pair of a send to one peer and an ICMP error that tells the path MTU to
// another, which an honest router says once and a hostile one changes with each.
func pathPair(t testing.TB) (_, _ func(int)) {
	s, _, i := replayStack(t)
	sender := func(peer netip.Addr) *UDPSocket {
		if err := i.SetNeighbour(peer, farMAC, arp.Permanent); err != nil {
			t.Fatal(err)
		}
		k, err := s.NewUDPSocket()
		if err == nil {
			err = k.Connect(netip.AddrPortFrom(peer, 7))
		}
		if err == nil {
			err = k.Send([]byte("first"), 0, NoDeadline)
		}
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	other := netip.AddrFrom4(ipv4.Addr{10, 9, 0, 3})
	k, victim := sender(farAddr), sender(other)
	port := victim.LocalAddr().Port()
	var errs [2][]byte
	for n, mtu := range []int{1000, 600} {
		quoted := ip(ipv4.Fields{Src: near4, Dst: other.As4(), DontFragment: true},
			datagram(near4, other.As4(), port, 7, payload(1400)))[output.IPOffset:]
		errs[n] = ip(ipv4.Fields{Protocol: ipv4.ProtocolICMP, Src: other.As4()},
			icmp.AppendError(nil, icmp.DestinationUnreachable, icmp.CodeFragmentation, icmp.FragmentationRest(mtu), quoted))
	}
	s.take(i, errs[1])
	if victim.path.Load().Holds() {
		t.Fatal("the error changed nothing")
	}
	send := func() {
		if err := k.Send([]byte("next"), 0, NoDeadline); err != nil {
			t.Fatal(err)
		}
	}
	return func(int) { s.take(i, errs[0]); send() }, func(n int) { s.take(i, errs[n&1]); send() }
}

func join(t testing.TB, k *UDPSocket, i *Interface, group int) {
	t.Helper()
	if err := k.Multicast().JoinGroup(GroupRequest{Group: groupAddr(group), Interface: i.Index()}); err != nil {
		t.Fatal(err)
	}
}

// groupPair is a pair of multicasts to port 9, where 4000 sockets are, the first of
// which is to get what goes to the first group. Hostile ones have forged sources and go
// to so many groups in turn; 0: to the first.
func groupPair(t testing.TB, setup func(k *UDPSocket, n int, i *Interface), groups int) (_, _ func(int)) {
	s, _, i := replayStack(t)
	var first *UDPSocket
	for n := range 4000 {
		k, err := s.NewUDPSocket()
		if err != nil {
			t.Fatal(err)
		}
		k.SetReuse(true, false)
		k.Multicast().SetAll(false)
		if err := k.Bind(netip.MustParseAddrPort("0.0.0.0:9")); err != nil {
			t.Fatal(err)
		}
		if setup(k, n, i); n == 0 {
			first = k
		}
	}
	var frames [1 << 14][]byte
	for n := range frames {
		group := groupAddr(0)
		if groups > 0 {
			group = groupAddr(n % groups)
		}
		frames[n] = groupFrame(group, 9, payload(64))
		src := ipv4.Addr{198, 18, byte(n >> 8), byte(n)}
		f := ipv4.Fields{TTL: 1, Protocol: ipv4.ProtocolUDP, Src: src, Dst: group, DontFragment: true}
		f.Put(frames[n][output.IPOffset:], udp.HeaderLen+64)
		udp.Put(frames[n][output.UDPOffset:], src, group, uint16(n*7+1), 9, 64)
	}
	honest := groupFrame(groupAddr(0), 9, payload(64))
	buf := make([]byte, 64)
	take := func() {
		for first.queue.N.Load() > 0 {
			first.Recv(buf, 0, NoDeadline)
		}
	}
	return func(int) { s.take(i, honest); take() }, func(n int) { s.take(i, frames[n%len(frames)]); take() }
}

// take has the stack take in one frame.
func (s *Stack) take(i *Interface, frame []byte) {
	s.lockLanes()
	s.inputFrame(i, frame)
	s.unlockLanes()
}

// BenchmarkHostile shows what each pair costs.
func BenchmarkHostile(b *testing.B) {
	for _, p := range hostilePairs {
		honest, hostile := p.make(b)
		for _, side := range []struct {
			name string
			step func(int)
		}{{"honest", honest}, {"hostile", hostile}} {
			b.Run(p.name+"/"+side.name, func(b *testing.B) {
				for n := range 1 << 13 { // what is remembered of each flow is so before
					side.step(n)
				}
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					side.step(n)
				}
			})
		}
	}
}

// TestHostileCosts holds each pair, measured by turns, to the same order: without its guard
// a hostile step costs a hundred times and more what an honest one does. How near they are,
// which a busy machine blurs, BenchmarkHostile shows: within three times.
func TestHostileCosts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what things cost")
	}
	const rounds, batch = 40, 250
	for _, p := range hostilePairs {
		t.Run(p.name, func(t *testing.T) {
			var steps [2]func(int)
			steps[0], steps[1] = p.make(t)
			var least [2]time.Duration
			for round := range rounds {
				for side, step := range steps {
					began := time.Now()
					for n := range batch {
						step(round*batch + n)
					}
					if took := time.Since(began); round == 1 || round > 1 && took < least[side] {
						least[side] = took
					}
				}
			}
			if least[1] > 20*least[0] {
				t.Errorf("a hostile step costs %v, an honest one %v", least[1]/batch, least[0]/batch)
			}
		})
	}
}
