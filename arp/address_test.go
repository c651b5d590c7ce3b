package arp

import (
	"fmt"
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

var newIP = ipv4.Addr{10, 0, 0, 7}

// claim is a packet of another host that has our address.
func claim(a ipv4.Addr) []byte { return packet(OpRequest, peerMAC, a, ether.MAC{}, otherIP) }

func TestAnnounce(t *testing.T) {
	s := newSim(t, nil)
	s.AddAddress(s.now, newIP)
	if !s.Usable(newIP) {
		t.Error("not usable at once")
	}
	wantLines(t, s.run(time.Minute), "0.000 announce 10.0.0.7 to all", "2.000 announce 10.0.0.7 to all")
	// RFC 5227 section 2.3: a request, sender and target address ours, target MAC 0.
	s.AddAddress(s.now, newIP)
	ev, _ := s.Next()
	if want := packet(OpRequest, ourMAC, newIP, ether.MAC{}, newIP); string(ev.Packet[:]) != string(want) || ev.Dst != ether.Broadcast {
		t.Errorf("to %v: % x", ev.Dst, ev.Packet)
	}
	s.RemoveAddress(newIP)
	wantLines(t, s.run(time.Minute))
}

func TestAnnounceNum(t *testing.T) {
	for _, n := range []int{-1, 1, 5} {
		s := newSim(t, func(c *Config) { c.AnnounceNum = n })
		s.run(time.Minute)
		s.AddAddress(s.now, newIP)
		if got := len(s.run(time.Minute)); got != max(n, 0) {
			t.Errorf("AnnounceNum %d: %d", n, got)
		}
	}
}

func TestSetHardwareAddrAnnounces(t *testing.T) {
	s := newSim(t, nil)
	s.SetHardwareAddr(newMAC)
	ev, ok := s.Next()
	if !ok || Message(ev.Packet[:]).SenderMAC() != newMAC {
		t.Errorf("%v %v", ok, ev)
	}
	if c := s.Input(s.now, packet(OpRequest, ourMAC, peerIP, ether.MAC{}, ourIP), ourMAC); c != CauseNone {
		t.Errorf("the old address of ours is another host's now: %v", c)
	}
}

func TestAddAddressRefuses(t *testing.T) {
	s := newSim(t, func(c *Config) { c.MaxAddresses = 2 })
	for _, a := range []ipv4.Addr{{}, {127, 0, 0, 1}, {224, 0, 0, 1}, {255, 255, 255, 255}} {
		if c := s.AddAddress(s.now, a); c != CauseBadAddress {
			t.Errorf("%v: %v", a, c)
		}
	}
	if c := s.AddAddress(s.now, newIP); c != CauseNone {
		t.Error(c)
	}
	if c := s.AddAddress(s.now, otherIP); c != CauseTableFull {
		t.Error(c)
	}
	if c := s.AddAddress(s.now, newIP); c != CauseNone {
		t.Errorf("again: %v", c)
	}
}

// Three probes, 1 to 2 s apart, after up to 1 s; 2 s later the address is ours.
func TestProbing(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Probe = true })
	for s.Deadline() < s.now+10*sec {
		s.Advance(s.Deadline())
	}
	s.drain()
	s.now += 10 * sec
	s.rnd = func() uint64 { return uint64(sec / 4) }
	s.AddAddress(s.now, newIP)
	if s.Usable(newIP) {
		t.Error("usable at once")
	}
	wantLines(t, s.run(time.Minute),
		"0.250 probe 10.0.0.7 to all",
		"1.500 probe 10.0.0.7 to all",
		"2.750 probe 10.0.0.7 to all",
		"4.750 address ready 10.0.0.7",
		"4.750 announce 10.0.0.7 to all",
		"6.750 announce 10.0.0.7 to all")
	if !s.Usable(newIP) {
		t.Error("not usable")
	}
}

func TestProbingTimes(t *testing.T) {
	for seed := uint64(1); seed < 200; seed++ {
		cfg := DefaultConfig()
		cfg.Probe = true
		s := &sim{Table: New(cfg, ourMAC, xorshift(seed<<32)), tb: t}
		s.AddAddress(0, newIP)
		var at []int64
		for len(at) < 4 {
			s.now = s.Deadline()
			s.Advance(s.now)
			at = append(at, s.now)
		}
		if at[0] > sec || at[3]-at[2] != 2*sec {
			t.Fatalf("times %v", at)
		}
		for i := range 2 {
			if d := at[i+1] - at[i]; d < sec || d > 2*sec {
				t.Fatalf("times %v", at)
			}
		}
	}
}

// A probed address that somebody has, or wants too, never becomes usable.
func TestProbingConflict(t *testing.T) {
	for _, tc := range []struct {
		name     string
		b        []byte
		conflict bool
	}{
		{"a request from it", claim(newIP), true},
		{"a reply from it", packet(OpReply, peerMAC, newIP, ourMAC, ipv4.Addr{}), true},
		{"an announcement", packet(OpRequest, peerMAC, newIP, ether.MAC{}, newIP), true},
		{"another host's probe for it", packet(OpRequest, peerMAC, ipv4.Addr{}, ether.MAC{}, newIP), true},
		{"our own probe, come back", packet(OpRequest, ourMAC, ipv4.Addr{}, ether.MAC{}, newIP), false},
		{"a request for it", packet(OpRequest, peerMAC, peerIP, ether.MAC{}, newIP), false},
		{"a probe for another", packet(OpRequest, peerMAC, ipv4.Addr{}, ether.MAC{}, otherIP), false},
	} {
		for _, after := range []time.Duration{0, 2 * time.Second, 4700 * time.Millisecond} {
			s := newSim(t, nil)
			s.cfg.Probe = true
			s.rnd = func() uint64 { return uint64(sec / 4) }
			s.AddAddress(s.now, newIP)
			s.run(after)
			s.Input(s.now, tc.b, ether.MAC(tc.b[8:14]))
			lines := s.run(time.Minute)
			if tc.conflict {
				wantLines(t, lines, "0.000 conflict 10.0.0.7")
			}
			if s.Usable(newIP) == tc.conflict {
				t.Errorf("%s: usable %v", tc.name, s.Usable(newIP))
			}
			if !tc.conflict {
				continue
			}
			// It is the other's: requests for it, and its own packets, are not ours.
			s.Input(s.now, packet(OpRequest, otherMAC(), peerIP, ether.MAC{}, newIP), otherMAC())
			s.Input(s.now, packet(OpRequest, otherMAC(), ipv4.Addr{}, ether.MAC{}, newIP), otherMAC())
			s.Input(s.now, claim(newIP), peerMAC)
			s.LinkUp(s.now)
			s.LinkDown()
			s.drain()
			wantLines(t, s.run(time.Minute))
			// Added again, it is probed for again.
			s.AddAddress(s.now, newIP)
			s.run(time.Minute)
			if !s.Usable(newIP) {
				t.Errorf("%s: not usable when added again", tc.name)
			}
		}
	}
}

func otherMAC() ether.MAC { return ether.MAC{2, 0, 0, 0, 0, 9} }

// After more than ten conflicts, a new address is tried once a minute
// (RFC 5227 section 2.1.1).
func TestProbingRateLimit(t *testing.T) {
	s := newSim(t, nil)
	s.cfg.Probe = true
	s.rnd = func() uint64 { return 0 }
	var tried []int64
	for i := range 15 {
		a := ipv4.Addr{169, 254, 1, byte(i)}
		s.AddAddress(s.now, a)
		s.now = s.Deadline()
		tried = append(tried, s.now)
		s.Advance(s.now)
		s.Input(s.now, claim(a), peerMAC)
		s.drain()
	}
	for i := 1; i < len(tried); i++ {
		want := int64(0)
		if i > 11 {
			want = 60 * sec
		}
		if d := tried[i] - tried[i-1]; d != want {
			t.Errorf("address %d tried %d ns after the one before", i, d)
		}
	}
	s.AddAddress(s.now, newIP)
	s.run(10 * time.Minute)
	if !s.Usable(newIP) {
		t.Fatal("not usable")
	}
	s.AddAddress(s.now, ipv4.Addr{169, 254, 2, 1})
	if s.Deadline() != s.now {
		t.Error("still limited after a success")
	}
}

// An address in use is defended once in ten seconds, and never given up.
func TestDefend(t *testing.T) {
	s := newSim(t, nil)
	var lines []string
	start := s.now
	for range 25 {
		if c := s.Input(s.now, claim(ourIP), peerMAC); c != CauseConflict {
			t.Fatal(c)
		}
		for _, ev := range s.drain() {
			lines = append(lines, fmt.Sprintf("%.3f %s", float64(s.now-start)/1e9, show(ev)))
		}
		s.run(time.Second)
	}
	wantLines(t, lines,
		"0.000 conflict 10.0.0.1", "0.000 announce 10.0.0.1 to all",
		"10.000 conflict 10.0.0.1", "10.000 announce 10.0.0.1 to all",
		"20.000 conflict 10.0.0.1", "20.000 announce 10.0.0.1 to all")
	if got := s.Stats().Causes[CauseConflict]; got != 25 {
		t.Errorf("counted %d", got)
	}
	if !s.Usable(ourIP) || s.Len() != 0 {
		t.Error("the conflict has other consequences")
	}
}

func TestDefendFirstSecondsOfTheClock(t *testing.T) {
	tab := New(DefaultConfig(), ourMAC, middle)
	tab.AddAddress(0, ourIP)
	tab.Next()
	tab.Input(0, claim(ourIP), peerMAC)
	ev, ok := tab.Next()
	if !ok || ev.Kind != Conflict || ev.MAC != peerMAC || ev.Addr != ourIP {
		t.Errorf("%v %+v", ok, ev)
	}
}

// Link up in the middle of probing starts it over.
func TestLinkUpWhileProbing(t *testing.T) {
	s := newSim(t, nil)
	s.cfg.Probe = true
	s.rnd = func() uint64 { return 0 }
	s.AddAddress(s.now, newIP)
	s.run(1500 * time.Millisecond)
	s.LinkDown()
	wantLines(t, s.run(time.Minute))
	s.RemoveAddress(ourIP)
	s.LinkUp(s.now)
	wantLines(t, s.run(time.Minute),
		"0.000 probe 10.0.0.7 to all",
		"1.000 probe 10.0.0.7 to all",
		"2.000 probe 10.0.0.7 to all",
		"4.000 address ready 10.0.0.7",
		"4.000 announce 10.0.0.7 to all",
		"6.000 announce 10.0.0.7 to all")
}

// An address that becomes ours is no neighbour any more, and the other way round.
func TestAddressAndNeighbour(t *testing.T) {
	s := newSim(t, nil)
	e, _ := s.Resolve(s.now, peerIP, ourIP)
	s.Enqueue(e, frame("x"))
	s.drain()
	s.AddAddress(s.now, peerIP)
	wantLines(t, s.lines(s.now), `0.000 unreachable 10.0.0.2 "x"`, "0.000 announce 10.0.0.2 to all")
	if _, c := s.Resolve(s.now, peerIP, ourIP); c != CauseOwnAddress {
		t.Error(c)
	}
	s.RemoveAddress(peerIP)
	if _, c := s.Resolve(s.now, peerIP, ourIP); c != CauseNone {
		t.Error(c)
	}
}

// A testHost is a host with one address more.
type testHost struct{ elsewhere, source ipv4.Addr }

func (h testHost) Local(ip ipv4.Addr) bool           { return ip == h.elsewhere || ip == ourIP }
func (h testHost) Source(target ipv4.Addr) ipv4.Addr { return h.source }

// Addresses of the host's other interfaces are answered for, and not believed to be
// anybody else's.
func TestHost(t *testing.T) {
	s := newSim(t, nil)
	s.SetHost(testHost{elsewhere: otherIP, source: newIP})
	for _, tc := range []struct {
		name  string
		b     []byte
		cause Cause
		want  []string
	}{
		{"asked for", packet(OpRequest, peerMAC, peerIP, ether.MAC{}, otherIP), CauseNone, []string{"reply"}},
		{"probed for", packet(OpRequest, peerMAC, ipv4.Addr{}, ether.MAC{}, otherIP), CauseNone, []string{"reply"}},
		{"asked from", packet(OpRequest, peerMAC, otherIP, ether.MAC{}, ourIP), CauseOwnAddress, nil},
		{"asked from, by us", packet(OpRequest, ourMAC, otherIP, ether.MAC{}, ourIP), CauseOwnAddress, nil},
		{"answered from", packet(OpReply, peerMAC, otherIP, ourMAC, ourIP), CauseOwnAddress, nil},
		{"another asked for", packet(OpRequest, peerMAC, peerIP, ether.MAC{}, newIP), CauseNotForUs, nil},
	} {
		if c := s.Input(s.now, tc.b, peerMAC); c != tc.cause {
			t.Errorf("%s: %v, want %v", tc.name, c, tc.cause)
		}
		events := s.drain()
		if len(events) != len(tc.want) {
			t.Errorf("%s: %d events", tc.name, len(events))
		}
		for _, ev := range events {
			if m := Message(ev.Packet[:]); m.Op() != OpReply || m.SenderIP() != otherIP || m.SenderMAC() != ourMAC {
				t.Errorf("%s: %s", tc.name, show(ev))
			}
		}
	}
	// Requests are sent from whatever address of the host's the datagram has, or the
	// host's choice.
	for src, want := range map[ipv4.Addr]ipv4.Addr{otherIP: otherIP, ourIP: ourIP, {}: newIP, {1, 2, 3, 4}: newIP} {
		s.Delete(peerIP)
		s.drain()
		s.Resolve(s.now, peerIP, src)
		if ev, _ := s.Next(); Message(ev.Packet[:]).SenderIP() != want {
			t.Errorf("from %v: %s", src, show(ev))
		}
	}
}

// A host that asks a link for an address that it has on another one takes the answer,
// as Linux does: a socket that is bound to the device sends there. It still does not
// answer requests from it.
func TestHostAsksForItself(t *testing.T) {
	s := newSim(t, nil)
	s.SetHost(testHost{elsewhere: otherIP, source: ourIP})
	e, c := s.Resolve(s.now, otherIP, ourIP)
	if c != CauseNone {
		t.Fatal(c)
	}
	s.Enqueue(e, frame("x"))
	s.drain()
	if c := s.Input(s.now, packet(OpReply, peerMAC, otherIP, ourMAC, ourIP), peerMAC); c != CauseNone {
		t.Errorf("its answer: %v", c)
	}
	wantLines(t, s.lines(s.now), `0.000 flush 10.0.0.3 "x"`)
	s.Input(s.now, packet(OpRequest, peerMAC, otherIP, ether.MAC{}, ourIP), peerMAC)
	for _, ev := range s.drain() {
		if ev.Kind == Transmit {
			t.Errorf("a request from it is answered: %s", show(ev))
		}
	}
}
