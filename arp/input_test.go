package arp

import (
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

// What an ARP packet does to its sender's entry, packet by packet and state by
// state. The wanted values are what Linux 6.x does with its default settings
// (arp_process, __neigh_update), except where a row says otherwise.
//
// Linux' rules, for comparison:
//
//	request for our address:   neigh_event_ns: STALE, override; creates (we do not)
//	other request, bc. reply:  STALE, override if updated > locktime ago or gratuitous
//	unicast reply:             REACHABLE, override as above
//	__neigh_update:            NOARP, PERMANENT: nothing
//	                           invalid: take MAC and state
//	                           same MAC, STALE: nothing; same MAC, REACHABLE: confirmed
//	                           other MAC, no override: nothing (Linux: still confirms)
//	                           other MAC, override: take MAC and state
func TestTruthTable(t *testing.T) {
	type kind struct {
		name   string
		packet func(mac ether.MAC) []byte
		direct bool
	}
	kinds := map[string]kind{
		"reply":        {"unicast reply", func(m ether.MAC) []byte { return packet(OpReply, m, peerIP, ourMAC, ourIP) }, true},
		"bcast reply":  {"broadcast reply", func(m ether.MAC) []byte { return packet(OpReply, m, peerIP, ourMAC, ourIP) }, false},
		"for us":       {"request for us", func(m ether.MAC) []byte { return packet(OpRequest, m, peerIP, ether.MAC{}, ourIP) }, false},
		"for other":    {"request for another", func(m ether.MAC) []byte { return packet(OpRequest, m, peerIP, ether.MAC{}, otherIP) }, false},
		"garp request": {"announcement", func(m ether.MAC) []byte { return packet(OpRequest, m, peerIP, ether.MAC{}, peerIP) }, false},
		"garp reply":   {"gratuitous reply", func(m ether.MAC) []byte { return packet(OpReply, m, peerIP, m, peerIP) }, false},
	}
	absent := func(s *sim) { s.Delete(peerIP) }
	incomplete := func(s *sim) { s.Resolve(s.now, peerIP, ourIP) }
	reachable := func(s *sim) { s.reach(); s.run(2 * time.Second) }
	fresh := func(s *sim) { s.reach() }
	stale := func(s *sim) { s.stale() }
	delay := func(s *sim) { s.used() }
	delayOld := func(s *sim) { s.used(); s.run(2 * time.Second) }
	probe := func(s *sim) { s.used(); s.run(6500 * time.Millisecond) }
	failed := func(s *sim) { s.used(); s.run(8 * time.Second) }
	permanent := func(s *sim) { s.permanent(); s.run(2 * time.Second) }
	noarp := func(s *sim) { s.Set(s.now, peerIP, peerMAC, NoARP); s.run(2 * time.Second) }

	for _, tc := range []struct {
		name  string
		from  func(*sim)
		kind  string
		mac   ether.MAC
		want  State // None: no entry
		learn ether.MAC
		cause Cause
	}{
		// No entry: nothing makes one. (Linux makes one for a request for us.)
		{"absent", absent, "reply", peerMAC, None, ether.MAC{}, CauseUnsolicited},
		{"absent", absent, "bcast reply", peerMAC, None, ether.MAC{}, CauseUnsolicited},
		{"absent", absent, "for us", peerMAC, None, ether.MAC{}, CauseNone},
		{"absent", absent, "for other", peerMAC, None, ether.MAC{}, CauseNotForUs},
		{"absent", absent, "garp request", peerMAC, None, ether.MAC{}, CauseNotForUs},
		{"absent", absent, "garp reply", peerMAC, None, ether.MAC{}, CauseUnsolicited},
		// INCOMPLETE and FAILED: any packet tells the MAC.
		{"INCOMPLETE", incomplete, "reply", peerMAC, Reachable, peerMAC, CauseNone},
		{"INCOMPLETE", incomplete, "bcast reply", peerMAC, Stale, peerMAC, CauseNone},
		{"INCOMPLETE", incomplete, "for us", peerMAC, Stale, peerMAC, CauseNone},
		{"INCOMPLETE", incomplete, "for other", peerMAC, Stale, peerMAC, CauseNone},
		{"INCOMPLETE", incomplete, "garp request", peerMAC, Stale, peerMAC, CauseNone},
		{"INCOMPLETE", incomplete, "garp reply", peerMAC, Stale, peerMAC, CauseNone},
		{"FAILED", failed, "reply", newMAC, Reachable, newMAC, CauseNone},
		{"FAILED", failed, "for other", newMAC, Stale, newMAC, CauseNone},
		// The same MAC: replies confirm, the rest changes nothing.
		{"REACHABLE", reachable, "reply", peerMAC, Reachable, peerMAC, CauseNone},
		{"REACHABLE", reachable, "bcast reply", peerMAC, Reachable, peerMAC, CauseNone},
		{"REACHABLE", reachable, "for us", peerMAC, Reachable, peerMAC, CauseNone},
		{"REACHABLE", reachable, "garp request", peerMAC, Reachable, peerMAC, CauseNone},
		{"STALE", stale, "reply", peerMAC, Reachable, peerMAC, CauseNone},
		{"STALE", stale, "bcast reply", peerMAC, Stale, peerMAC, CauseNone},
		{"STALE", stale, "for us", peerMAC, Stale, peerMAC, CauseNone},
		{"DELAY", delay, "reply", peerMAC, Reachable, peerMAC, CauseNone},
		{"DELAY", delay, "for us", peerMAC, Delay, peerMAC, CauseNone},
		{"DELAY", delay, "for other", peerMAC, Delay, peerMAC, CauseNone},
		{"PROBE", probe, "reply", peerMAC, Reachable, peerMAC, CauseNone},
		{"PROBE", probe, "for us", peerMAC, Probe, peerMAC, CauseNone},
		{"PROBE", probe, "garp reply", peerMAC, Probe, peerMAC, CauseNone},
		// Another MAC, more than a second after the last change.
		{"REACHABLE", reachable, "reply", newMAC, Reachable, newMAC, CauseNone},
		{"REACHABLE", reachable, "bcast reply", newMAC, Stale, newMAC, CauseNone},
		{"REACHABLE", reachable, "for us", newMAC, Stale, newMAC, CauseNone},
		{"REACHABLE", reachable, "for other", newMAC, Stale, newMAC, CauseNone},
		{"REACHABLE", reachable, "garp request", newMAC, Stale, newMAC, CauseNone},
		{"STALE", stale, "for us", newMAC, Stale, newMAC, CauseNone},
		{"DELAY, old", delayOld, "reply", newMAC, Reachable, newMAC, CauseNone},
		{"DELAY, old", delayOld, "for other", newMAC, Stale, newMAC, CauseNone},
		{"PROBE", probe, "reply", newMAC, Reachable, newMAC, CauseNone},
		{"PROBE", probe, "for us", newMAC, Stale, newMAC, CauseNone},
		// Another MAC within a second: the first wins, but for gratuitous packets
		// and requests for us.
		{"REACHABLE, fresh", fresh, "reply", newMAC, Reachable, peerMAC, CauseLocked},
		{"REACHABLE, fresh", fresh, "bcast reply", newMAC, Reachable, peerMAC, CauseLocked},
		{"REACHABLE, fresh", fresh, "for other", newMAC, Reachable, peerMAC, CauseLocked},
		{"REACHABLE, fresh", fresh, "for us", newMAC, Stale, newMAC, CauseNone},
		{"REACHABLE, fresh", fresh, "garp request", newMAC, Stale, newMAC, CauseNone},
		{"REACHABLE, fresh", fresh, "garp reply", newMAC, Stale, newMAC, CauseNone},
		{"DELAY, fresh", delay, "reply", newMAC, Delay, peerMAC, CauseLocked},
		// By hand: never changed.
		{"PERMANENT", permanent, "reply", peerMAC, Permanent, peerMAC, CauseNone},
		{"PERMANENT", permanent, "reply", newMAC, Permanent, peerMAC, CauseStatic},
		{"PERMANENT", permanent, "garp request", newMAC, Permanent, peerMAC, CauseStatic},
		{"NOARP", noarp, "for other", newMAC, NoARP, peerMAC, CauseStatic},
	} {
		k := kinds[tc.kind]
		t.Run(tc.name+"/"+k.name, func(t *testing.T) {
			s := newSim(t, nil)
			tc.from(s)
			s.drain()
			dst := ether.Broadcast
			if k.direct {
				dst = ourMAC
			}
			if c := s.InputTo(s.now, k.packet(tc.mac), tc.mac, dst); c != tc.cause {
				t.Errorf("cause %v, want %v", c, tc.cause)
			}
			checkInvariants(t, s.Table)
			e := s.Lookup(peerIP)
			if e == nil {
				if tc.want != None {
					t.Fatalf("no entry, want %v", tc.want)
				}
			} else if mac, ok := e.MAC(); e.State() != tc.want || ok && mac != tc.learn {
				t.Errorf("%v at %v, want %v at %v", e.State(), mac, tc.want, tc.learn)
			}
			answered := len(s.drain()) > 0
			if answered != (tc.kind == "for us") {
				t.Errorf("answered: %v", answered)
			}
		})
	}
}

// The lock time is over after more than a second, not at a second.
func TestLockTimeEdge(t *testing.T) {
	s := newSim(t, nil)
	e := s.reach()
	s.run(time.Second)
	if c := s.reply(newMAC); c != CauseLocked {
		t.Errorf("at 1 s: %v", c)
	}
	confirmed := e.confirmed
	s.run(1)
	if e.confirmed != confirmed {
		t.Error("a rejected reply confirmed the MAC that it contradicts")
	}
	if c := s.reply(newMAC); c != CauseNone {
		t.Errorf("after 1 s: %v", c)
	}
	if got := s.Stats(); got.MACChanges != 1 || got.Causes[CauseLocked] != 1 {
		t.Errorf("stats %+v", got)
	}
}

func TestAnswers(t *testing.T) {
	tgt := ether.MAC{0xff, 1, 2, 3, 4, 5} // means nothing in a request
	for _, tc := range []struct {
		name string
		b    []byte
		want []string
	}{
		{"request for us", packet(OpRequest, peerMAC, peerIP, ether.MAC{}, ourIP),
			[]string{"0.000 reply 10.0.0.1 at 1 to 10.0.0.2 to 2"}},
		{"with a target MAC", packet(OpRequest, peerMAC, peerIP, tgt, ourIP),
			[]string{"0.000 reply 10.0.0.1 at 1 to 10.0.0.2 to 2"}},
		{"probe for our address", packet(OpRequest, peerMAC, ipv4.Addr{}, ether.MAC{}, ourIP),
			[]string{"0.000 reply 10.0.0.1 at 1 to 0.0.0.0 to 2"}},
		{"request for another", packet(OpRequest, peerMAC, peerIP, ether.MAC{}, otherIP), nil},
		{"probe for another address", packet(OpRequest, peerMAC, ipv4.Addr{}, ether.MAC{}, otherIP), nil},
		{"reply to us", packet(OpReply, peerMAC, peerIP, ourMAC, ourIP), nil},
	} {
		s := newSim(t, nil)
		s.Input(s.now, tc.b, peerMAC)
		wantLines(t, s.run(0), tc.want...)
		if s.Len() != 0 {
			t.Errorf("%s: made an entry", tc.name)
		}
	}
	// The answer's every byte.
	s := newSim(t, nil)
	s.Input(s.now, packet(OpRequest, peerMAC, peerIP, ether.MAC{}, ourIP), peerMAC)
	ev, _ := s.Next()
	if want := packet(OpReply, ourMAC, ourIP, peerMAC, peerIP); string(ev.Packet[:]) != string(want) || ev.Dst != peerMAC {
		t.Errorf("to %x: % x", ev.Dst, ev.Packet)
	}
}

func TestRemovedAddressIsNotAnswered(t *testing.T) {
	s := newSim(t, nil)
	s.RemoveAddress(ourIP)
	s.RemoveAddress(ourIP)
	if c := s.Input(s.now, packet(OpRequest, peerMAC, peerIP, ether.MAC{}, ourIP), peerMAC); c != CauseNotForUs {
		t.Error(c)
	}
	wantLines(t, s.run(time.Minute))
}

func TestInputCauses(t *testing.T) {
	group := ether.MAC{0x01, 0, 0x5e, 0, 0, 1}
	ask := func(sha ether.MAC, spa, tpa ipv4.Addr) []byte { return packet(OpRequest, sha, spa, ether.MAC{}, tpa) }
	for _, tc := range []struct {
		name   string
		b      []byte
		src    ether.MAC
		dst    ether.MAC
		strict bool
		want   Cause
	}{
		{"good", ask(peerMAC, peerIP, ourIP), peerMAC, ether.Broadcast, true, CauseNone},
		{"short", ask(peerMAC, peerIP, ourIP)[:27], peerMAC, ether.Broadcast, false, CauseTooShort},
		{"empty", nil, peerMAC, ether.Broadcast, false, CauseTooShort},
		{"frame for another host", ask(peerMAC, peerIP, ourIP), peerMAC, newMAC, false, CauseOtherHost},
		{"frame to a group", ask(peerMAC, peerIP, ourIP), peerMAC, group, false, CauseNone},
		{"our own", ask(ourMAC, ourIP, ourIP), ourMAC, ether.Broadcast, false, CauseReflected},
		{"our own probe", ask(ourMAC, ipv4.Addr{}, ourIP), ourMAC, ether.Broadcast, false, CauseNone},
		{"our MAC as sender only", ask(ourMAC, peerIP, ourIP), peerMAC, ether.Broadcast, false, CauseNone},
		{"our MAC as source only", ask(peerMAC, peerIP, ourIP), ourMAC, ether.Broadcast, false, CauseNone},
		{"sender MAC 0", ask(ether.MAC{}, peerIP, ourIP), peerMAC, ether.Broadcast, false, CauseNone},
		{"sender MAC broadcast", ask(ether.Broadcast, peerIP, ourIP), peerMAC, ether.Broadcast, false, CauseNone},
		{"sender MAC multicast", ask(group, peerIP, ourIP), group, ether.Broadcast, false, CauseNone},
		{"sender MAC is not the source", ask(peerMAC, peerIP, ourIP), newMAC, ether.Broadcast, false, CauseNone},
		{"the same, strict", ask(peerMAC, peerIP, ourIP), newMAC, ether.Broadcast, true, CauseSourceMismatch},
		{"sender multicast", ask(peerMAC, ipv4.Addr{224, 0, 0, 1}, ourIP), peerMAC, ether.Broadcast, false, CauseSenderIP},
		{"sender loopback", ask(peerMAC, ipv4.Addr{127, 0, 0, 1}, ourIP), peerMAC, ether.Broadcast, false, CauseSenderIP},
		{"sender broadcast", ask(peerMAC, ipv4.Addr{255, 255, 255, 255}, ourIP), peerMAC, ether.Broadcast, false, CauseSenderIP},
		{"sender in 0/8", ask(peerMAC, ipv4.Addr{0, 0, 0, 1}, ourIP), peerMAC, ether.Broadcast, false, CauseNone},
		{"reply from 0.0.0.0", packet(OpReply, peerMAC, ipv4.Addr{}, ourMAC, ourIP), peerMAC, ourMAC, false, CauseSenderIP},
		{"target multicast", ask(peerMAC, peerIP, ipv4.Addr{224, 0, 0, 1}), peerMAC, ether.Broadcast, false, CauseTargetIP},
		{"target loopback", ask(peerMAC, peerIP, ipv4.Addr{127, 0, 0, 1}), peerMAC, ether.Broadcast, false, CauseTargetIP},
		{"sender is us", ask(peerMAC, ourIP, otherIP), peerMAC, ether.Broadcast, false, CauseConflict},
		{"request for another", ask(peerMAC, peerIP, otherIP), peerMAC, ether.Broadcast, false, CauseNotForUs},
		{"unsolicited reply", packet(OpReply, peerMAC, peerIP, ourMAC, ourIP), peerMAC, ourMAC, false, CauseUnsolicited},
	} {
		s := newSim(t, func(c *Config) { c.StrictSource = tc.strict })
		before := s.Stats()
		if got := s.InputTo(s.now, tc.b, tc.src, tc.dst); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
		after := s.Stats()
		for c := range NumCauses {
			want := before.Causes[c]
			if c == tc.want && c != CauseNone {
				want++
			}
			if after.Causes[c] != want {
				t.Errorf("%s: cause %v counted %d times", tc.name, c, after.Causes[c]-before.Causes[c])
			}
		}
		if tc.dst == ether.Broadcast || tc.dst == ourMAC {
			s := newSim(t, func(c *Config) { c.StrictSource = tc.strict })
			if got := s.Input(s.now, tc.b, tc.src); got != tc.want {
				t.Errorf("%s: Input: %v, want %v", tc.name, got, tc.want)
			}
		}
		answered := tc.want == CauseNone || tc.want == CauseSourceMismatch
		if mismatch := len(tc.b) >= Len && Message(tc.b).SenderMAC() != tc.src; answered && mismatch != (after.SourceMismatch == 1) {
			t.Errorf("%s: SourceMismatch %d", tc.name, after.SourceMismatch)
		}
	}
}

// Input without the frame's destination tells replies apart by the target MAC.
func TestInputWithoutDestination(t *testing.T) {
	for _, tc := range []struct {
		name string
		tha  ether.MAC
		want State
	}{
		{"target MAC is ours", ourMAC, Reachable},
		{"target MAC is not", ether.Broadcast, Stale},
	} {
		s := newSim(t, nil)
		e, _ := s.Resolve(s.now, peerIP, ourIP)
		s.Input(s.now, packet(OpReply, peerMAC, peerIP, tc.tha, ourIP), peerMAC)
		if e.State() != tc.want {
			t.Errorf("%s: %v", tc.name, e.State())
		}
	}
}

// 100,000 hosts ask for our address, announce themselves and answer unasked: all
// requests are answered, nothing is remembered.
func TestInputFloodMakesNoEntries(t *testing.T) {
	s := newSim(t, nil)
	e := s.reach()
	for i := range 100_000 {
		mac := ether.MAC{2, 9, byte(i >> 16), byte(i >> 8), byte(i)}
		from := ipv4.Addr{10, 1 + byte(i>>16), byte(i >> 8), byte(i)}
		s.Input(s.now, packet(OpRequest, mac, from, ether.MAC{}, ourIP), mac)
		s.Input(s.now, packet(OpRequest, mac, from, ether.MAC{}, from), mac)
		s.Input(s.now, packet(OpReply, mac, from, ourMAC, ourIP), mac)
		if n := len(s.drain()); n != 1 {
			t.Fatalf("%d events", n)
		}
	}
	if st := s.Stats(); s.Len() != 1 || st.TxReplies != 100_000 || st.Causes[CauseUnsolicited] != 100_000 {
		t.Errorf("%d entries, stats %+v", s.Len(), st)
	}
	s.wantState(e, Reachable)
}

// If nobody fetches events, replies are left out, and counted.
func TestInputFloodWithoutNext(t *testing.T) {
	s := newSim(t, func(c *Config) { c.MaxEvents = 100 })
	for range 1000 {
		s.Input(s.now, packet(OpRequest, peerMAC, peerIP, ether.MAC{}, ourIP), peerMAC)
	}
	if st := s.Stats(); st.TxReplies != 100 || st.Causes[CauseBacklog] != 900 {
		t.Errorf("%d replies, %d left out", st.TxReplies, st.Causes[CauseBacklog])
	}
	if n := len(s.drain()); n != 100 {
		t.Errorf("%d events", n)
	}
}
