package arp

import (
	"math"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/outband/outband/ether"
)

// What changes the version, and what does not.
func TestVersion(t *testing.T) {
	for _, tc := range []struct {
		name    string
		from    func(*sim) *Entry
		do      func(*sim, *Entry)
		changes bool
	}{
		{"MAC becomes known", func(s *sim) *Entry { return first(s.Resolve(s.now, peerIP, ourIP)) },
			func(s *sim, e *Entry) { s.reply(peerMAC) }, true},
		{"same MAC again", (*sim).reach, func(s *sim, e *Entry) { s.reply(peerMAC) }, false},
		{"another MAC", (*sim).reach, func(s *sim, e *Entry) { s.run(2 * time.Second); s.reply(newMAC) }, true},
		{"another MAC within the lock time", (*sim).reach, func(s *sim, e *Entry) { s.reply(newMAC) }, false},
		{"REACHABLE is over", (*sim).reach, func(s *sim, e *Entry) { s.run(30 * time.Second) }, true},
		{"STALE is used", (*sim).stale, func(s *sim, e *Entry) { s.Resolve(s.now, peerIP, ourIP) }, false},
		{"STALE is confirmed", (*sim).stale, func(s *sim, e *Entry) { s.reply(peerMAC) }, false},
		{"STALE is solicited", (*sim).stale, func(s *sim, e *Entry) { s.Solicit(s.now, peerIP, ourIP) }, false},
		{"DELAY to PROBE", (*sim).used, func(s *sim, e *Entry) { s.run(5 * time.Second) }, false},
		{"DELAY to REACHABLE by Confirm", (*sim).used,
			func(s *sim, e *Entry) { s.Confirm(s.now, peerIP); s.run(5 * time.Second) }, false},
		{"PROBE to REACHABLE", (*sim).used, func(s *sim, e *Entry) { s.run(5 * time.Second); s.reply(peerMAC) }, false},
		{"PROBE to another MAC", (*sim).used,
			func(s *sim, e *Entry) { s.run(6500 * time.Millisecond); s.reply(newMAC) }, true},
		{"PROBE to FAILED", (*sim).used, func(s *sim, e *Entry) { s.run(8 * time.Second) }, true},
		{"deleted", (*sim).reach, func(s *sim, e *Entry) { s.Delete(peerIP) }, true},
		{"set by hand", (*sim).reach, func(s *sim, e *Entry) { s.Set(s.now, peerIP, peerMAC, Permanent) }, true},
		{"link down", (*sim).reach, func(s *sim, e *Entry) { s.LinkDown() }, true},
		{"link down, PERMANENT", (*sim).permanent, func(s *sim, e *Entry) { s.LinkDown() }, true},
		{"PERMANENT, for long", (*sim).permanent, func(s *sim, e *Entry) { s.run(time.Hour) }, false},
		{"our MAC changes", (*sim).reach, func(s *sim, e *Entry) { s.SetHardwareAddr(newMAC) }, true},
		{"our MAC is set again", (*sim).reach, func(s *sim, e *Entry) { s.SetHardwareAddr(ourMAC) }, false},
		{"address taken by us", (*sim).reach, func(s *sim, e *Entry) { s.AddAddress(s.now, peerIP) }, true},
	} {
		s := newSim(t, nil)
		e := tc.from(s)
		v := e.Version()
		tc.do(s, e)
		if got := e.Version() != v; got != tc.changes {
			t.Errorf("%s: changed %v, want %v", tc.name, got, tc.changes)
		}
		checkInvariants(t, s.Table)
	}
}

func first(e *Entry, _ Cause) *Entry { return e }

// used makes peerIP go to DELAY.
func (s *sim) used() *Entry {
	e := s.stale()
	s.Resolve(s.now, peerIP, ourIP)
	s.wantState(e, Delay)
	return e
}

func (s *sim) permanent() *Entry {
	s.Set(s.now, peerIP, peerMAC, Permanent)
	return s.Lookup(peerIP)
}

func TestVersionIsNever0(t *testing.T) {
	var e Entry
	e.version.Store(math.MaxUint32)
	if e.bump(); e.Version() != 1 {
		t.Errorf("version %d after the last", e.Version())
	}
}

// A sender that sends every millisecond for ten minutes and caches as the package
// comment says asks the table about once per reachable time, and the wire shows
// one unicast request each time.
func TestBusySenderAsksRarely(t *testing.T) {
	s := newSim(t, nil)
	e, _ := s.Resolve(s.now, peerIP, ourIP)
	s.drain()
	s.reply(peerMAC)
	version, asked, probed, broadcasts := uint32(0), 0, 0, 0
	for range 600_000 {
		s.now += int64(time.Millisecond)
		if s.Deadline() <= s.now {
			s.Advance(s.now)
		}
		if e.Version() != version {
			asked++
			e, _ = s.Resolve(s.now, peerIP, ourIP)
			if mac, ok := e.MAC(); !ok || mac != peerMAC {
				t.Fatalf("at %d: MAC %v %v", s.now, mac, ok)
			}
			version = e.Version()
		}
		for _, ev := range s.drain() {
			if ev.Kind == Transmit && ev.Dst == peerMAC {
				probed++
				s.reply(peerMAC)
			} else {
				broadcasts++
			}
		}
	}
	// One cycle is 30 s REACHABLE and 5 s DELAY.
	if asked < 17 || asked > 19 || probed < 16 || probed > 18 || broadcasts != 0 {
		t.Errorf("asked %d times, %d probes, %d other events in 600 s", asked, probed, broadcasts)
	}
}

// Version may be called without the lock; the race detector looks on.
func TestVersionWithoutLock(t *testing.T) {
	s := newSim(t, nil)
	e := s.reach()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 10_000 {
			if e.Version() == 0 {
				t.Error("version 0")
			}
		}
	})
	for i := range 1000 {
		s.Set(s.now, peerIP, ether.MAC{2, 0, 0, byte(i >> 8), byte(i)}, Stale)
	}
	wg.Wait()
}

// A neighbour's memory: the entry, its timer, and its share of the map.
func TestEntrySize(t *testing.T) {
	if got := unsafe.Sizeof(Entry{}); got > 96 {
		t.Errorf("an entry has %d bytes", got)
	}
}
