package igmp

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
)

// Memberships are reported afresh when the link comes back or the address changes.
func TestRejoin(t *testing.T) {
	for _, tc := range []struct {
		name    string
		version int
		do      func(s *sim)
		want    []string
	}{
		{"link, v3", 3, func(s *sim) { s.LinkDown(s.now); s.run(time.Second); s.LinkUp(s.now) }, []string{
			"0.002 TO_EX 239.1.1.1 {}, ALLOW 239.1.1.2 {1 2 3}, TO_EX 239.1.1.3 {1}",
			"0.502 TO_EX 239.1.1.1 {}, ALLOW 239.1.1.2 {1 2 3}, TO_EX 239.1.1.3 {1}"}},
		{"address, v3", 3, func(s *sim) { s.SetAddress(s.now, peerIP) }, []string{
			"0.002 TO_EX 239.1.1.1 {}, ALLOW 239.1.1.2 {1 2 3}, TO_EX 239.1.1.3 {1}",
			"0.502 TO_EX 239.1.1.1 {}, ALLOW 239.1.1.2 {1 2 3}, TO_EX 239.1.1.3 {1}"}},
		{"the same address", 3, func(s *sim) { s.SetAddress(s.now, ourIP) }, nil},
		{"address, link down", 3, func(s *sim) { s.LinkDown(s.now); s.SetAddress(s.now, peerIP) }, nil},
		{"link, v2", 2, func(s *sim) { s.LinkDown(s.now); s.LinkUp(s.now) }, []string{
			"0.002 v2 239.1.1.1", "0.002 v2 239.1.1.2", "0.002 v2 239.1.1.3",
			"0.502 v2 239.1.1.1", "0.502 v2 239.1.1.2", "0.502 v2 239.1.1.3"}},
		{"link down", 3, func(s *sim) { s.LinkDown(s.now) }, nil},
		{"changes while down", 3, func(s *sim) {
			s.LinkDown(s.now)
			s.set(g1, ex(), in(4))
			s.set(g2, in(1, 2, 3), NotMember)
			s.set(g3, ex(1), ex(2))
			expect(s.tb, s.run(time.Second))
			s.LinkUp(s.now)
		}, []string{
			"0.002 ALLOW 239.1.1.1 {4}, TO_EX 239.1.1.3 {2}", "0.502 ALLOW 239.1.1.1 {4}, TO_EX 239.1.1.3 {2}"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := settled(t, func(c *Config) { c.Version = tc.version })
			tc.do(s)
			got := s.run(60 * time.Second)
			slices.Sort(got) // those of one moment come in any order in version 2
			expect(t, got, tc.want...)
		})
	}
}

// Link down: what waits is dropped.
func TestLinkDownDrops(t *testing.T) {
	s := settled(t, nil)
	s.set(g1, ex(), NotMember)
	s.now += 10 * ms
	s.Advance(s.now)
	s.hear(queryV3(100, g2, 1))
	s.LinkDown(s.now)
	if _, ok := s.Next(nil); ok || s.Deadline() != never || s.Stats().Leaving != 0 || s.Status().LinkUp {
		t.Error("something is left")
	}
}

// LeaveAll says goodbye for all groups, once and at once.
func TestLeaveAll(t *testing.T) {
	s := settled(t, nil)
	s.set(ipv4.Addr{239, 2, 0, 1}, NotMember, ex())
	s.run(100 * time.Millisecond)
	s.set(ipv4.Addr{239, 2, 0, 1}, ex(), NotMember) // still to be said
	s.LeaveAll(s.now)
	expect(t, s.run(60*time.Second),
		"0.000 TO_IN 239.1.1.1 {}, BLOCK 239.1.1.2 {1 2 3}, TO_IN 239.1.1.3 {}, TO_IN 239.2.0.1 {}")
	s.LeaveAll(s.now)
	s.set(g1, ex(), NotMember)
	s.set(g3, ex(1), NotMember)
	expect(t, s.run(60*time.Second))
	if s.Len() != 1 || !s.Lookup(g2).Accepts(src(1)) {
		t.Error("memberships are forgotten")
	}
	s.LinkUp(s.now)
	expect(t, s.run(100*time.Millisecond), "0.002 ALLOW 239.1.1.2 {1 2 3}")

	s = settled(t, func(c *Config) { c.Version = 2 })
	s.Input(s.now, from(peerIP, g2, short(ReportV2, 0, g2)))
	s.LeaveAll(s.now)
	expect(t, s.run(60*time.Second), "0.000 leave 239.1.1.1", "0.000 leave 239.1.1.3")
	s = settled(t, func(c *Config) { c.Version = 1 })
	s.LeaveAll(s.now)
	expect(t, s.run(60*time.Second))
}

// The bounds on what is kept, and what is said instead.
func TestBounds(t *testing.T) {
	t.Run("groups left", func(t *testing.T) {
		s := newSim(t, func(c *Config) { c.MaxLeaving = 2 })
		for i := range 4 {
			s.set(ipv4.Addr{239, 3, 0, byte(i)}, NotMember, ex())
		}
		s.run(time.Minute)
		for i := range 4 {
			s.set(ipv4.Addr{239, 3, 0, byte(i)}, ex(), NotMember)
		}
		expect(t, s.run(time.Minute), "0.000 TO_IN 239.3.0.2 {}", "0.000 TO_IN 239.3.0.3 {}",
			"0.002 TO_IN 239.3.0.0 {}, TO_IN 239.3.0.1 {}", "0.502 TO_IN 239.3.0.0 {}, TO_IN 239.3.0.1 {}")
		if s.Stats().Causes[CauseManyLeaves] != 2 {
			t.Error("not counted")
		}
	})
	t.Run("dead sources", func(t *testing.T) {
		s := newSim(t, func(c *Config) { c.MaxDeadSources = 2 })
		s.set(g1, NotMember, in(1, 2, 3, 4))
		s.run(time.Minute)
		s.set(g1, in(1, 2, 3, 4), in(4))
		if s.Stats().DeadSources != 0 {
			t.Error("sources are kept")
		}
		expect(t, s.run(time.Minute), "0.002 TO_IN 239.1.1.1 {4}", "0.502 TO_IN 239.1.1.1 {4}")
	})
	t.Run("dead sources at the limit", func(t *testing.T) {
		s := newSim(t, func(c *Config) { c.MaxDeadSources = 2 })
		s.set(g1, NotMember, in(1, 2, 3))
		s.run(time.Minute)
		s.set(g1, in(1, 2, 3), in(3))
		expect(t, s.run(time.Minute), "0.002 BLOCK 239.1.1.1 {1 2}", "0.502 BLOCK 239.1.1.1 {1 2}")
	})
	t.Run("messages at the limit", func(t *testing.T) {
		const each = 8 + messageNote
		s := newSim(t, func(c *Config) { c.Version, c.MaxQueue = 2, 8+2*each })
		for i := range 4 {
			s.set(ipv4.Addr{239, 3, 0, byte(i)}, NotMember, ex())
		}
		s.now += sec
		s.Advance(s.now)
		if st := s.Stats(); st.QueuedMessages != 3 || st.Causes[CauseBacklog] != 1 {
			t.Errorf("%d wait, %d found no room", st.QueuedMessages, st.Causes[CauseBacklog])
		}
	})
	t.Run("scratch", func(t *testing.T) {
		s := newSim(t, nil)
		s.set(g1, NotMember, in(1, 2))
		if cap(s.touched) == 0 {
			t.Error("little memory is given back")
		}
		f := Filter{Mode: Include}
		for i := range keepScratch + 1 {
			f.Sources = append(f.Sources, ipv4.AddrFrom(10<<24|uint32(i)))
		}
		s.set(g2, NotMember, f)
		if n := cap(s.touched); n != 0 {
			t.Errorf("room for %d is kept", n)
		}
	})
	t.Run("messages", func(t *testing.T) {
		s := newSim(t, func(c *Config) { c.MaxQueue, c.MTU = 500, 68 })
		for i := range 400 {
			s.set(ipv4.Addr{239, 3, byte(i >> 8), byte(i)}, NotMember, ex())
		}
		s.now += sec
		s.Advance(s.now)
		st := s.Stats()
		if st.QueueBytes > 700 || st.Causes[CauseBacklog] == 0 {
			t.Errorf("%+v", st)
		}
		if got := len(s.lines(s.now)); got != st.QueuedMessages {
			t.Errorf("%d messages come out of %d", got, st.QueuedMessages)
		}
		s.run(time.Minute)
	})
}

// An outbox that is empty keeps little memory, and what it keeps is used again.
func TestOutboxGivesBack(t *testing.T) {
	for _, tt := range []struct {
		name    string
		n, kept int // messages, and how much memory may be left of them
	}{{"many", 10000, 0}, {"few", 100, keepOutbox}} {
		s := newSim(t, func(c *Config) { c.Version, c.Robustness = 2, 1 })
		for i := range tt.n {
			s.set(ipv4.Addr{239, 4, byte(i >> 8), byte(i)}, NotMember, ex())
			s.now += 2 * ms
			s.Advance(s.now)
		}
		if got := s.Stats().QueuedMessages; got != tt.n {
			t.Fatalf("%s: %d messages wait, want %d", tt.name, got, tt.n)
		}
		before := cap(s.out.buf)
		for range tt.n {
			if before != cap(s.out.buf) {
				t.Fatalf("%s: the memory changes before the last is fetched", tt.name)
			}
			s.Next(nil)
		}
		if c := cap(s.out.buf); c != min(before, tt.kept) || len(s.out.buf) != 0 || len(s.out.msgs) != 0 || s.out.head != 0 {
			t.Errorf("%s: %d bytes of %d are left, %d messages from %d on", tt.name, c, before, len(s.out.msgs), s.out.head)
		}
	}
}

// Messages come out in order, however they are fetched, and their memory is used again.
func TestNext(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Version, c.Robustness = 2, 1 })
	sent, got := 0, 0
	group := func(i int) ipv4.Addr { return ipv4.Addr{239, 4, byte(i >> 8), byte(i)} }
	fetch := func(buf []byte) {
		m, ok := s.Next(buf)
		if !ok || m.Dst != group(got) || Message(m.Message).Group() != group(got) {
			t.Fatalf("message %d: %v", got, m)
		}
		got++
	}
	for range 2000 {
		for range 3 {
			s.set(group(sent), NotMember, ex())
			sent++
			s.now += 2 * ms
			s.Advance(s.now)
		}
		fetch(nil)
		fetch(make([]byte, 0, 8))
	}
	if c := cap(s.out.buf); c > 4*8*(sent-got) {
		t.Errorf("%d bytes for %d messages", c, sent-got)
	}
	for got < sent {
		fetch(make([]byte, 100))
	}
	if _, ok := s.Next(nil); ok {
		t.Error("one too many")
	}
}

// Snapshots show what is so.
func TestGroups(t *testing.T) {
	s := settled(t, nil)
	s.set(g2, NotMember, ex(2, 3, 4))
	s.set(AllSystems, NotMember, ex())
	s.hear(queryV3(100, g3))
	got := ""
	for _, i := range s.Groups() {
		timer := i.Timer
		if timer != never {
			timer = (timer - s.now) / ms
		}
		got += fmt.Sprintf("%v %v %d/%d changes %d timer %t silent %t %v\n",
			i.Group, i.Mode, i.Exclude, i.Users, i.Changes, timer == 500, i.Silent, i.Sources)
	}
	want := `224.0.0.1 EXCLUDE 1/1 changes 0 timer false silent true []
239.1.1.1 EXCLUDE 1/1 changes 0 timer false silent false []
239.1.1.2 EXCLUDE 1/2 changes 2 timer false silent false [{10.9.0.1 1 0 false} {10.9.0.2 1 1 false} {10.9.0.3 1 1 false} {10.9.0.4 0 1 true}]
239.1.1.3 EXCLUDE 1/1 changes 0 timer true silent false [{10.9.0.1 0 1 true}]
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if g := s.Lookup(g1); g.Address() != g1 || g.Mode() != Exclude {
		t.Error("Group")
	}
	for c := range NumCauses + 1 {
		if c.String() == "" {
			t.Errorf("cause %d has no name", c)
		}
	}
}

// A group takes what its sockets want, and what comes from no address (Linux'
// ip_check_mc_rcu). To leave what nobody is in does nothing.
func TestAccepts(t *testing.T) {
	none := ipv4.Addr{}
	for _, tt := range []struct {
		name                   string
		f                      Filter
		listed, other, no, all bool
	}{
		{"all", ex(), true, true, true, true},
		{"all but one", ex(1), false, true, true, false},
		{"one", in(1), true, false, true, false},
	} {
		s := newSim(t, nil)
		s.set(g1, NotMember, tt.f)
		g := s.Lookup(g1)
		if g.Accepts(src(1)) != tt.listed || g.Accepts(src(2)) != tt.other || g.Accepts(none) != tt.no || g.AcceptsAll() != tt.all {
			t.Errorf("%s: it takes the source %t, another %t, none %t, all %t", tt.name,
				g.Accepts(src(1)), g.Accepts(src(2)), g.Accepts(none), g.AcceptsAll())
		}
	}
	s := newSim(t, nil)
	s.set(g1, ex(), NotMember)
	if st := s.Stats(); st.Joins != 0 || st.Leaves != 0 || s.Lookup(g1) != nil {
		t.Errorf("a group that nobody was in was left: %+v", st)
	}
}

// What is not configured has the default.
func TestConfigComplete(t *testing.T) {
	want := DefaultConfig()
	want.LinkLocalReports = false
	if got := (Config{}).complete(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := (Config{MaxQueue: -1, Version: 4}).complete(); got.MaxQueue != want.MaxQueue || got.Version != 0 {
		t.Errorf("out of range: %+v", got)
	}
}
