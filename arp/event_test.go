package arp

import "testing"

// The queue of events grows, keeps their order, and gives much memory back.
func TestEventQueue(t *testing.T) {
	for _, tt := range []struct {
		name    string
		n, kept int
	}{
		{"few", minEventQueue, minEventQueue}, {"more", minEventQueue + 1, 2 * minEventQueue},
		{"as many as are kept", keepEventQueue, keepEventQueue}, {"too many to keep", keepEventQueue + 1, 0},
	} {
		var q eventQueue
		q.grow()
		q.push(Conflict).Addr = host(9999) // the ring begins in its midst
		q.pop()
		for i := range tt.n {
			q.push(Conflict).Addr = host(i)
		}
		for i := range tt.n {
			if ev, ok := q.pop(); !ok || ev.Addr != host(i) {
				t.Fatalf("%s: event %d is about %v", tt.name, i, ev.Addr)
			}
		}
		if _, ok := q.pop(); ok || len(q.buf) != tt.kept {
			t.Errorf("%s: there is room for %d afterwards, want %d", tt.name, len(q.buf), tt.kept)
		}
	}
}

func TestRandomOfNothing(t *testing.T) {
	s := newSim(t, nil)
	for _, n := range []int64{-1, 0, 1} {
		if got := s.random(n); got != 0 {
			t.Errorf("below %d: %d", n, got)
		}
	}
}
