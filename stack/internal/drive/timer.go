package drive

import (
	"container/heap"
	"sync"
	"sync/atomic"
)

// Timers are the stack's one timer structure: a heap of deadlines. Whoever
// leads the first lane runs those that are due.
type Timers struct {
	// next is the earliest deadline, for leaders to look at without the mutex.
	next atomic.Int64
	// earlier is called, without mu, when next has come nearer.
	earlier func()

	running *Timer // guarded by the first lane's lock

	mu   sync.Mutex
	heap timerHeap
}

// A Timer calls f once when its time has come; f may set it again.
type Timer struct {
	when  int64
	index int // in the heap; -1 if not set
	f     func(now int64)
}

// NewTimer returns a timer that is not set.
func NewTimer(f func(now int64)) *Timer { return &Timer{index: -1, f: f} }

func (ts *Timers) init(earlier func()) {
	ts.next.Store(Never)
	ts.earlier = earlier
}

// Set moves t to the deadline when; Never takes it out.
func (ts *Timers) Set(t *Timer, when int64) {
	ts.mu.Lock()
	switch {
	case when == Never && t.index >= 0:
		heap.Remove(&ts.heap, t.index)
	case when == Never || t.index >= 0 && t.when == when:
	case t.index >= 0:
		t.when = when
		heap.Fix(&ts.heap, t.index)
	default:
		t.when = when
		heap.Push(&ts.heap, t)
	}
	nearer := ts.publishLocked()
	ts.mu.Unlock()
	if nearer && ts.earlier != nil {
		ts.earlier()
	}
}

// Due reports whether any is due at now.
func (ts *Timers) Due(now int64) bool { return ts.next.Load() <= now }

// Run calls what is due at now. The first lane's lock is held.
func (ts *Timers) Run(now int64) {
	for ts.next.Load() <= now {
		ts.mu.Lock()
		if len(ts.heap) == 0 || ts.heap[0].when > now {
			ts.mu.Unlock()
			return
		}
		t := heap.Pop(&ts.heap).(*Timer)
		ts.publishLocked()
		ts.mu.Unlock()
		ts.running = t
		t.f(now)
		ts.running = nil
	}
}

// Again sets the timer that was called last anew, if it has not returned.
func (ts *Timers) Again(when int64) {
	if t := ts.running; t != nil {
		ts.running = nil
		ts.Set(t, when)
	}
}

// publishLocked stores the earliest deadline, and says if it came nearer.
func (ts *Timers) publishLocked() bool {
	next := Never
	if len(ts.heap) > 0 {
		next = ts.heap[0].when
	}
	return next < ts.next.Swap(next)
}

// timerHeap is a container/heap of timers, each of which knows its place.
type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].when < h[j].when }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is heap.Interface's.
func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop is heap.Interface's.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}
