package arp

import (
	"fmt"
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

func TestEnqueueOrderAndOverflow(t *testing.T) {
	s := newSim(t, func(c *Config) { c.QueueLen = 5 })
	e, _ := s.Resolve(s.now, peerIP, ourIP)
	s.drain()
	for i := range 12 {
		dropped, full := s.Enqueue(e, frame(fmt.Sprint(i)))
		if full != (i >= 5) {
			t.Fatalf("datagram %d: full %v", i, full)
		}
		if want := fmt.Sprint(i - 5); full && string(dropped.Frame[14:]) != want {
			t.Fatalf("datagram %d: dropped %q, want the oldest, %s", i, dropped.Frame[14:], want)
		}
	}
	if st := s.Stats(); st.Pending != 5 || st.UnresDiscards != 7 {
		t.Errorf("waiting %d, discarded %d", st.Pending, st.UnresDiscards)
	}
	checkInvariants(t, s.Table)
	s.reply(peerMAC)
	wantLines(t, s.run(0), `0.000 flush 10.0.0.2 "7"`, `0.000 flush 10.0.0.2 "8"`, `0.000 flush 10.0.0.2 "9"`,
		`0.000 flush 10.0.0.2 "10"`, `0.000 flush 10.0.0.2 "11"`)
	if st := s.Stats(); st.Pending != 0 || st.PendingBytes != 0 || st.Flushed != 5 {
		t.Errorf("stats %+v", st)
	}
}

func TestEnqueueBytes(t *testing.T) {
	big, small := make([]byte, 1000), make([]byte, 100)
	for _, tc := range []struct {
		name   string
		change func(*Config)
		first  [][]byte
		last   []byte
		drop   int // length of what is dropped; 0: nothing
	}{
		{"fits exactly", func(c *Config) { c.QueueBytes = 2 * (1000 + PendingOverhead) }, [][]byte{big}, big, 0},
		{"one byte short", func(c *Config) { c.QueueBytes = 2*(1000+PendingOverhead) - 1 }, [][]byte{big}, big, 1000},
		{"the oldest gives way", func(c *Config) { c.QueueBytes = 1500 }, [][]byte{big, small}, small, 1000},
		{"the oldest is too small to make room", func(c *Config) { c.QueueBytes = 1500 }, [][]byte{small, big}, big, 1000},
		{"never fits", func(c *Config) { c.QueueBytes = 1000 }, nil, big, 1000},
		{"all neighbours together", func(c *Config) { c.TotalQueueBytes = 1500 }, [][]byte{small}, big, 0},
		{"all neighbours together, full", func(c *Config) { c.TotalQueueBytes = 1500 }, [][]byte{small, small}, big, 100},
		{"all neighbours together, too full", func(c *Config) { c.TotalQueueBytes = 1300 }, [][]byte{small, small}, big, 1000},
	} {
		s := newSim(t, tc.change)
		e, _ := s.Resolve(s.now, peerIP, ourIP)
		for _, f := range tc.first {
			if _, full := s.Enqueue(e, Pending{Frame: f}); full {
				t.Fatalf("%s: full too early", tc.name)
			}
		}
		dropped, full := s.Enqueue(e, Pending{Frame: tc.last})
		if full != (tc.drop > 0) || len(dropped.Frame) != tc.drop {
			t.Errorf("%s: full %v, dropped %d bytes", tc.name, full, len(dropped.Frame))
		}
		checkInvariants(t, s.Table)
	}
}

// The total is shared: one neighbour's datagrams leave less for another's, and
// none of another's gives way.
func TestEnqueueTotalIsShared(t *testing.T) {
	s := newSim(t, func(c *Config) { c.TotalQueueBytes = 3 * (14 + PendingOverhead) })
	a, _ := s.Resolve(s.now, peerIP, ourIP)
	b, _ := s.Resolve(s.now, otherIP, ourIP)
	for range 3 {
		s.Enqueue(a, frame(""))
	}
	dropped, full := s.Enqueue(b, Pending{Frame: make([]byte, 14), Owner: "mine"})
	if !full || dropped.Owner != "mine" {
		t.Errorf("full %v, dropped %v", full, dropped.Owner)
	}
	if b.queue != nil || a.queue.n != 3 {
		t.Error("another neighbour's datagram gave way")
	}
	s.Delete(peerIP)
	if _, full := s.Enqueue(b, frame("")); full {
		t.Error("still full after Delete")
	}
	checkInvariants(t, s.Table)
}

func TestEnqueueWhenNotIncomplete(t *testing.T) {
	t.Run("resolved meanwhile", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.reach()
		s.Enqueue(e, frame("x"))
		evs := s.drain()
		if len(evs) != 1 || evs[0].Kind != Flush || evs[0].MAC != peerMAC {
			t.Errorf("events %v", evs)
		}
	})
	t.Run("failed meanwhile", func(t *testing.T) {
		s := newSim(t, nil)
		e, _ := s.Resolve(s.now, peerIP, ourIP)
		s.run(5 * time.Second)
		s.Enqueue(e, frame("x"))
		wantLines(t, s.run(0), `0.000 unreachable 10.0.0.2 "x"`)
	})
	t.Run("gone meanwhile", func(t *testing.T) {
		s := newSim(t, nil)
		e := s.reach()
		s.Delete(peerIP)
		if _, ok := e.MAC(); ok || e.State() != None {
			t.Error("an entry that has gone may be used")
		}
		s.Enqueue(e, frame("x"))
		wantLines(t, s.run(0), `0.000 purged 10.0.0.2 "x"`)
	})
}

// Whatever makes the MAC known, what waits goes; and since it goes to a MAC that is
// not confirmed, that is a use, and a probe follows, as on Linux.
func TestFlushByRequestIsAUse(t *testing.T) {
	s := newSim(t, nil)
	e, _ := s.Resolve(s.now, peerIP, ourIP)
	s.Enqueue(e, frame("x"))
	s.drain()
	s.Input(s.now, packet(OpRequest, peerMAC, peerIP, ether.MAC{}, ourIP), peerMAC)
	s.wantState(e, Delay)
	wantLines(t, s.run(5*time.Second),
		`0.000 flush 10.0.0.2 "x"`,
		"0.000 reply 10.0.0.1 at 1 to 10.0.0.2 to 2",
		"5.000 request 10.0.0.2 from 10.0.0.1 to 2")
}

func TestLinkDown(t *testing.T) {
	s := newSim(t, nil)
	s.Set(s.now, otherIP, newMAC, Permanent)
	noarp := ipv4.Addr{10, 0, 0, 4}
	s.Set(s.now, noarp, newMAC, NoARP)
	e, _ := s.Resolve(s.now, peerIP, ourIP)
	s.Enqueue(e, frame("x"))
	s.drain()
	s.LinkDown()
	s.Enqueue(e, frame("late"))
	wantLines(t, s.run(time.Minute), `0.000 purged 10.0.0.2 "x"`, `0.000 purged 10.0.0.2 "late"`)
	if s.Len() != 1 || s.Lookup(otherIP) == nil {
		t.Errorf("%d entries", s.Len())
	}
	s.LinkUp(s.now)
	wantLines(t, s.run(time.Minute), "0.000 announce 10.0.0.1 to all", "2.000 announce 10.0.0.1 to all")
}
