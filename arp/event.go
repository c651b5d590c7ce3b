package arp

import (
	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

// An EventKind says what an [Event] is.
type EventKind uint8

const (
	// Transmit: send the ARP packet Packet to the Ethernet address Dst.
	Transmit EventKind = iota + 1
	// Flush: Pending is a datagram that waited; the MAC of its neighbour Addr is
	// known now. The caller fills it in and sends the frame.
	Flush
	// Unreachable: Pending is a datagram whose neighbour Addr does not answer
	// (EHOSTUNREACH), or whose entry was
	// deleted or evicted. The caller reports it and frees the frame.
	Unreachable
	// Discard: Pending is an answer to a stranger that gave way to others while it
	// waited. The caller frees the frame.
	Discard
	// Purged: Pending is a datagram whose entry went with the link while it waited, or
	// before it could. As in Linux nobody is told. The caller frees the frame.
	Purged
	// Resolved: the neighbour Addr, for which Solicit was called, has the
	// address MAC.
	Resolved
	// ResolveFailed: the neighbour Addr, for which Solicit was called, does not
	// answer, or its entry has gone.
	ResolveFailed
	// Conflict: our address Addr is used by MAC too. If the address was being
	// probed for, it is not usable, and stays so. Otherwise it is being defended.
	Conflict
	// AddressReady: our address Addr has passed its probes and is usable now.
	// Only with Config.Probe.
	AddressReady
	// NeighbourUp: the neighbour Addr has become known, or has another MAC than
	// before. Only after [Table.SetReport].
	NeighbourUp
	// NeighbourFailed: the neighbour Addr does not answer any more, or never did.
	// Only after [Table.SetReport].
	NeighbourFailed
)

// String returns the kind's name.
func (k EventKind) String() string {
	switch k {
	case Transmit:
		return "transmit"
	case Flush:
		return "flush"
	case Unreachable:
		return "unreachable"
	case Discard:
		return "discard"
	case Purged:
		return "purged"
	case Resolved:
		return "resolved"
	case ResolveFailed:
		return "failed"
	case Conflict:
		return "conflict"
	case AddressReady:
		return "address ready"
	case NeighbourUp:
		return "neighbour up"
	case NeighbourFailed:
		return "neighbour failed"
	}
	return "unknown"
}

// An Event is one thing that came out of the table. Kind says which of the fields
// have a meaning.
type Event struct {
	Kind    EventKind
	Dst     ether.MAC // Transmit: Ethernet destination
	Packet  [Len]byte // Transmit: the ARP packet
	Addr    ipv4.Addr // the neighbour's or own address that it is about
	MAC     ether.MAC // Flush, Resolved, NeighbourUp: the neighbour's; Conflict: the other host's
	Pending Pending   // Flush, Unreachable, Discard, Purged: the datagram, which is the caller's again
}

// An eventQueue is a ring of events that grows as needed. What can be in it is
// bounded by Config.MaxEvents and by the limits of the waiting datagrams.
type eventQueue struct {
	buf     []Event // length a power of two
	head, n int
	limited int // how many of the n are of the kinds that MaxEvents limits
}

const (
	minEventQueue  = 16
	keepEventQueue = 256 // a larger ring is given back when it is empty
)

// isLimited reports whether a kind may be left out when there are too many.
func (k EventKind) isLimited() bool {
	return k == Transmit || k == Conflict || k == NeighbourUp || k == NeighbourFailed
}

// push appends an event of the kind and returns it, otherwise zero, to be filled
// in place.
func (q *eventQueue) push(kind EventKind) *Event {
	if q.n == len(q.buf) {
		q.grow()
	}
	ev := &q.buf[(q.head+q.n)&(len(q.buf)-1)]
	q.n++
	if kind.isLimited() {
		q.limited++
	}
	ev.Kind = kind
	return ev
}

// grow doubles the ring.
func (q *eventQueue) grow() {
	buf := make([]Event, max(minEventQueue, 2*len(q.buf)))
	n := copy(buf, q.buf[q.head:])
	copy(buf[n:], q.buf[:q.head])
	q.buf, q.head = buf, 0
}

// pop returns the oldest event.
func (q *eventQueue) pop() (Event, bool) {
	if q.n == 0 {
		return Event{}, false
	}
	slot := &q.buf[q.head]
	ev := *slot
	*slot = Event{}
	q.head = (q.head + 1) & (len(q.buf) - 1)
	q.n--
	if ev.Kind.isLimited() {
		q.limited--
	}
	if q.n == 0 && len(q.buf) > keepEventQueue {
		q.buf, q.head = nil, 0
	}
	return ev, true
}

// Next returns what came out of the calls before, oldest first; false if there
// is nothing more. Every call that takes a time, and LinkDown, SetHardwareAddr,
// Enqueue and Delete, can leave something here.
func (t *Table) Next() (Event, bool) { return t.events.pop() }

// backlogged reports whether no more packets may be queued for transmission.
func (t *Table) backlogged() bool { return t.events.limited >= t.cfg.MaxEvents }

// transmit queues an ARP packet, and counts it in sent. If too many wait already
// it is left out: all that is sent here is repeated or asked for again.
func (t *Table) transmit(sent *uint64, dst ether.MAC, op uint16, senderIP ipv4.Addr, targetMAC ether.MAC, targetIP ipv4.Addr) {
	if t.backlogged() {
		t.stats.Causes[CauseBacklog]++
		return
	}
	*sent++
	ev := t.events.push(Transmit)
	ev.Dst = dst
	ev.Addr = targetIP
	put(&ev.Packet, op, t.mac, senderIP, targetMAC, targetIP)
}

// report queues an event about a neighbour or an own address.
func (t *Table) report(kind EventKind, addr ipv4.Addr, mac ether.MAC) {
	if kind.isLimited() && t.backlogged() {
		t.stats.Causes[CauseBacklog]++
		return
	}
	ev := t.events.push(kind)
	ev.Addr, ev.MAC = addr, mac
}

// SetReport turns NeighbourUp and NeighbourFailed events on or off; they are off at
// first.
func (t *Table) SetReport(on bool) { t.reports = on }

// reportNeighbour is report for what only some want to know.
func (t *Table) reportNeighbour(kind EventKind, e *Entry) {
	if t.reports {
		t.report(kind, e.addr, e.mac)
	}
}
