package igmp

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
)

// filled returns a host that is a member of n groups.
func filled(tb testing.TB, n int) *sim {
	rng := rand.New(rand.NewPCG(1, 2))
	s := &sim{tb: tb, now: 1000 * sec}
	s.Host = New(DefaultConfig(), rng.Uint64)
	for i := range n {
		s.set(nth(i), NotMember, ex())
	}
	s.run(10 * time.Second)
	return s
}

func nth(i int) ipv4.Addr { return ipv4.Addr{239, 100, byte(i >> 8), byte(i)} }

// What happens for each datagram allocates nothing, nor does what others can bring about.
func TestAllocations(t *testing.T) {
	s := filled(t, 1000)
	s.set(nth(5), NotMember, ex(1, 2, 3))
	s.run(10 * time.Second)
	buf := make([]byte, 1500)
	general, group, sources := queryV3(1, ipv4.Addr{}), queryV3(1, nth(5)), queryV3(1, nth(5), 1, 2)
	other := short(ReportV2, 0, nth(5))
	answered := func(q []byte, dst ipv4.Addr) {
		s.Input(s.now, from(routeIP, dst, q))
		s.now += sec
		s.Advance(s.now)
		for ok := true; ok; {
			_, ok = s.Next(buf)
		}
	}
	sink := false
	one, two := ex(1, 2, 3), ex(1, 2)
	for _, tc := range []struct {
		name string
		most float64
		f    func()
	}{
		{"Lookup", 0, func() { sink = s.Lookup(nth(7)) != nil }},
		{"Lookup of none", 0, func() { sink = s.Lookup(g1) != nil }},
		{"Accepts", 0, func() { sink = s.Lookup(nth(7)).Accepts(peerIP) }},
		{"Accepts with sources", 0, func() { sink = s.Lookup(nth(5)).Accepts(src(2)) }},
		{"Deadline", 0, func() { s.Deadline() }},
		{"Advance", 0, func() { s.Advance(s.now) }},
		{"general query", 0, func() { answered(general, AllSystems) }},
		{"group query", 0, func() { answered(group, nth(5)) }},
		{"sources query", 3, func() { answered(sources, nth(5)) }},
		{"report of another", 0, func() { s.Input(s.now, from(peerIP, nth(5), other)) }},
		{"garbage", 0, func() { s.Input(s.now, from(peerIP, AllSystems, other[:7])) }},
		{"Update of a join beside another", 0, func() { s.set(nth(3), NotMember, ex()); s.set(nth(3), ex(), NotMember) }},
		{"Update of sources", 2, func() { s.set(nth(5), one, two); s.set(nth(5), two, one) }},
	} {
		if n := testing.AllocsPerRun(100, tc.f); n > tc.most {
			t.Errorf("%s: %v allocations", tc.name, n)
		}
	}
	_ = sink
}

var sizes = []int{10, 10_000}

// addresses returns n addresses of groups in random order, to be asked for in turn.
func addresses(n, groups int) []ipv4.Addr {
	rng := rand.New(rand.NewPCG(3, 4))
	all := make([]ipv4.Addr, n)
	for i := range all {
		all[i] = nth(rng.IntN(groups))
	}
	return all
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, all, found := filled(b, n), addresses(4096, n), 0
			b.ResetTimer()
			for i := range b.N {
				if s.Lookup(all[i&4095]) != nil {
					found++
				}
			}
			if found != b.N {
				b.Fatal("not found")
			}
		})
	}
}

func BenchmarkAccepts(b *testing.B) {
	for _, n := range []int{0, 10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(b, 10)
			f := Filter{}
			for i := range n {
				f.Sources = append(f.Sources, src(i))
			}
			s.set(g1, NotMember, f)
			g, ok := s.Lookup(g1), 0
			b.ResetTimer()
			for i := range b.N {
				if g.Accepts(src(i & 1023)) {
					ok++
				}
			}
		})
	}
}

// A join and a leave, with all that is said about them.
func BenchmarkJoinLeave(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(b, n)
			buf := make([]byte, 1500)
			b.ReportAllocs()
			for b.Loop() {
				s.set(g1, NotMember, ex())
				for range 2 {
					s.now += sec
					s.Advance(s.now)
				}
				s.set(g1, ex(), NotMember)
				for range 2 {
					s.now += sec
					s.Advance(s.now)
				}
				for ok := true; ok; {
					_, ok = s.Next(buf)
				}
			}
		})
	}
}

// The response to a general query, for 10,000 groups.
func BenchmarkGeneralQuery(b *testing.B) {
	s := filled(b, 10_000)
	buf := make([]byte, 1500)
	q := from(routeIP, AllSystems, queryV3(1, ipv4.Addr{}))
	b.ReportAllocs()
	for b.Loop() {
		s.Input(s.now, q)
		s.now += sec
		s.Advance(s.now)
		for ok := true; ok; {
			_, ok = s.Next(buf)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	q := queryV3(100, g1, 1, 2, 3)
	for b.Loop() {
		Parse(q)
	}
}
