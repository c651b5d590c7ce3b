package arp

// The states and what moves an entry from one to another, after
// neigh_timer_handler, __neigh_event_send and __neigh_update in Linux'
// net/core/neighbour.c.

import (
	"math"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/internal/clock"
	"github.com/outband/outband/ipv4"
)

// advanceBatch is how many timers one Advance runs at most: some 100 µs of work.
const advanceBatch = 512

// Deadline returns when Advance wants to be called next; math.MaxInt64 if there is
// nothing to wait for.
func (t *Table) Deadline() int64 {
	return min(t.collectAt, t.timers.Next(), t.ownTimers.Next())
}

// Advance runs the timers that are due; what they caused comes out of [Table.Next].
// One call does a bounded amount of work, and stops early if many ARP packets
// wait for Next: Deadline is not after now then, and Advance should be called
// again once they are fetched.
func (t *Table) Advance(now int64) {
	now = t.clock(now)
	for n := 0; n < advanceBatch && !t.backlogged() && t.fireNext(now); n++ {
	}
	if t.collectAt <= now {
		t.collect(now)
	}
}

// fire does what is to be done when the entry's timer has ended.
func (t *Table) fire(now int64, e *Entry) {
	delayProbe := int64(t.cfg.DelayProbeTime)
	switch e.state {
	case Reachable:
		// Confirmations do not move the timer, since that would cost every one
		// of them a walk through the heap. It is looked at here.
		switch end := e.confirmed + t.reachable(now); {
		case now < end:
			t.arm(e, end)
		case now <= e.used+delayProbe:
			t.delay(now, e)
		default:
			t.enter(now, e, Stale)
			e.bump()
		}
	case Delay:
		if now <= e.confirmed+delayProbe {
			t.enter(now, e, Reachable)
			t.arm(e, max(e.confirmed+t.reachable(now), now+1))
			return
		}
		t.verify(now, e)
	case Incomplete, Probe:
		t.request(now, e)
	}
}

// enter changes the entry's state. Its place in the lists changes only with the list.
func (t *Table) enter(now int64, e *Entry, s State) {
	e.state = s
	e.updated = now
	if id := e.listOf(s); id != e.list {
		t.unlink(e)
		t.link(e, id)
	}
	if s&(Stale|Failed) != 0 {
		t.wantCollection(now)
	}
}

// delay begins the time in which a MAC in use, but not confirmed, waits for
// somebody else's confirmation.
func (t *Table) delay(now int64, e *Entry) {
	t.enter(now, e, Delay)
	t.arm(e, clock.After(now, int64(t.cfg.DelayProbeTime)))
}

// verify begins to ask the neighbour itself.
func (t *Table) verify(now int64, e *Entry) {
	t.enter(now, e, Probe)
	e.probes = 0
	t.request(now, e)
}

// solicitAnew begins to ask everybody.
func (t *Table) solicitAnew(now int64, e *Entry) {
	t.enter(now, e, Incomplete)
	e.probes = 0
	t.request(now, e)
}

// request sends the next request of an INCOMPLETE or PROBE entry, or lets it fail
// after the last one. Unicast ones, which disturb nobody else, come first (RFC
// 1122 section 2.3.2.1 (2)).
func (t *Table) request(now int64, e *Entry) {
	unicast, broadcast := 0, t.cfg.McastSolicit
	if e.state == Probe {
		unicast, broadcast = t.cfg.UcastSolicit, t.cfg.McastResolicit
	}
	if int(e.probes) >= unicast+broadcast {
		t.fail(now, e)
		return
	}
	// As on Linux only a datagram that waits has a say in the sender's address.
	dst, src := ether.Broadcast, e.src
	if e.state == Probe {
		src = ipv4.Addr{}
	}
	if int(e.probes) < unicast {
		dst = e.mac
	}
	e.probes++
	t.transmit(&t.stats.TxRequests, dst, OpRequest, t.sourceFor(src, e.addr), ether.MAC{}, e.addr)
	t.arm(e, clock.After(now, int64(t.cfg.RetransTime)))
}

// fail ends an INCOMPLETE or PROBE entry that had no answer.
func (t *Table) fail(now int64, e *Entry) {
	t.disarm(e)
	t.enter(now, e, Failed)
	e.bump()
	t.stats.ResFailed++
	t.reportNeighbour(NeighbourFailed, e)
	t.releaseAll(Unreachable, e)
	t.answer(ResolveFailed, e)
}

// answer tells the callers of Solicit, if there were any.
func (t *Table) answer(kind EventKind, e *Entry) {
	if e.waiting {
		e.waiting = false
		t.report(kind, e.addr, e.mac)
	}
}

// learn is what an ARP packet does to the entry of its sender. confirms says that
// the packet proves that the neighbour answers; override, that a MAC already
// known may be replaced.
func (t *Table) learn(now int64, e *Entry, mac ether.MAC, confirms, override bool) Cause {
	known, same := e.state&valid != 0, mac == e.mac
	switch {
	case e.state&static != 0:
		if !same {
			return CauseStatic
		}
		return CauseNone
	case known && same && !confirms:
		return CauseNone
	case known && same && e.state == Reachable:
		e.confirmed = now
		return CauseNone
	case known && same:
		t.confirm(now, e)
		return CauseNone
	case known && !override:
		return CauseLocked
	case known:
		t.stats.MACChanges++
	default:
		t.stats.Resolved++
	}
	e.mac = mac
	t.reportNeighbour(NeighbourUp, e)
	if confirms {
		t.settle(now, e, Reachable)
	} else {
		t.settle(now, e, Stale)
	}
	return CauseNone
}

// confirm makes an entry REACHABLE whose MAC has proved right. Its Version stays:
// its users have asked since it was last REACHABLE.
func (t *Table) confirm(now int64, e *Entry) {
	e.confirmed = now
	t.enter(now, e, Reachable)
	t.arm(e, clock.After(now, t.reachable(now)))
	t.answer(Resolved, e)
}

// settle puts an entry that has a new MAC, or was set by hand, in a state in which
// the MAC may be used, and lets go what waited.
func (t *Table) settle(now int64, e *Entry, s State) {
	t.disarm(e)
	t.enter(now, e, s)
	t.touch(e)
	e.bump()
	e.confirmed = now
	switch s {
	case Reachable:
		t.arm(e, clock.After(now, t.reachable(now)))
	case Stale:
		e.confirmed = t.unconfirmed(now)
	}
	used := t.releaseAll(Flush, e) > 0
	if used && s == Stale {
		e.used = now
		t.delay(now, e)
	}
	t.answer(Resolved, e)
}

// unconfirmed returns a time of confirmation that is long over.
func (t *Table) unconfirmed(now int64) int64 {
	d := -int64(t.cfg.ReachableTime)
	return clock.After(clock.After(now, d), d)
}

// reachable returns for how long a confirmation holds now.
func (t *Table) reachable(now int64) int64 {
	if now >= t.redrawAt {
		t.redrawAt = now + reachableRedraw
		base := int64(t.cfg.ReachableTime)
		t.reachableTime = max(clock.After(base/2, t.random(base)), 1)
	}
	return t.reachableTime
}

// random returns a random number from 0 up to n, which is left out.
func (t *Table) random(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return int64(t.rnd() & math.MaxInt64 % uint64(n))
}
