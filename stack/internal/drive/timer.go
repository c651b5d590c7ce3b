package drive

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/internal/heap"
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
	heap heap.Heap[*Timer]
}

// A Timer calls f once when its time has come; f may set it again.
type Timer struct {
	place heap.Place
	f     func(now int64)
}

// NewTimer returns a timer that is not set.
func NewTimer(f func(now int64)) *Timer { return &Timer{f: f} }

func (ts *Timers) init(earlier func()) {
	ts.next.Store(Never)
	ts.earlier = earlier
}

// Set moves t to the deadline when; Never takes it out.
func (ts *Timers) Set(t *Timer, when int64) {
	ts.mu.Lock()
	if when == Never {
		ts.heap.Stop(&t.place)
	} else {
		ts.heap.Set(&t.place, when, t)
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
		if ts.heap.Next() > now {
			ts.mu.Unlock()
			return
		}
		t := ts.heap.Pop()
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
	next := ts.heap.Next()
	return next < ts.next.Swap(next)
}
