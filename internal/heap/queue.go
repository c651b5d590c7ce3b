package heap

import "slices"

// A Queue is values with times: the earliest leaves first, and of several with one time
// the one that came first. The zero Queue is empty. It is not safe for concurrent use.
type Queue[T any] struct {
	items []queued[T] // a binary heap
	seq   uint64
}

type queued[T any] struct {
	when int64
	seq  uint64
	v    T
}

func (a *queued[T]) before(b *queued[T]) bool {
	return a.when < b.when || a.when == b.when && a.seq < b.seq
}

// Len returns the number of values.
func (q *Queue[T]) Len() int { return len(q.items) }

// Next returns the earliest time, Never if there is none.
func (q *Queue[T]) Next() int64 {
	if len(q.items) == 0 {
		return Never
	}
	return q.items[0].when
}

// Push puts a value in.
func (q *Queue[T]) Push(when int64, v T) {
	q.items = append(q.items, queued[T]{when, q.seq, v})
	q.seq++
	for i := len(q.items) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.items[i].before(&q.items[parent]) {
			return
		}
		q.items[i], q.items[parent] = q.items[parent], q.items[i]
		i = parent
	}
}

// Pop takes the first value out. There must be one.
func (q *Queue[T]) Pop() T {
	v, last := q.items[0].v, len(q.items)-1
	q.items[0] = q.items[last]
	q.items[last] = queued[T]{}
	q.items = q.items[:last]
	q.down(0)
	return v
}

// down moves the value at i to where none that follows is earlier.
func (q *Queue[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(q.items) {
			return
		}
		if child+1 < len(q.items) && q.items[child+1].before(&q.items[child]) {
			child++
		}
		if !q.items[child].before(&q.items[i]) {
			return
		}
		q.items[i], q.items[child] = q.items[child], q.items[i]
		i = child
	}
}

// DeleteFunc takes the values out for which del is true. It is called once for each, in
// no particular order.
func (q *Queue[T]) DeleteFunc(del func(T) bool) {
	q.items = slices.DeleteFunc(q.items, func(i queued[T]) bool { return del(i.v) })
	for i := len(q.items)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}
