package arp

import (
	"math"
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

// Three broadcasts, a second apart; a second after the last, FAILED.
func TestResolveFails(t *testing.T) {
	s := newSim(t, nil)
	e, c := s.Resolve(s.now, peerIP, ourIP)
	if c != CauseNone {
		t.Fatal(c)
	}
	s.wantState(e, Incomplete)
	if e.Addr() != peerIP {
		t.Errorf("address %v", e.Addr())
	}
	if _, ok := e.MAC(); ok {
		t.Error("MAC is ok")
	}
	s.Enqueue(e, frame("a"))
	s.Enqueue(e, frame("b"))
	wantLines(t, s.run(10*time.Second),
		"0.000 request 10.0.0.2 from 10.0.0.1 to all",
		"1.000 request 10.0.0.2 from 10.0.0.1 to all",
		"2.000 request 10.0.0.2 from 10.0.0.1 to all",
		`3.000 unreachable 10.0.0.2 "a"`,
		`3.000 unreachable 10.0.0.2 "b"`)
	s.wantState(e, Failed)
	if s.Deadline() != math.MaxInt64 {
		t.Error("a timer runs for a failed entry")
	}

	// The next use starts anew, as on Linux.
	v := e.Version()
	again, _ := s.Resolve(s.now, peerIP, ourIP)
	if again != e {
		t.Fatal("another entry")
	}
	s.wantState(e, Incomplete)
	wantLines(t, s.run(500*time.Millisecond), "0.000 request 10.0.0.2 from 10.0.0.1 to all")
	s.reply(peerMAC)
	s.wantState(e, Reachable)
	if e.Version() == v {
		t.Error("the version stayed when the MAC became known")
	}
}

// However often a dead neighbour is used, it is asked for once a second (RFC 1122
// section 2.3.2.1).
func TestResolveRate(t *testing.T) {
	s := newSim(t, nil)
	requests := 0
	for range 1000 {
		s.Resolve(s.now, peerIP, ourIP)
		requests += len(s.run(10 * time.Millisecond))
	}
	if requests != 11 { // at 0, 1, ... 10 s
		t.Errorf("%d requests in 10 s", requests)
	}
}

func TestResolveSucceeds(t *testing.T) {
	s := newSim(t, nil)
	e, _ := s.Resolve(s.now, peerIP, ourIP)
	s.Enqueue(e, frame("a"))
	s.Enqueue(e, frame("b"))
	s.run(1500 * time.Millisecond)
	if c := s.reply(peerMAC); c != CauseNone {
		t.Fatal(c)
	}
	s.wantState(e, Reachable)
	if mac, ok := e.MAC(); !ok || mac != peerMAC {
		t.Errorf("MAC %v, %v", mac, ok)
	}
	evs := s.drain()
	if len(evs) != 2 || evs[0].Kind != Flush || evs[0].MAC != peerMAC || string(evs[0].Pending.Frame[14:]) != "a" ||
		string(evs[1].Pending.Frame[14:]) != "b" || evs[0].Addr != peerIP || evs[0].Pending.Dst != peerIP {
		t.Errorf("events %v", evs)
	}
	// Nothing more is asked until the reachable time is over.
	wantLines(t, s.run(29*time.Second))
	s.wantState(e, Reachable)
}

// An idle neighbour becomes STALE when its reachable time is over, and no packet
// is ever sent for it again.
func TestIdleBecomesStale(t *testing.T) {
	s := newSim(t, nil)
	e := s.reach()
	wantLines(t, s.run(30*time.Second-1))
	s.wantState(e, Reachable)
	wantLines(t, s.run(1))
	s.wantState(e, Stale)
	if _, ok := e.MAC(); !ok {
		t.Error("a stale MAC is not ok")
	}
	wantLines(t, s.run(time.Hour))
	s.wantState(e, Stale)
}

// A neighbour that has answered is told of if that is wanted, and only then.
func TestNeighbourUpIsReported(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		s := newSim(t, nil)
		s.SetReport(wanted)
		s.Resolve(s.now, peerIP, ourIP)
		s.drain()
		s.reply(peerMAC)
		told := 0
		for _, ev := range s.drain() {
			if ev.Kind == NeighbourUp && ev.Addr == peerIP && ev.MAC == peerMAC {
				told++
			}
		}
		if want := map[bool]int{true: 1}[wanted]; told != want {
			t.Errorf("wanted %v: told %d times", wanted, told)
		}
	}
}

// STALE and used: 5 s of DELAY, then three unicasts, then FAILED.
func TestStaleUsedProbedFails(t *testing.T) {
	s := newSim(t, nil)
	e := s.stale()
	v := e.Version()
	s.Resolve(s.now, peerIP, ourIP)
	s.wantState(e, Delay)
	wantLines(t, s.run(5*time.Second-1))
	s.wantState(e, Delay)
	if e.Version() != v {
		t.Error("DELAY changed the version")
	}
	wantLines(t, s.run(1), "0.000 request 10.0.0.2 from 10.0.0.1 to 2")
	s.wantState(e, Probe)
	if mac, ok := e.MAC(); !ok || mac != peerMAC || e.Version() != v {
		t.Error("PROBE does not let the MAC be used")
	}
	wantLines(t, s.run(10*time.Second),
		"1.000 request 10.0.0.2 from 10.0.0.1 to 2",
		"2.000 request 10.0.0.2 from 10.0.0.1 to 2")
	s.wantState(e, Failed)
	if e.Version() == v {
		t.Error("FAILED kept the version")
	}
	if got := s.Stats().ResFailed; got != 1 {
		t.Errorf("ResFailed %d", got)
	}
}

func TestProbeFailsAfterThreeSeconds(t *testing.T) {
	s := newSim(t, nil)
	e := s.stale()
	s.Resolve(s.now, peerIP, ourIP)
	s.run(8*time.Second - 1)
	s.wantState(e, Probe)
	s.run(1)
	s.wantState(e, Failed)
}

func TestProbeSucceeds(t *testing.T) {
	s := newSim(t, nil)
	e := s.stale()
	s.Resolve(s.now, peerIP, ourIP)
	v := e.Version()
	s.run(6500 * time.Millisecond)
	s.wantState(e, Probe)
	s.reply(peerMAC)
	s.wantState(e, Reachable)
	if e.Version() != v {
		t.Error("a successful probe of the same MAC changed the version")
	}
	wantLines(t, s.run(30*time.Second-1))
	s.wantState(e, Reachable)
	s.run(1)
	s.wantState(e, Stale)
	if e.Version() == v {
		t.Error("STALE by time kept the version")
	}
}

// With mcast_resolicit, broadcasts follow the unicasts.
func TestMcastResolicit(t *testing.T) {
	s := newSim(t, func(c *Config) { c.UcastSolicit, c.McastResolicit = 1, 2 })
	e := s.stale()
	s.Resolve(s.now, peerIP, ourIP)
	wantLines(t, s.run(9*time.Second),
		"5.000 request 10.0.0.2 from 10.0.0.1 to 2",
		"6.000 request 10.0.0.2 from 10.0.0.1 to all",
		"7.000 request 10.0.0.2 from 10.0.0.1 to all")
	s.wantState(e, Failed)
}

func TestNoSolicitations(t *testing.T) {
	s := newSim(t, func(c *Config) { c.UcastSolicit, c.McastSolicit = -1, -1 })
	e, c := s.Resolve(s.now, otherIP, ourIP)
	if c != CauseNone || e.State() != Failed {
		t.Errorf("%v %v", c, e.State())
	}
	s.Enqueue(e, frame("x"))
	s.Solicit(s.now, otherIP, ourIP)
	wantLines(t, s.run(0), `0.000 unreachable 10.0.0.3 "x"`, "0.000 failed 10.0.0.3")
	s.Set(s.now, peerIP, peerMAC, Stale)
	s.Resolve(s.now, peerIP, ourIP)
	wantLines(t, s.run(5*time.Second))
	s.wantState(s.Lookup(peerIP), Failed)
}

// A reply prolongs REACHABLE without its timer being moved.
func TestReplyProlongsReachable(t *testing.T) {
	s := newSim(t, nil)
	e := s.reach()
	v := e.Version()
	s.run(20 * time.Second)
	s.reply(peerMAC)
	s.run(30*time.Second - 1)
	s.wantState(e, Reachable)
	if e.Version() != v {
		t.Error("the version changed")
	}
	s.run(1)
	s.wantState(e, Stale)
}

func TestConfirm(t *testing.T) {
	t.Run("prolongs REACHABLE", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.reach()
		s.run(29 * time.Second)
		s.Confirm(s.now, peerIP)
		s.run(30*time.Second - 1)
		s.wantState(e, Reachable)
		s.run(1)
		s.wantState(e, Stale)
	})
	t.Run("ends DELAY without a probe", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.stale()
		s.Resolve(s.now, peerIP, ourIP)
		v := e.Version()
		s.run(2 * time.Second)
		s.Confirm(s.now, peerIP)
		s.wantState(e, Delay)
		wantLines(t, s.run(3*time.Second))
		s.wantState(e, Reachable)
		if e.Version() != v {
			t.Error("the version changed")
		}
		s.run(27*time.Second - 1)
		s.wantState(e, Reachable)
		// Confirmed 30 s ago; used 32 s ago, so nobody is known to care.
		s.run(1)
		s.wantState(e, Stale)
	})
	t.Run("ends DELAY at its begin", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.stale()
		s.Resolve(s.now, peerIP, ourIP)
		s.Confirm(s.now, peerIP)
		wantLines(t, s.run(5*time.Second))
		s.wantState(e, Reachable)
	})
	t.Run("does not end PROBE", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.stale()
		s.Resolve(s.now, peerIP, ourIP)
		s.run(6 * time.Second)
		s.Confirm(s.now, peerIP)
		s.run(2 * time.Second)
		s.wantState(e, Failed)
	})
	t.Run("means nothing without a MAC", func(t *testing.T) {
		s := newSim(t, nil)
		s.Confirm(s.now, peerIP)
		if s.Len() != 0 {
			t.Error("Confirm made an entry")
		}
		e, _ := s.Resolve(s.now, peerIP, ourIP)
		s.Confirm(s.now, peerIP)
		s.wantState(e, Incomplete)
	})
}

// Who resolves shortly before the reachable time is over is known to care: DELAY
// follows REACHABLE, and nobody needs to ask again.
func TestUsedAtTheEndGoesToDelay(t *testing.T) {
	for _, tc := range []struct {
		name string
		used time.Duration // after the confirmation
		want State
	}{
		{"5 s before", 25 * time.Second, Delay},
		{"longer before", 25*time.Second - 1, Stale},
	} {
		s := newSim(t, nil)
		e := s.reach()
		s.run(tc.used)
		s.Resolve(s.now, peerIP, ourIP)
		v := e.Version()
		s.run(30*time.Second - tc.used)
		s.wantState(e, tc.want)
		if changed := e.Version() != v; changed != (tc.want == Stale) {
			t.Errorf("%s: version changed: %v", tc.name, changed)
		}
		if tc.want == Delay {
			wantLines(t, s.run(5*time.Second), "5.000 request 10.0.0.2 from 10.0.0.1 to 2")
		}
	}
}

// The reachable time lies in 0.5 to 1.5 times the base, and is drawn again after
// 300 s.
func TestReachableTimeIsRandom(t *testing.T) {
	seen := map[int64]bool{}
	for seed := uint64(1); seed <= 200; seed++ {
		tab := New(DefaultConfig(), ourMAC, xorshift(seed*0x9e3779b97f4a7c15))
		tab.Set(0, peerIP, peerMAC, Reachable)
		d := tab.Deadline()
		if d < 15*sec || d > 45*sec {
			t.Fatalf("reachable for %d ns", d)
		}
		seen[d] = true
	}
	if len(seen) < 190 {
		t.Errorf("%d different times of 200", len(seen))
	}

	draws := 0
	tab := New(DefaultConfig(), ourMAC, func() uint64 { draws++; return uint64(draws) * 1e9 })
	draws = 0 // one was for the hash
	for now := int64(0); now <= 900*sec; now += sec {
		tab.reachable(now)
	}
	if draws != 4 {
		t.Errorf("%d draws in 900 s, want at 0, 300, 600, 900", draws)
	}
}

// A timer that is run late starts the next from when it was run.
func TestLateAdvance(t *testing.T) {
	s := newSim(t, nil)
	e, _ := s.Resolve(s.now, peerIP, ourIP)
	s.now += 10 * sec
	s.Advance(s.now)
	s.wantState(e, Incomplete)
	if got := s.Deadline() - s.now; got != sec {
		t.Errorf("next in %d ns", got)
	}
	if n := len(s.drain()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	s := newSim(t, nil)
	e := s.reach()
	s.Resolve(5, peerIP, ourIP)
	if e.used != s.now {
		t.Errorf("used at %d, now is %d", e.used, s.now)
	}
	s.Advance(math.MaxInt64)
	s.Resolve(math.MaxInt64, peerIP, ourIP)
	s.Resolve(math.MaxInt64, otherIP, ourIP)
	if s.Deadline() < 0 {
		t.Error("times overflow")
	}
	checkInvariants(t, s.Table)
}

func TestSource(t *testing.T) {
	second := ipv4.Addr{10, 0, 0, 9}
	for _, tc := range []struct {
		name string
		src  ipv4.Addr
		want string
	}{
		{"own address", ourIP, "0.000 request 10.0.0.2 from 10.0.0.1 to all"},
		{"another own address", second, "0.000 request 10.0.0.2 from 10.0.0.9 to all"},
		{"none", ipv4.Addr{}, "0.000 request 10.0.0.2 from 10.0.0.1 to all"},
		{"not ours", ipv4.Addr{192, 0, 2, 1}, "0.000 request 10.0.0.2 from 10.0.0.1 to all"},
	} {
		s := newSim(t, nil)
		s.AddAddress(s.now, second)
		s.run(5 * time.Second)
		s.Resolve(s.now, peerIP, tc.src)
		wantLines(t, s.run(0), tc.want)
	}
	s := newSim(t, nil)
	s.RemoveAddress(ourIP)
	s.Resolve(s.now, peerIP, ourIP)
	wantLines(t, s.run(0), "0.000 probe 10.0.0.2 to all")
}

func TestResolveRefuses(t *testing.T) {
	for _, tc := range []struct {
		dst  ipv4.Addr
		want Cause
	}{
		{ipv4.Addr{}, CauseBadAddress},
		{ipv4.Addr{127, 0, 0, 1}, CauseBadAddress},
		{ipv4.Addr{224, 0, 0, 251}, CauseBadAddress},
		{ipv4.Addr{255, 255, 255, 255}, CauseBadAddress},
		{ourIP, CauseOwnAddress},
	} {
		s := newSim(t, nil)
		if e, c := s.Resolve(s.now, tc.dst, ourIP); e != nil || c != tc.want {
			t.Errorf("%v: %v, want %v", tc.dst, c, tc.want)
		}
		if s.Solicit(s.now, tc.dst, ourIP) != nil {
			t.Errorf("%v: solicited", tc.dst)
		}
		if got := s.Stats().Causes[tc.want]; got != 2 || s.Len() != 0 {
			t.Errorf("%v: counted %d, %d entries", tc.dst, got, s.Len())
		}
	}
}

func TestSolicit(t *testing.T) {
	t.Run("absent, answers", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.Solicit(s.now, peerIP, ourIP)
		wantLines(t, s.run(0), "0.000 request 10.0.0.2 from 10.0.0.1 to all")
		s.reply(peerMAC)
		evs := s.drain()
		if len(evs) != 1 || evs[0].Kind != Resolved || evs[0].MAC != peerMAC || evs[0].Addr != peerIP {
			t.Errorf("events %v", evs)
		}
		s.wantState(e, Reachable)
	})
	t.Run("absent, fails", func(t *testing.T) {
		s := newSim(t, nil)
		s.Solicit(s.now, peerIP, ourIP)
		lines := s.run(3 * time.Second)
		wantLines(t, lines[3:], "3.000 failed 10.0.0.2")
	})
	t.Run("REACHABLE is answered at once", func(t *testing.T) {
		s := newSim(t, nil)
		s.reach()
		s.Solicit(s.now, peerIP, ourIP)
		wantLines(t, s.run(0), "0.000 resolved 10.0.0.2")
	})
	t.Run("PERMANENT is answered at once", func(t *testing.T) {
		s := newSim(t, nil)
		s.Set(s.now, peerIP, peerMAC, Permanent)
		s.Solicit(s.now, peerIP, ourIP)
		wantLines(t, s.run(0), "0.000 resolved 10.0.0.2")
	})
	t.Run("STALE is probed at once", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.stale()
		s.Solicit(s.now, peerIP, ourIP)
		wantLines(t, s.run(1*time.Second), "0.000 request 10.0.0.2 from 10.0.0.1 to 2", "1.000 request 10.0.0.2 from 10.0.0.1 to 2")
		s.wantState(e, Probe)
		s.reply(peerMAC)
		wantLines(t, s.run(0), "0.000 resolved 10.0.0.2")
	})
	t.Run("DELAY is probed at once", func(t *testing.T) {
		s := newSim(t, nil)
		s.stale()
		s.Resolve(s.now, peerIP, ourIP)
		s.run(time.Second)
		s.Solicit(s.now, peerIP, ourIP)
		s.Solicit(s.now, peerIP, ourIP)
		wantLines(t, s.run(3*time.Second),
			"0.000 request 10.0.0.2 from 10.0.0.1 to 2",
			"1.000 request 10.0.0.2 from 10.0.0.1 to 2",
			"2.000 request 10.0.0.2 from 10.0.0.1 to 2",
			"3.000 failed 10.0.0.2")
	})
	t.Run("MAC told by a request resolves", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.Solicit(s.now, peerIP, ourIP)
		s.drain()
		s.Input(s.now, packet(OpRequest, peerMAC, peerIP, ether.MAC{}, otherIP), peerMAC)
		wantLines(t, s.run(0), "0.000 resolved 10.0.0.2")
		s.wantState(e, Stale)
	})
	t.Run("deleted meanwhile", func(t *testing.T) {
		s := newSim(t, nil)
		s.Solicit(s.now, peerIP, ourIP)
		s.drain()
		s.Delete(peerIP)
		wantLines(t, s.run(0), "0.000 failed 10.0.0.2")
	})
}

// The neighbour changes its MAC while its old one is being probed: nobody answers,
// the entry fails, and the next datagram asks everybody.
func TestNeighbourChangesMAC(t *testing.T) {
	s := newSim(t, nil)
	e := s.stale()
	s.Resolve(s.now, peerIP, ourIP)
	s.run(8 * time.Second)
	s.wantState(e, Failed)
	s.Resolve(s.now, peerIP, ourIP)
	wantLines(t, s.run(0), "0.000 request 10.0.0.2 from 10.0.0.1 to all")
	s.reply(newMAC)
	if mac, ok := e.MAC(); !ok || mac != newMAC {
		t.Errorf("MAC %v %v", mac, ok)
	}
}
