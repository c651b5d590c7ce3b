package arp

import (
	"testing"

	"github.com/outband/outband/ipv4"
)

// The index finds what a map finds, whatever was added and removed, and also if
// its hash is as bad as can be.
func TestIndex(t *testing.T) {
	for _, random := range []uint64{0, 1, 1 << 63, 0x9e3779b97f4a7c15} {
		rnd := xorshift(11)
		x, want := newIndex(random), map[ipv4.Addr]*Entry{}
		for range 30_000 {
			a := host(int(rnd() % 700))
			if e := want[a]; e != nil {
				x.remove(e)
				delete(want, a)
			} else {
				e := &Entry{addr: a}
				x.put(e)
				want[a] = e
			}
			b := host(int(rnd() % 700))
			if x.get(b) != want[b] || x.n != len(want) {
				t.Fatalf("%v: %v, want %v; %d entries, want %d", b, x.get(b), want[b], x.n, len(want))
			}
		}
		n := 0
		for e := range x.all() {
			if want[e.addr] != e {
				t.Fatalf("%v yielded", e.addr)
			}
			n++
		}
		if n != len(want) {
			t.Errorf("%d yielded, want %d", n, len(want))
		}
		for range x.all() {
			break
		}
	}
}

// Address 0.0.0.0, whose key is that of an empty slot, is not found.
func TestIndexZero(t *testing.T) {
	x := newIndex(3)
	if x.get(ipv4.Addr{}) != nil {
		t.Error("found")
	}
}

// Neighbouring addresses, as a link has them, do not pile up.
func TestIndexSpread(t *testing.T) {
	rnd := xorshift(3)
	for range 5 {
		x := newIndex(rnd())
		for i := range 100_000 {
			x.put(&Entry{addr: host(i)})
		}
		total, worst := 0, 0
		mask := uint64(len(x.slots) - 1)
		for i, s := range x.slots {
			if s.e != nil {
				d := int((uint64(i) - x.home(s.key)) & mask)
				total, worst = total+d, max(worst, d)
			}
		}
		if total > 2*x.n || worst > 200 {
			t.Errorf("entries are %.2f slots from home on average, %d at worst", float64(total)/float64(x.n), worst)
		}
	}
}
