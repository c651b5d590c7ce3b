package arp

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

// host returns the i-th of many addresses.
func host(i int) (a ipv4.Addr) {
	binary.BigEndian.PutUint32(a[:], 10<<24|1<<23|uint32(i))
	return a
}

// has says which of the first n hosts are in the table.
func (s *sim) has(n int) (is []int) {
	for i := range n {
		if s.Lookup(host(i)) != nil {
			is = append(is, i)
		}
	}
	return is
}

// add makes an entry of host i in a state, and lets a little time pass.
func (s *sim) add(i int, st State) {
	s.tb.Helper()
	mac := ether.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}
	switch st {
	case Incomplete, Failed:
		s.Resolve(s.now, host(i), ourIP)
		if st == Failed {
			s.run(3 * time.Second)
		}
	case Delay:
		s.Set(s.now, host(i), mac, Stale)
		s.Resolve(s.now, host(i), ourIP)
	default:
		if c := s.Set(s.now, host(i), mac, st); c != CauseNone {
			s.tb.Fatal(c)
		}
	}
	s.run(time.Millisecond)
}

func TestEvictionOrder(t *testing.T) {
	for _, tc := range []struct {
		name   string
		states []State // of hosts 0, 1, ...
		order  []int   // which go, in order
		full   bool    // then the table is full
	}{
		{"FAILED, INCOMPLETE, STALE, in use", []State{Reachable, Failed, Stale, Incomplete}, []int{1, 3, 2, 0}, false},
		{"oldest FAILED first", []State{Failed, Failed}, []int{0, 1}, false},
		{"longest STALE first", []State{Stale, Stale, Stale}, []int{0, 1, 2}, false},
		{"oldest INCOMPLETE first", []State{Incomplete, Incomplete}, []int{0, 1}, false},
		{"in use: oldest use first", []State{Delay, Reachable, NoARP}, []int{0, 1, 2}, false},
		{"PERMANENT never", []State{Permanent, Stale, Permanent}, []int{1}, false},
		{"only PERMANENT", []State{Permanent, Permanent}, nil, true},
	} {
		s := newSim(t, func(c *Config) { c.MaxEntries = len(tc.states) })
		for i, st := range tc.states {
			s.add(i, st)
		}
		for n, gone := range tc.order {
			e := s.Lookup(host(gone))
			if e == nil {
				t.Fatalf("%s: host %d has gone before its turn", tc.name, gone)
			}
			v := e.Version()
			// PERMANENT newcomers are never the next to go themselves.
			if c := s.Set(s.now, host(1000+n), peerMAC, Permanent); c != CauseNone {
				t.Fatalf("%s: %v", tc.name, c)
			}
			if s.Lookup(host(gone)) != nil {
				t.Errorf("%s: host %d still there, left %v", tc.name, gone, s.has(len(tc.states)))
			}
			if e.Version() == v || e.State() != None {
				t.Errorf("%s: host %d does not know that it has gone", tc.name, gone)
			}
			checkInvariants(t, s.Table)
		}
		if tc.full {
			if e, c := s.Resolve(s.now, peerIP, ourIP); e != nil || c != CauseTableFull {
				t.Errorf("%s: %v", tc.name, c)
			}
			if c := s.Set(s.now, peerIP, peerMAC, Stale); c != CauseTableFull {
				t.Errorf("%s: %v", tc.name, c)
			}
			if got := s.Stats().Causes[CauseTableFull]; got != 2 {
				t.Errorf("%s: counted %d", tc.name, got)
			}
		}
		if got := s.Stats().ForcedGC; int(got) != len(tc.order) {
			t.Errorf("%s: ForcedGC %d", tc.name, got)
		}
	}
}

// Resolve makes an entry in use the youngest, and a STALE one in use.
func TestEvictionAfterUse(t *testing.T) {
	s := newSim(t, func(c *Config) { c.MaxEntries = 3 })
	s.add(0, Reachable)
	s.add(1, Reachable)
	s.add(2, Stale)
	s.run(2 * time.Second)
	s.Resolve(s.now, host(0), ourIP)
	s.Resolve(s.now, host(2), ourIP)
	s.Set(s.now, host(1000), peerMAC, Permanent)
	if got := s.has(3); len(got) != 2 || got[0] != 0 || got[1] != 2 {
		t.Errorf("left %v, want 0 and 2", got)
	}
}

// What waits for an evicted neighbour comes out, and so does the answer to Solicit.
func TestEvictionReports(t *testing.T) {
	s := newSim(t, func(c *Config) { c.MaxEntries = 1 })
	e := s.Solicit(s.now, peerIP, ourIP)
	s.Enqueue(e, frame("x"))
	s.drain()
	s.Resolve(s.now, otherIP, ourIP)
	wantLines(t, s.run(0), `0.000 unreachable 10.0.0.2 "x"`, "0.000 failed 10.0.0.2",
		"0.000 request 10.0.0.3 from 10.0.0.1 to all")
}

// 200,000 calls of Resolve for as many addresses stay within the bounds, and do
// not push out a neighbour in use.
func TestResolveFloodIsBounded(t *testing.T) {
	const limit = 1024
	s := newSim(t, func(c *Config) { c.MaxEntries = limit })
	e := s.reach()
	for i := range 200_000 {
		n, c := s.Resolve(s.now, host(i), ourIP)
		if c != CauseNone {
			t.Fatal(c)
		}
		s.Enqueue(n, Pending{Frame: make([]byte, 60)})
		s.drain()
		if i%1000 == 0 {
			s.now += int64(100 * time.Millisecond)
			s.Advance(s.now)
			s.drain()
		}
	}
	checkInvariants(t, s.Table)
	if s.Len() != limit {
		t.Errorf("%d entries", s.Len())
	}
	if s.Lookup(peerIP) != e || e.State() != Reachable {
		t.Errorf("the neighbour in use: %v", e.State())
	}
	if st := s.Stats(); st.Pending > limit || st.Destroys != st.Allocs-limit || st.ForcedGC == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestCollect(t *testing.T) {
	const threshold = 4
	small := func(c *Config) { c.GCThreshold = threshold }
	t.Run("below the threshold nothing goes", func(t *testing.T) {
		s := newSim(t, small)
		for i := range threshold - 1 {
			s.add(i, Stale)
		}
		s.run(time.Hour)
		if s.Len() != threshold-1 || s.Deadline() != math.MaxInt64 {
			t.Errorf("%d entries, deadline %d", s.Len(), s.Deadline())
		}
	})
	t.Run("stale for a minute", func(t *testing.T) {
		s := newSim(t, small)
		start := s.now
		for i := range threshold {
			s.add(i, Stale)
		}
		s.run(time.Duration(start + 60*sec - 1 - s.now))
		if s.Len() != threshold {
			t.Fatalf("%d entries just before", s.Len())
		}
		s.run(16 * time.Second)
		// One goes; then the table is below the threshold.
		if got := s.has(threshold); len(got) != threshold-1 || got[0] != 1 {
			t.Errorf("left %v", got)
		}
		if got := s.Stats().PeriodicGC; got != 1 {
			t.Errorf("PeriodicGC %d", got)
		}
	})
	t.Run("FAILED goes with the next collection", func(t *testing.T) {
		s := newSim(t, small)
		for i := range threshold {
			s.add(i, Permanent)
		}
		s.add(100, Failed)
		s.run(14 * time.Second)
		if s.Lookup(host(100)) == nil {
			t.Error("gone too early")
		}
		s.run(2 * time.Second)
		if s.Lookup(host(100)) != nil {
			t.Error("still there")
		}
	})
	t.Run("others stay", func(t *testing.T) {
		s := newSim(t, small)
		s.add(0, Permanent)
		s.add(1, NoARP)
		s.add(2, NoARP)
		s.add(3, NoARP)
		s.run(time.Hour)
		if s.Len() != 4 {
			t.Errorf("left %v", s.has(4))
		}
	})
	t.Run("a use saves a stale entry", func(t *testing.T) {
		s := newSim(t, small)
		for i := range threshold + 1 {
			s.add(i, Stale)
		}
		s.run(59 * time.Second)
		s.Resolve(s.now, host(0), ourIP)
		s.run(3 * time.Second)
		if s.Lookup(host(0)) == nil {
			t.Error("the used one has gone")
		}
	})
	t.Run("many go in batches", func(t *testing.T) {
		const n = 5000
		s := newSim(t, nil)
		for i := range n {
			s.Set(s.now, host(i), peerMAC, Stale)
		}
		s.now += 75 * sec
		s.Advance(s.now)
		if got := n - s.Len(); got != collectBatch {
			t.Errorf("%d collected at once, want %d", got, collectBatch)
		}
		if s.Deadline() <= s.now {
			t.Error("the next batch follows at once")
		}
		s.run(time.Second)
		if got := s.Len(); got != DefaultConfig().GCThreshold-1 {
			t.Errorf("%d left", got)
		}
	})
}

// Many timers at once are run in batches, and the deadline says that there is more.
func TestAdvanceIsBounded(t *testing.T) {
	const n = 2000
	s := newSim(t, nil)
	for i := range n {
		s.Set(s.now, host(i), peerMAC, Reachable)
	}
	s.now += 30 * sec
	calls := 0
	for s.Deadline() <= s.now {
		s.Advance(s.now)
		calls++
	}
	if want := (n + advanceBatch - 1) / advanceBatch; calls != want {
		t.Errorf("%d calls, want %d", calls, want)
	}
	for i := range n {
		s.wantState(s.Lookup(host(i)), Stale)
	}
}

// Timers wait while many packets wait to be fetched; none is lost.
func TestAdvanceWaitsForNext(t *testing.T) {
	s := newSim(t, func(c *Config) { c.MaxEvents = 10 })
	for i := range 30 {
		s.Resolve(s.now, host(i), ourIP)
		s.drain()
	}
	s.now += sec
	total := 0
	for s.Deadline() <= s.now {
		s.Advance(s.now)
		n := len(s.drain())
		if n > 10 {
			t.Fatalf("%d at once", n)
		}
		total += n
	}
	if total != 30 || s.Stats().Causes[CauseBacklog] != 0 {
		t.Errorf("%d requests", total)
	}
}

func TestSet(t *testing.T) {
	for _, tc := range []struct {
		name string
		ip   ipv4.Addr
		mac  ether.MAC
		st   State
		want Cause
	}{
		{"PERMANENT", peerIP, peerMAC, Permanent, CauseNone},
		{"a group's MAC, by hand", peerIP, ether.Broadcast, NoARP, CauseNone},
		{"INCOMPLETE", peerIP, peerMAC, Incomplete, CauseBadState},
		{"FAILED", peerIP, peerMAC, Failed, CauseBadState},
		{"NONE", peerIP, peerMAC, None, CauseBadState},
		{"two states", peerIP, peerMAC, Stale | Permanent, CauseBadState},
		{"no MAC", peerIP, ether.MAC{}, Permanent, CauseBadMAC},
		{"multicast", ipv4.Addr{224, 0, 0, 1}, peerMAC, Permanent, CauseBadAddress},
		{"own address", ourIP, peerMAC, Permanent, CauseOwnAddress},
	} {
		s := newSim(t, nil)
		if got := s.Set(s.now, tc.ip, tc.mac, tc.st); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
		if (s.Len() == 1) != (tc.want == CauseNone) {
			t.Errorf("%s: %d entries", tc.name, s.Len())
		}
	}
	t.Run("lets go what waits", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.Solicit(s.now, peerIP, ourIP)
		s.Enqueue(e, frame("x"))
		s.drain()
		s.Set(s.now, peerIP, peerMAC, Permanent)
		wantLines(t, s.run(time.Hour), `0.000 flush 10.0.0.2 "x"`, "0.000 resolved 10.0.0.2")
		s.wantState(e, Permanent)
	})
	t.Run("every state by hand to every other", func(t *testing.T) {
		states := []State{Permanent, NoARP, Reachable, Stale}
		for _, a := range states {
			for _, b := range states {
				s := newSim(t, nil)
				s.Set(s.now, peerIP, peerMAC, a)
				s.Set(s.now, peerIP, newMAC, b)
				s.wantState(s.Lookup(peerIP), b)
				if mac, _ := s.Lookup(peerIP).MAC(); mac != newMAC {
					t.Errorf("%v to %v: MAC %v", a, b, mac)
				}
				checkInvariants(t, s.Table)
			}
		}
	})
}

func TestDelete(t *testing.T) {
	s := newSim(t, nil)
	if s.Delete(peerIP) {
		t.Error("deleted what is not there")
	}
	old := s.reach()
	if !s.Delete(peerIP) || s.Len() != 0 || s.Lookup(peerIP) != nil {
		t.Error("not deleted")
	}
	if e, _ := s.Resolve(s.now, peerIP, ourIP); e == old {
		t.Error("an entry that has gone came back")
	}
}

func TestEntries(t *testing.T) {
	s := newSim(t, nil)
	s.reach()
	reached := s.now
	s.run(time.Second)
	e, _ := s.Resolve(s.now, otherIP, ourIP)
	s.Enqueue(e, frame("x"))
	got := map[ipv4.Addr]Neighbour{}
	for _, n := range s.Entries() {
		got[n.Addr] = n
	}
	want := Neighbour{Addr: peerIP, MAC: peerMAC, State: Reachable, Used: reached, Confirmed: reached, Updated: reached, Probes: 1}
	if got[peerIP] != want {
		t.Errorf("got %+v, want %+v", got[peerIP], want)
	}
	want = Neighbour{Addr: otherIP, State: Incomplete, Used: s.now, Confirmed: s.now - 60*sec, Updated: s.now, Probes: 1, Pending: 1}
	if got[otherIP] != want || len(got) != 2 {
		t.Errorf("got %+v, want %+v", got[otherIP], want)
	}
}

// What has been stale for long enough goes at that moment, not a collection later.
func TestCollectOnTime(t *testing.T) {
	s := newSim(t, func(c *Config) { c.GCThreshold, c.GCStaleTime, c.GCInterval = 1, 60*time.Second, 30*time.Second })
	s.Set(s.now, host(0), peerMAC, Stale)
	s.run(60*time.Second - 1)
	if len(s.has(1)) != 1 {
		t.Fatal("it has gone too early")
	}
	s.run(1)
	if len(s.has(1)) != 0 {
		t.Error("it is still there")
	}
}
