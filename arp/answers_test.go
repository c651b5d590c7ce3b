package arp

import (
	"testing"
	"time"
)

// TestAnswersTakeNothing floods the table with answers to strangers that do not exist,
// more than any of its limits. What the host's own programs send to new neighbours
// waits and leaves, neighbours that are known stay, and all that waited comes out.
func TestAnswersTakeNothing(t *testing.T) {
	const known, strangers = 40, 3000
	s := newSim(t, func(c *Config) {
		c.MaxEntries, c.MaxAnswering, c.AnswerQueueBytes, c.TotalQueueBytes = 64, 16, 4000, 8000
	})
	for i := range known {
		s.add(i, Stale)
	}
	in, out := 0, 0
	drain := func() {
		for ev, ok := s.Next(); ok; ev, ok = s.Next() {
			if ev.Kind == Discard || ev.Kind == Unreachable || ev.Kind == Purged {
				out++
			}
		}
	}
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			e, c := s.ResolveAnswer(s.now, host(10000+i), ourIP)
			if e == nil {
				t.Fatalf("stranger %d: %v", i, c)
			}
			in++
			if _, full := s.Enqueue(e, Pending{Frame: make([]byte, 500), Answer: true}); full {
				out++
			}
			drain()
			if st := s.Stats(); st.PendingBytes > 4000+8000 || st.Entries > 64 {
				t.Fatalf("%d bytes wait for %d neighbours", st.PendingBytes, st.Entries)
			}
		}
	}
	flood(0, strangers)
	checkInvariants(t, s.Table)
	for i := range 8 {
		e, c := s.Resolve(s.now, host(5000+i), ourIP)
		if c != CauseNone {
			t.Fatal(c)
		}
		if _, full := s.Enqueue(e, Pending{Frame: make([]byte, 500)}); full {
			t.Errorf("a datagram to new neighbour %d finds no room", i)
		}
	}
	flood(strangers, 2*strangers)
	for i := range 8 {
		if e := s.Lookup(host(5000 + i)); e == nil || e.queue.len() != 1 {
			t.Errorf("new neighbour %d has gone, or its datagram", i)
		}
	}
	if got := len(s.has(known)); got != known {
		t.Errorf("%d of %d known neighbours are left", got, known)
	}
	checkInvariants(t, s.Table)
	s.LinkDown()
	drain()
	if st := s.Stats(); st.Pending != 0 || st.PendingBytes != 0 || out != in+8 {
		t.Errorf("after the end %d wait, %d came out of %d", st.Pending, out, in+8)
	}
}

// TestAnswersWaitFairly: the oldest answer of all gives way, so that a new one has as
// long as any to be found.
func TestAnswersWaitFairly(t *testing.T) {
	s := newSim(t, func(c *Config) { c.AnswerQueueLen, c.AnswerQueueBytes = 3, 6*(100+PendingOverhead) })
	var discarded []int
	put := func(h int) {
		e, _ := s.ResolveAnswer(s.now, host(h), ourIP)
		if _, full := s.Enqueue(e, Pending{Frame: make([]byte, 100), Answer: true}); full {
			t.Fatal("it found no room")
		}
		for ev, ok := s.Next(); ok; ev, ok = s.Next() {
			if ev.Kind == Discard {
				discarded = append(discarded, int(ev.Addr[2])<<8|int(ev.Addr[3]))
			}
		}
	}
	for _, h := range []int{1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7} {
		put(h)
	}
	if len(discarded) != 5 {
		t.Fatalf("discarded %v", discarded)
	}
	for i, want := range []int{1, 1, 1, 1, 2} {
		if discarded[i] != want {
			t.Fatalf("discarded %v", discarded)
		}
	}
	s.run(time.Minute)
	checkInvariants(t, s.Table)
}

// TestForgedNeighboursEvictEachOther fills a table of known neighbours with requests
// for such as do not exist, on behalf of the host's own programs: few known ones go.
func TestForgedNeighboursEvictEachOther(t *testing.T) {
	const known = 256
	for _, state := range []State{Stale, Reachable, Delay} {
		s := newSim(t, func(c *Config) { c.MaxEntries = known })
		for i := range known {
			s.add(i, state)
		}
		for i := range 4 * known {
			if e, c := s.Resolve(s.now, host(10000+i), ourIP); e == nil {
				t.Fatal(c)
			}
			s.drain()
		}
		if got := len(s.has(known)); got < known-known/incompleteShare-1 {
			t.Errorf("%v: %d of %d known neighbours are left", state, got, known)
		}
		checkInvariants(t, s.Table)
	}
}

// As many answers as AnswerQueueLen wait for one neighbour, the latest ones.
func TestAnswersForOneNeighbour(t *testing.T) {
	s := newSim(t, func(c *Config) { c.AnswerQueueLen = 3 })
	e, c := s.ResolveAnswer(s.now, host(1), ourIP)
	if c != CauseNone {
		t.Fatal(c)
	}
	for i := range 8 {
		s.Enqueue(e, Pending{Frame: make([]byte, 100+i), Answer: true})
		s.drain()
		if n := e.answers.n; n != min(i+1, 3) {
			t.Errorf("behind answer %d %d wait", i+1, n)
		}
	}
	if p := e.answers.pop(); len(p.Frame) != 105 {
		t.Errorf("the oldest that waits has %d bytes", len(p.Frame))
	}
}

// An answer that is longer than all that may wait comes back at once; one that is as long
// may wait.
func TestAnswerLongerThanAll(t *testing.T) {
	s := newSim(t, func(c *Config) { c.AnswerQueueBytes = 100 + PendingOverhead })
	e, _ := s.ResolveAnswer(s.now, host(1), ourIP)
	if _, full := s.Enqueue(e, Pending{Frame: make([]byte, 100), Answer: true}); full {
		t.Error("the longest finds no room")
	}
	if p, full := s.Enqueue(e, Pending{Frame: make([]byte, 101), Answer: true}); !full || len(p.Frame) != 101 {
		t.Errorf("one byte more: full is %t, %d bytes come back", full, len(p.Frame))
	}
	if n := s.Stats().UnresDiscards; n != 1 || e.answers.n != 1 {
		t.Errorf("%d discarded, %d wait", n, e.answers.n)
	}
}

// An answer to a stranger takes no neighbour's place that is known.
func TestAnswerEvictsNoneKnown(t *testing.T) {
	const known = 4
	s := newSim(t, func(c *Config) { c.MaxEntries = known })
	for i := range known {
		s.add(i, Stale)
	}
	if e, c := s.ResolveAnswer(s.now, host(1000), ourIP); e != nil || c != CauseTableFull {
		t.Errorf("a stranger is asked for: %v", c)
	}
	if got := len(s.has(known)); got != known {
		t.Errorf("%d of %d known neighbours are left", got, known)
	}
}
