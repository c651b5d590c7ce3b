package arp

import (
	"fmt"
	"testing"

	"github.com/outband/outband/ether"
)

// filled returns a table with n REACHABLE neighbours.
func filled(tb testing.TB, n int) *sim {
	s := newSim(tb, nil)
	for i := range n {
		s.Set(s.now, host(i), macOf(i), Reachable)
	}
	return s
}

func macOf(i int) ether.MAC {
	return ether.MAC{2, 1, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
}

// What happens for datagrams and for packets of known neighbours allocates nothing.
func TestAllocations(t *testing.T) {
	s := filled(t, 1000)
	e := s.Lookup(host(5))
	same := packet(OpReply, macOf(5), host(5), ourMAC, ourIP)
	ask := packet(OpRequest, macOf(6), host(6), ether.MAC{}, ourIP)
	stranger := packet(OpRequest, peerMAC, peerIP, ether.MAC{}, otherIP)
	flip := 0
	var sink uint32
	for _, tc := range []struct {
		name string
		f    func()
	}{
		{"Resolve of a neighbour", func() { s.Resolve(s.now, host(5), ourIP) }},
		{"Version", func() { sink += e.Version() }},
		{"MAC", func() { e.MAC() }},
		{"Lookup", func() { s.Lookup(host(5)) }},
		{"Deadline", func() { s.Deadline() }},
		{"Input of a reply", func() { s.Input(s.now, same, macOf(5)) }},
		{"Input of a request, and its answer", func() { s.Input(s.now, ask, macOf(6)); s.Next() }},
		{"Input of a changed MAC", func() {
			flip++
			mac := macOf(flip)
			var b [Len]byte
			put(&b, OpRequest, mac, host(7), ether.MAC{}, host(7))
			s.Input(s.now, b[:], mac)
		}},
		{"Input of a stranger", func() { s.Input(s.now, stranger, peerMAC) }},
		{"Input of garbage", func() { s.Input(s.now, same[:20], peerMAC) }},
		{"a whole cycle of states", func() {
			s.Resolve(s.now, host(5), ourIP)
			s.now += 5 * sec
			s.Advance(s.now)
			s.Next()
			s.Input(s.now, same, macOf(5))
			for s.Deadline() <= s.now {
				s.Advance(s.now)
			}
		}},
	} {
		if n := testing.AllocsPerRun(100, tc.f); n != 0 {
			t.Errorf("%s: %v allocations", tc.name, n)
		}
	}
}

var sizes = []int{10, 100_000}

func BenchmarkResolve(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				s.Resolve(s.now, host(i), ourIP)
				if i += 7919; i >= n {
					i %= n
				}
			}
		})
	}
}

func BenchmarkVersion(b *testing.B) {
	s := filled(b, 10)
	e := s.Lookup(host(1))
	v, same := e.Version(), 0
	for b.Loop() {
		if e.Version() == v {
			same++
		}
	}
}

func BenchmarkInputReply(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(b, n)
			b.ReportAllocs()
			i := 0
			var p [Len]byte
			for b.Loop() {
				mac := macOf(i)
				put(&p, OpReply, mac, host(i), ourMAC, ourIP)
				s.Input(s.now, p[:], mac)
				if i += 7919; i >= n {
					i %= n
				}
			}
		})
	}
}

func BenchmarkInputRequestAnswered(b *testing.B) {
	s := filled(b, 10)
	p := packet(OpRequest, peerMAC, peerIP, ether.MAC{}, ourIP)
	b.ReportAllocs()
	for b.Loop() {
		s.Input(s.now, p, peerMAC)
		s.Next()
	}
}

// One transition per neighbour: STALE, DELAY, PROBE, REACHABLE, for all of them.
func BenchmarkCycle(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e := s.Lookup(host(i))
				s.enter(s.now, e, Stale)
				s.delay(s.now, e)
				s.enter(s.now, e, Probe)
				s.confirm(s.now, e)
				if i += 7919; i >= n {
					i %= n
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		Parse(realRequest)
	}
}
