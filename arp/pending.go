package arp

import (
	"github.com/outband/outband/ipv4"

	"github.com/outband/outband/internal/list"
)

// A Pending is a datagram that waits for the MAC of its next hop.
type Pending struct {
	// Frame is the whole Ethernet frame, the destination still to be filled in
	// at Frame[0:6]. It is the table's until it comes out of Next or Enqueue.
	Frame []byte
	// Owner is what the caller wants to have back with it. A pointer costs no allocation.
	Owner any
	// Dst is the datagram's destination, which is not the neighbour if it goes
	// through a gateway.
	Dst ipv4.Addr
	// Answer says that it answers a stranger: it waits in a queue of its own, and gives
	// way to other answers.
	Answer bool
}

// PendingOverhead is what a waiting datagram is counted for in
// Config.QueueBytes and Config.TotalQueueBytes, in bytes beside its frame.
const PendingOverhead = 128

// cost returns what the datagram is counted for.
func (p *Pending) cost() int { return len(p.Frame) + PendingOverhead }

// A queue holds the datagrams that wait for one neighbour, oldest first.
type queue struct {
	ring    []Pending
	head, n int
	bytes   int // sum of the costs

	// Of a queue of answers.
	entry  *Entry
	listed list.Node[queue]
}

// len returns how many datagrams wait in a queue, which may be nil.
func (q *queue) len() int {
	if q == nil {
		return 0
	}
	return q.n
}

// push appends a datagram.
func (q *queue) push(p Pending) {
	if q.n == len(q.ring) {
		ring := make([]Pending, max(4, 2*len(q.ring)))
		k := copy(ring, q.ring[q.head:])
		copy(ring[k:], q.ring[:q.head])
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = p
	q.n++
	q.bytes += p.cost()
}

// pop takes the oldest datagram out. There must be one.
func (q *queue) pop() Pending {
	p := q.ring[q.head]
	q.ring[q.head] = Pending{}
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	q.bytes -= p.cost()
	return p
}

// Enqueue lets a datagram wait for the MAC of e, whose [Entry.MAC] was not ok. It
// comes out of Next as Flush when the MAC is known, as Unreachable when the
// neighbour has failed (RFC 1122 section 2.3.2.2), or as Purged when the link has
// removed e. If e is not INCOMPLETE any more, that happens at once.
//
// full says that there was no room. As on Linux, the oldest waiting datagram
// gives way, and is returned in dropped; but if even without it there is no
// room, p itself is. What is dropped is the caller's again.
func (t *Table) Enqueue(e *Entry, p Pending) (dropped Pending, full bool) {
	switch {
	case e.state&valid != 0:
		t.release(Flush, e, p)
		return Pending{}, false
	case e.state == None:
		t.release(Purged, e, p)
		return Pending{}, false
	case e.state != Incomplete:
		t.release(Unreachable, e, p)
		return Pending{}, false
	case p.Answer:
		return t.enqueueAnswer(e, p)
	}
	q := e.queue
	if q == nil {
		q = &queue{}
	}
	if !t.fits(q, 0, 0, p.cost()) {
		full = true
		t.stats.UnresDiscards++
		if q.n == 0 || !t.fits(q, 1, q.ring[q.head].cost(), p.cost()) {
			return p, full
		}
		dropped = q.pop()
		t.pendingBytes -= dropped.cost()
		t.pending--
	}
	q.push(p)
	e.queue = q
	t.pending++
	t.pendingBytes += p.cost()
	return dropped, full
}

// fits reports whether a datagram of the given cost may wait in q, once n
// datagrams that cost freed are out of it.
func (t *Table) fits(q *queue, n, freed, cost int) bool {
	return q.n-n < t.cfg.QueueLen &&
		q.bytes-freed+cost <= t.cfg.QueueBytes &&
		t.pendingBytes-freed+cost <= t.cfg.TotalQueueBytes
}

// releaseAll lets all datagrams that wait for e come out of Next, in order, and
// returns how many there were.
func (t *Table) releaseAll(kind EventKind, e *Entry) (n int) {
	if q := e.queue; q != nil {
		e.queue = nil
		t.pendingBytes -= q.bytes
		n += t.empty(kind, e, q)
	}
	if q := e.answers; q != nil {
		t.forgetAnswers(q)
		t.answers.bytes -= q.bytes
		n += t.empty(kind, e, q)
	}
	return n
}

// empty lets all of a queue come out of Next.
func (t *Table) empty(kind EventKind, e *Entry, q *queue) int {
	n := q.n
	t.pending -= n
	for q.n > 0 {
		t.release(kind, e, q.pop())
	}
	return n
}

// release lets one datagram come out of Next.
func (t *Table) release(kind EventKind, e *Entry, p Pending) {
	if kind == Flush {
		t.stats.Flushed++
	} else {
		t.stats.Unreachable++
	}
	ev := t.events.push(kind)
	ev.Addr, ev.MAC, ev.Pending = e.addr, e.mac, p
}
