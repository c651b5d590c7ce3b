package index

import (
	"math/rand/v2"
	"testing"
)

type source struct{ addr uint32 }

// The index against a map, with adding and removing.
func TestIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var x Index[source]
	seed := Seed(rng.Uint64())
	model := map[uint32]*source{}
	for step := range 200_000 {
		limit := 1 + rng.Uint32N(600)
		k := rng.Uint32N(limit)
		switch s := model[k]; {
		case s == nil && step%20_000 < 12_000:
			model[k] = &source{addr: k}
			x.Put(k, model[k], seed)
		case s != nil && rng.IntN(2) == 0:
			delete(model, k)
			x.Remove(k, seed)
		}
		if k := rng.Uint32N(600); x.Get(k, seed) != model[k] || x.Len() != len(model) {
			t.Fatalf("step %d: key %d, %d entries", step, k, x.n)
		}
		if len(x.slots) > max(minSlots, 16*x.n) {
			t.Fatalf("%d slots for %d entries", len(x.slots), x.n)
		}
	}
	n := 0
	for s := range x.All() {
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
		{"of a link", func(i uint32) uint32 { return 0x0a000000 + i }},
		{"in a row", func(i uint32) uint32 { return 0xef010000 + i }},
		{"every 256th", func(i uint32) uint32 { return 0xe8000000 + i<<8 }},
		{"in the middle bytes", func(i uint32) uint32 { return 0xef000001 + i<<10 }},
		{"few of many blocks", func(i uint32) uint32 { return 0xe0000000 + i>>4<<16 + i&15 }},
		{"at random", func(i uint32) uint32 { return 0xe0000000 + i*2654435761>>4 }},
	} {
		for range 40 {
			var x Index[source]
			seed := Seed(rng.Uint64())
			const n = 8000 // as full as it gets
			for i := range uint32(n) {
				if k := tc.key(i); x.Get(k, seed) == nil {
					x.Put(k, &source{addr: k}, seed)
				}
			}
			steps, mask := 0, uint64(len(x.slots)-1)
			for i, s := range x.slots {
				if s.e != nil {
					steps += int((uint64(i) - seed.home(s.key)) & mask)
				}
			}
			if mean := float64(steps) / float64(x.n); mean > 4 {
				t.Errorf("%s: %.1f steps on average", tc.name, mean)
			}
		}
	}
}

// The index finds what a map finds also if the seed is as bad as can be.
func TestBadSeeds(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, seed := range []Seed{0, 1, 1 << 63, 0x9e3779b97f4a7c15} {
		var x Index[source]
		model := map[uint32]*source{}
		for range 30_000 {
			k := 0x0a000000 + rng.Uint32N(700)
			if model[k] != nil {
				x.Remove(k, seed)
				delete(model, k)
			} else {
				model[k] = &source{addr: k}
				x.Put(k, model[k], seed)
			}
			if k := 0x0a000000 + rng.Uint32N(700); x.Get(k, seed) != model[k] || x.Len() != len(model) {
				t.Fatalf("seed %#x: key %d, %d entries", seed, k, x.Len())
			}
		}
		for range x.All() {
			break
		}
	}
}

// Key 0, which is that of an empty slot, is not found before it is there.
func TestZeroKey(t *testing.T) {
	var x Index[source]
	if x.Get(0, 3) != nil {
		t.Error("found in an empty index")
	}
	x.Put(1, new(source), 3)
	if x.Get(0, 3) != nil {
		t.Error("found")
	}
	zero := new(source)
	x.Put(0, zero, 3)
	if x.Get(0, 3) != zero {
		t.Error("not found")
	}
}
