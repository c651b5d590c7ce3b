package heap

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

type owner struct {
	id    int
	when  int64
	place Place
}

// The heap against the owners' own times.
func TestHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h Heap[*owner]
	owners := make([]owner, 100)
	for step := range 50_000 {
		o := &owners[rng.IntN(len(owners))]
		switch k := rng.IntN(8); {
		case k < 3:
			h.Stop(&o.place)
		case k == 3 && h.Len() > 0:
			least := h.Next()
			if o = h.Pop(); o.when != least {
				t.Fatalf("step %d: popped %d, the earliest is %d", step, o.when, least)
			}
		default:
			o.when = rng.Int64N(50)
			h.Set(&o.place, o.when, o)
			if !o.place.Running() {
				t.Fatal("does not run")
			}
		}
		running, least := 0, int64(Never)
		for i := range owners {
			o := &owners[i]
			if !o.place.Running() {
				if h.When(o.place) != Never {
					t.Fatal("a timer that does not run has a time")
				}
				continue
			}
			running, least = running+1, min(least, o.when)
			if h.When(o.place) != o.when || h.slots[o.place-1].owner != o {
				t.Fatalf("step %d: the timer of %d is lost", step, o.id)
			}
		}
		if h.Len() != running || h.Next() != least {
			t.Fatalf("step %d: %d timers, the next at %d; want %d, %d", step, h.Len(), h.Next(), running, least)
		}
	}
}

// Timers that have stopped are not kept in memory.
func TestHeapForgets(t *testing.T) {
	var h Heap[*owner]
	var a, b owner
	h.Set(&a.place, 1, &a)
	h.Set(&b.place, 2, &b)
	h.Pop()
	h.Pop()
	if s := h.slots[:2]; s[0] != (slot[*owner]{}) || s[1] != (slot[*owner]{}) {
		t.Error("kept")
	}
}

// The queue against a sorted slice.
func TestQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var q Queue[*owner]
	var model []*owner
	for step := range 20_000 {
		switch k := rng.IntN(20); {
		case k == 0:
			odd := func(o *owner) bool { return o.id%2 == 1 }
			q.DeleteFunc(odd)
			model = slices.DeleteFunc(model, odd)
		case k < 10 && len(model) > 0:
			if o := q.Pop(); o != model[0] {
				t.Fatalf("step %d: popped %d at %d, want %d at %d", step, o.id, o.when, model[0].id, model[0].when)
			}
			model = model[1:]
		default:
			o := &owner{id: step, when: rng.Int64N(20)}
			q.Push(o.when, o)
			model = append(model, o)
			slices.SortStableFunc(model, func(a, b *owner) int { return cmp.Compare(a.when, b.when) })
		}
		next := int64(Never)
		if len(model) > 0 {
			next = model[0].when
		}
		if q.Len() != len(model) || q.Next() != next {
			t.Fatalf("step %d: %d values, the next at %d; want %d, %d", step, q.Len(), q.Next(), len(model), next)
		}
	}
}

// Values that have left are not kept in memory.
func TestQueueForgets(t *testing.T) {
	var q Queue[*owner]
	q.Push(1, new(owner))
	q.Push(2, new(owner))
	q.Pop()
	q.DeleteFunc(func(*owner) bool { return true })
	if s := q.items[:2]; s[0].v != nil || s[1].v != nil {
		t.Error("kept")
	}
}

func TestTimerSize(t *testing.T) {
	if got := unsafe.Sizeof(slot[*owner]{}); got > 24 {
		t.Errorf("a timer has %d bytes", got)
	}
}
