package arp

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

// Addresses that the tests use.
var (
	ourMAC  = ether.MAC{0x02, 0, 0, 0, 0, 0x01}
	peerMAC = ether.MAC{0x02, 0, 0, 0, 0, 0x02}
	newMAC  = ether.MAC{0x02, 0, 0, 0, 0, 0x03}
	ourIP   = ipv4.Addr{10, 0, 0, 1}
	peerIP  = ipv4.Addr{10, 0, 0, 2}
	otherIP = ipv4.Addr{10, 0, 0, 3}
)

const sec = int64(time.Second)

// A sim is a table in simulated time.
type sim struct {
	*Table
	tb  testing.TB
	now int64
}

// middle is a random source that always draws the middle: a reachable time of
// exactly ReachableTime.
func middle() uint64 { return uint64(15 * sec) }

// xorshift is a small deterministic random source.
func xorshift(seed uint64) func() uint64 {
	s := seed | 1
	return func() uint64 {
		s ^= s << 13
		s ^= s >> 7
		s ^= s << 17
		return s
	}
}

// newSim returns a table at 1000 s, which has ourIP if nothing is said about
// announcements, whose events are fetched.
func newSim(tb testing.TB, change func(*Config)) *sim {
	tb.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	s := &sim{Table: New(cfg, ourMAC, middle), tb: tb, now: 1000 * sec}
	s.AddAddress(s.now, ourIP)
	s.drain()
	for s.Deadline() < s.now+5*sec {
		s.Advance(s.Deadline())
		s.drain()
	}
	s.now += 5 * sec
	return s
}

// drain fetches all events.
func (s *sim) drain() []Event {
	var all []Event
	for {
		ev, ok := s.Next()
		if !ok {
			return all
		}
		all = append(all, ev)
	}
}

// run advances to now+d, timer by timer, and returns a line for every event:
// seconds since the start, and what it is.
func (s *sim) run(d time.Duration) []string {
	s.tb.Helper()
	start, end := s.now, s.now+int64(d)
	lines := s.lines(start)
	for s.Deadline() <= end {
		if s.Deadline() < s.now {
			s.tb.Fatalf("deadline %d lies before now %d", s.Deadline(), s.now)
		}
		s.now = s.Deadline()
		s.Advance(s.now)
		lines = append(lines, s.lines(start)...)
	}
	s.now = end
	checkInvariants(s.tb, s.Table)
	return lines
}

// lines fetches the events, as run writes them.
func (s *sim) lines(start int64) []string {
	var lines []string
	for _, ev := range s.drain() {
		lines = append(lines, fmt.Sprintf("%.3f %s", float64(s.now-start)/1e9, show(ev)))
	}
	return lines
}

// show writes an event shortly.
func show(ev Event) string {
	if ev.Kind != Transmit {
		s := ev.Kind.String() + " " + ip(ev.Addr)
		if ev.Pending.Frame != nil {
			s += fmt.Sprintf(" %q", ev.Pending.Frame[14:])
		}
		return s
	}
	m, c := Parse(ev.Packet[:])
	if c != CauseNone {
		return "transmit of a bad packet: " + c.String()
	}
	cast := fmt.Sprintf("to %x", ev.Dst[5])
	if ev.Dst == ether.Broadcast {
		cast = "to all"
	}
	switch {
	case m.IsProbe():
		return fmt.Sprintf("probe %s %s", ip(m.TargetIP()), cast)
	case m.IsGratuitous():
		return fmt.Sprintf("announce %s %s", ip(m.TargetIP()), cast)
	case m.Op() == OpRequest:
		return fmt.Sprintf("request %s from %s %s", ip(m.TargetIP()), ip(m.SenderIP()), cast)
	}
	return fmt.Sprintf("reply %s at %x to %s %s", ip(m.SenderIP()), m.SenderMAC()[5], ip(m.TargetIP()), cast)
}

func ip(a ipv4.Addr) string { return fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3]) }

// packet builds an ARP packet.
func packet(op uint16, sha ether.MAC, spa ipv4.Addr, tha ether.MAC, tpa ipv4.Addr) []byte {
	var b [Len]byte
	put(&b, op, sha, spa, tha, tpa)
	return b[:]
}

// reply lets the peer answer us from mac.
func (s *sim) reply(mac ether.MAC) Cause {
	return s.InputTo(s.now, packet(OpReply, mac, peerIP, ourMAC, ourIP), mac, ourMAC)
}

// reach makes peerIP REACHABLE at peerMAC now.
func (s *sim) reach() *Entry {
	s.tb.Helper()
	e, c := s.Resolve(s.now, peerIP, ourIP)
	if c != CauseNone {
		s.tb.Fatalf("Resolve: %v", c)
	}
	s.reply(peerMAC)
	s.drain()
	s.wantState(e, Reachable)
	return e
}

// stale makes peerIP STALE at peerMAC, 31 s later.
func (s *sim) stale() *Entry {
	s.tb.Helper()
	e := s.reach()
	s.run(31 * time.Second)
	s.wantState(e, Stale)
	return e
}

func (s *sim) wantState(e *Entry, want State) {
	s.tb.Helper()
	if e.State() != want {
		s.tb.Fatalf("state %v, want %v", e.State(), want)
	}
}

func wantLines(tb testing.TB, got []string, want ...string) {
	tb.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		tb.Fatalf("events:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// frame returns a pending datagram with a payload.
func frame(payload string) Pending {
	return Pending{Frame: append(make([]byte, 14), payload...), Dst: peerIP}
}

// checkInvariants looks at everything that must always hold.
func checkInvariants(tb testing.TB, t *Table) {
	tb.Helper()
	if t.entries.Len() > t.cfg.MaxEntries {
		tb.Fatalf("%d entries, limit %d", t.entries.Len(), t.cfg.MaxEntries)
	}
	if t.events.limited > t.cfg.MaxEvents {
		tb.Fatalf("%d limited events, limit %d", t.events.limited, t.cfg.MaxEvents)
	}
	checkLists(tb, t)
	pending, bytes, answers, running := 0, 0, 0, 0
	found := 0
	for e := range t.entries.All() {
		found++
		if t.Lookup(e.addr) != e {
			tb.Fatalf("entry %v is not found", e.addr)
		}
		if e.version.Load() == 0 {
			tb.Fatal("version 0")
		}
		if e.timer.Running() != (e.state&timed != 0) {
			tb.Fatalf("%v: a timer runs: %t, in state %v", e.addr, e.timer.Running(), e.state)
		}
		if e.timer.Running() {
			running++
			if t.timers.When(e.timer) == math.MinInt64 {
				tb.Fatalf("%v: the timer overflowed", e.addr)
			}
		}
		if e.state == None {
			tb.Fatalf("%v: in the table in state NONE", e.addr)
		}
		if e.waiting && e.state&(Incomplete|Probe) == 0 {
			tb.Fatalf("%v: somebody waits in state %v", e.addr, e.state)
		}
		if q := e.answers; q != nil {
			if e.state != Incomplete || q.n == 0 || q.n > t.cfg.AnswerQueueLen || q.entry != e {
				tb.Fatalf("%v: %d answers wait in state %v", e.addr, q.n, e.state)
			}
			pending += q.n
			answers += q.bytes
		}
		if e.queue == nil {
			continue
		}
		if e.state != Incomplete {
			tb.Fatalf("%v: datagrams wait in state %v", e.addr, e.state)
		}
		if e.queue.n > t.cfg.QueueLen || e.queue.bytes > t.cfg.QueueBytes {
			tb.Fatalf("%v: queue of %d datagrams, %d bytes", e.addr, e.queue.n, e.queue.bytes)
		}
		pending += e.queue.n
		bytes += e.queue.bytes
	}
	if found != t.entries.Len() {
		tb.Fatalf("%d entries, counted %d", t.entries.Len(), found)
	}
	for q := t.answers.Oldest(); q != nil; q = q.listed.Newer() {
		answers -= q.bytes
	}
	if answers != 0 || t.answers.bytes > t.cfg.AnswerQueueBytes || t.lists[listAnswer].Len() > t.cfg.MaxAnswering {
		tb.Fatalf("answers of %d bytes are not in the list, %d count, %d neighbours are asked for", answers, t.answers.bytes, t.lists[listAnswer].Len())
	}
	if pending != t.pending || bytes != t.pendingBytes || bytes > t.cfg.TotalQueueBytes {
		tb.Fatalf("waiting: %d datagrams, %d bytes; counted: %d, %d; limit %d",
			pending, bytes, t.pending, t.pendingBytes, t.cfg.TotalQueueBytes)
	}
	for _, a := range t.ownOrder {
		if t.own[a.ip.Uint32()] != a {
			tb.Fatalf("own address %v not in the map", a.ip)
		}
		if a.timer.Running() {
			running++
		}
	}
	if len(t.own) != len(t.ownOrder) || running != t.timers.Len()+t.ownTimers.Len() {
		tb.Fatalf("%d own addresses and %d; %d owners of timers for %d", len(t.own), len(t.ownOrder), running, t.timers.Len()+t.ownTimers.Len())
	}
}

// checkLists looks at the eviction lists.
func checkLists(tb testing.TB, t *Table) {
	tb.Helper()
	listed := 0
	for id := listFailed; id < numLists; id++ {
		last := int64(math.MinInt64)
		var prev *Entry
		for e := t.lists[id].Oldest(); e != nil; prev, e = e, e.listed.Newer() {
			listed++
			if e.list != id || e.listOf(e.state) != id || e.listed.Older() != prev {
				tb.Fatalf("%v: state %v in list %d, says %d", e.addr, e.state, id, e.list)
			}
			if id != listInUse && e.updated < last {
				tb.Fatalf("list %d not in order at %v", id, e.addr)
			}
			last = e.updated
		}
		if t.lists[id].Newest() != prev {
			tb.Fatalf("list %d: wrong tail", id)
		}
	}
	for e := range t.entries.All() {
		if e.state == Permanent {
			listed++
		}
	}
	if listed != t.entries.Len() {
		tb.Fatalf("%d entries in lists, %d in the table", listed, t.entries.Len())
	}
}
