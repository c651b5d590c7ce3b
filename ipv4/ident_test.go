package ipv4

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"
)

// The reference implementation's vector for the key 00..0f and the message
// 00..0f.
func TestSiphash(t *testing.T) {
	var b [16]byte
	for i := range b {
		b[i] = byte(i)
	}
	lo, hi := binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])
	equal(t, "hash", siphash([2]uint64{lo, hi}, lo, hi), 0x3f2acc7f57c29bdb)
}

var testKey = [16]byte{1, 2, 3}

const tick = 1 << identTickShift

func TestIdentifierWithinATick(t *testing.T) {
	g := NewIdentifier(testKey)
	first := g.Next(5*tick, near, far, 17, 1)
	equal(t, "next", g.Next(5*tick+9, near, far, 17, 4), first+1)
	equal(t, "after four", g.Next(6*tick-1, near, far, 17, 1), first+5)
}

// Whoever sees one flow's numbers learns nothing of how many were used for
// others: after n ticks they are anywhere in n.
func TestIdentifierJumps(t *testing.T) {
	g := NewIdentifier(testKey)
	last := g.Next(0, near, far, 17, 1)
	var jumps []int
	for i := int64(1); i <= 1000; i++ {
		id := g.Next(i*1000*tick, near, far, 17, 1)
		jumps = append(jumps, int(id-last))
		last = id
	}
	slices.Sort(jumps)
	if jumps[0] < 1 || jumps[999] > 1000 {
		t.Errorf("jumps are within [%d, %d], want [1, 1000]", jumps[0], jumps[999])
	}
	if m := jumps[500]; m < 430 || m > 570 {
		t.Errorf("the median jump is %d, want about 500", m)
	}
	equal(t, "spread", len(slices.Compact(jumps)) > 500, true)
}

// A caller that read the clock before another one, but comes after it, does not
// make the counter jump.
func TestIdentifierTimeGoesBack(t *testing.T) {
	g := NewIdentifier(testKey)
	first := g.Next(100*tick, near, far, 17, 1)
	equal(t, "a tick back", g.Next(99*tick, near, far, 17, 1), first+1)
	equal(t, "and forth", g.Next(100*tick, near, far, 17, 1), first+2)
	equal(t, "a minute back", g.Next(100*tick-60_000*tick, near, far, 17, 1), first+3)
}

func TestIdentifierFlowsAreApart(t *testing.T) {
	g, other := NewIdentifier(testKey), NewIdentifier([16]byte{9})
	seen := map[uint16]int{}
	for i := range 1000 {
		dst := Addr{10, 0, byte(i >> 8), byte(i)}
		seen[g.Next(0, near, dst, 17, 1)]++
	}
	if len(seen) < 950 {
		t.Errorf("1000 destinations begin with %d numbers", len(seen))
	}
	same := 0
	for i := range 1000 {
		dst := Addr{10, 9, byte(i >> 8), byte(i)}
		if g.Next(0, near, dst, 17, 1) == other.Next(0, near, dst, 17, 1) {
			same++
		}
	}
	if same > 10 {
		t.Errorf("%d of 1000 numbers do not depend on the key", same)
	}
	a, b := g.Next(0, near, far, 17, 1), g.Next(0, near, far, 1, 1)
	c, d := g.Next(0, far, near, 17, 1), g.Next(0, near, far, 17, 1)
	equal(t, "protocol and direction count", a != b && a != c && b != c, true)
	equal(t, "same flow", d, a+1)
}

// No number comes twice before all have been used, whoever asks.
func TestIdentifierConcurrent(t *testing.T) {
	g := NewIdentifier(testKey)
	const workers, each = 4, 2000
	ids := make([][]uint16, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				ids[w] = append(ids[w], g.Next(int64(i/100)*tick, near, far, 17, 2))
			}
		})
	}
	wg.Wait()
	all := slices.Concat(ids...)
	slices.Sort(all)
	equal(t, "distinct", len(slices.Compact(all)), workers*each)
}

func TestIdentifierAllocs(t *testing.T) {
	g := NewIdentifier(testKey)
	now := int64(0)
	equal(t, "allocations", testing.AllocsPerRun(100, func() {
		now += tick
		g.Next(now, near, far, 17, 1)
	}), 0)
}

func BenchmarkIdentifier(b *testing.B) {
	g := NewIdentifier(testKey)
	for b.Loop() {
		sink += int(g.Next(7, near, far, 17, 1))
	}
}
