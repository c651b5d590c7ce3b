package igmp

import (
	"math/rand/v2"
	"testing"
)

// The index against a map, with adding and removing.
func TestIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var x index[source]
	mul := rng.Uint64() | 1
	model := map[uint32]*source{}
	for step := range 200_000 {
		limit := 1 + rng.Uint32N(600)
		k := rng.Uint32N(limit)
		switch s := model[k]; {
		case s == nil && step%20_000 < 12_000:
			model[k] = &source{addr: k}
			x.put(k, model[k], mul)
		case s != nil && rng.IntN(2) == 0:
			delete(model, k)
			x.remove(k, mul)
		}
		if k := rng.Uint32N(600); x.get(k, mul) != model[k] || x.n != len(model) {
			t.Fatalf("step %d: key %d, %d entries", step, k, x.n)
		}
		if len(x.slots) > max(minIndex, 16*x.n) {
			t.Fatalf("%d slots for %d entries", len(x.slots), x.n)
		}
	}
	n := 0
	for s := range x.all() {
		if model[s.addr] != s {
			t.Fatal("all yields another")
		}
		n++
	}
	if n != len(model) {
		t.Errorf("all yields %d of %d", n, len(model))
	}
}

// Addresses as they are given out are spread well, whatever the random number.
func TestIndexSpread(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, tc := range []struct {
		name string
		key  func(i uint32) uint32
	}{
		{"in a row", func(i uint32) uint32 { return 0xef010000 + i }},
		{"every 256th", func(i uint32) uint32 { return 0xe8000000 + i<<8 }},
		{"in the middle bytes", func(i uint32) uint32 { return 0xef000001 + i<<10 }},
		{"few of many blocks", func(i uint32) uint32 { return 0xe0000000 + i>>4<<16 + i&15 }},
		{"at random", func(i uint32) uint32 { return 0xe0000000 + i*2654435761>>4 }},
	} {
		for range 8 {
			var x index[source]
			mul := rng.Uint64() | 1
			const n = 8000 // as full as it gets
			for i := range uint32(n) {
				if k := tc.key(i); x.get(k, mul) == nil {
					x.put(k, &source{addr: k}, mul)
				}
			}
			steps, mask := 0, uint64(len(x.slots)-1)
			for i, s := range x.slots {
				if s.e != nil {
					steps += int((uint64(i) - home(s.key, mul)) & mask)
				}
			}
			if mean := float64(steps) / float64(x.n); mean > 4 {
				t.Errorf("%s: %.1f steps on average", tc.name, mean)
			}
		}
	}
}
