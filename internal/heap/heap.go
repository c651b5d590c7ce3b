// Package heap has what finds the earliest of many times: a Heap of timers that can be
// moved and stopped, and a Queue of values that leave in the order of their times.
package heap

import "math"

// Never is the time of a Heap or Queue in which nothing is.
const Never = math.MaxInt64

// A Place is where a timer is in a Heap: a field of the timer's owner, which must stay
// where it is in memory while the timer runs. The zero Place is nowhere.
type Place int32

// Running reports whether the timer is in a Heap.
func (p Place) Running() bool { return p != 0 }

// A Heap is timers and what they belong to. The zero Heap is empty. It has four children
// to a node: half as deep as a binary one, and the children share a cache line or two. It
// is not safe for concurrent use.
type Heap[T any] struct{ slots []slot[T] }

type slot[T any] struct {
	when  int64
	place *Place // of the owner; its value is the index of the slot, plus one
	owner T
}

const arity = 4

// Len returns the number of timers.
func (h *Heap[T]) Len() int { return len(h.slots) }

// Next returns the earliest time, Never if there is none.
func (h *Heap[T]) Next() int64 {
	if len(h.slots) == 0 {
		return Never
	}
	return h.slots[0].when
}

// When returns the time of a timer, Never if it does not run.
func (h *Heap[T]) When(p Place) int64 {
	if p == 0 {
		return Never
	}
	return h.slots[p-1].when
}

// Set starts the owner's timer, or moves it.
func (h *Heap[T]) Set(p *Place, when int64, owner T) {
	if *p == 0 {
		h.slots = append(h.slots, slot[T]{when, p, owner})
		h.up(len(h.slots) - 1)
		return
	}
	h.move(int(*p-1), slot[T]{when, p, owner})
}

// Stop stops a timer. Nothing happens if it does not run.
func (h *Heap[T]) Stop(p *Place) {
	if *p == 0 {
		return
	}
	i, last := int(*p-1), len(h.slots)-1
	*p = 0
	s := h.slots[last]
	h.slots[last] = slot[T]{}
	h.slots = h.slots[:last]
	if i < last {
		h.move(i, s)
	}
}

// Pop stops the earliest timer, and returns its owner. There must be one.
func (h *Heap[T]) Pop() T {
	owner := h.slots[0].owner
	h.Stop(h.slots[0].place)
	return owner
}

// move puts another slot in the place of the one at i.
func (h *Heap[T]) move(i int, s slot[T]) {
	old := h.slots[i].when
	h.slots[i] = s
	if s.when < old {
		h.up(i)
	} else {
		h.down(i)
	}
}

// put stores a slot and tells its owner where.
func (h *Heap[T]) put(i int, s slot[T]) {
	h.slots[i] = s
	*s.place = Place(i + 1)
}

// up moves the slot at i towards the root until its parent is not later.
func (h *Heap[T]) up(i int) {
	s := h.slots[i]
	for i > 0 {
		parent := (i - 1) / arity
		if h.slots[parent].when <= s.when {
			break
		}
		h.put(i, h.slots[parent])
		i = parent
	}
	h.put(i, s)
}

// down moves the slot at i towards the leaves until no child is earlier.
func (h *Heap[T]) down(i int) {
	s := h.slots[i]
	for {
		first := arity*i + 1
		if first >= len(h.slots) {
			break
		}
		least := first
		for c := first + 1; c < min(first+arity, len(h.slots)); c++ {
			if h.slots[c].when < h.slots[least].when {
				least = c
			}
		}
		if h.slots[least].when >= s.when {
			break
		}
		h.put(i, h.slots[least])
		i = least
	}
	h.put(i, s)
}
