package arp

import (
	"math"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/internal/heap"
	"github.com/outband/outband/internal/index"
	"github.com/outband/outband/internal/list"
	"github.com/outband/outband/ipv4"
)

// A Table holds the neighbours on one link, and this host's own addresses there.
// It is not safe for concurrent use.
//
// The times that its methods take are nanoseconds of one monotonic clock, not
// negative. A time that is before an earlier one counts as that one.
type Table struct {
	cfg Config
	mac ether.MAC
	rnd func() uint64
	now int64 // the latest time seen

	entries index.Index[Entry]
	seed    index.Seed // of entries
	lists   [numLists]list.List[Entry]
	timers  heap.Heap[*Entry]
	events  eventQueue
	reports bool // SetReport
	host    Host // nil: none
	stats   Stats

	reachableTime int64 // drawn at random
	redrawAt      int64 // when to draw again

	collectAt int64 // when to look for idle entries; math.MaxInt64 if there is no need

	pending, pendingBytes int // datagrams in all queues, and what they count for
	answers               answerQueues

	answering Answers // SetAnswers
	own       map[uint32]*address
	ownTimers heap.Heap[*address]
	ownOrder  []*address // as they were added
	conflicts int        // conflicts of probed addresses since one was last ready
	probeNext int64      // before that, no new address is probed for
}

// New returns an empty table for a link whose own hardware address is mac.
// rnd returns random numbers that others cannot predict; it is asked a few times a
// minute at most, and must not be nil.
func New(cfg Config, mac ether.MAC, rnd func() uint64) *Table {
	t := &Table{
		cfg:       cfg.complete(),
		mac:       mac,
		rnd:       rnd,
		seed:      index.Seed(rnd()),
		own:       make(map[uint32]*address),
		collectAt: math.MaxInt64,
	}
	t.events.grow()
	return t
}

// maxNow keeps sums of times and durations from overflow.
const maxNow = math.MaxInt64 - 4*int64(maxDuration)

// clock takes note of the time, and returns it.
func (t *Table) clock(now int64) int64 {
	if now > t.now {
		t.now = min(now, maxNow)
	}
	return t.now
}

// Resolve returns the neighbour dst, on behalf of a sender that wants to send to
// it from src, this host's address in the datagram. If there is no entry, one is
// made and the first request sent; a FAILED entry starts anew; a STALE one goes
// to DELAY. The caller then looks at [Entry.MAC]: if that is ok it sends, and may
// keep the MAC for as long as [Entry.Version] stays; otherwise it hands its
// datagram to [Table.Enqueue].
//
// The entry is nil and the cause says why if dst cannot be a neighbour
// ([CauseBadAddress]: multicast, loopback, broadcast; [CauseOwnAddress]) or
// there is no room ([CauseTableFull], Linux' ENOBUFS).
//
// Requests are sent from src if that is a usable own address, otherwise from the
// first usable own address, as Linux does with arp_announce=0.
func (t *Table) Resolve(now int64, dst, src ipv4.Addr) (*Entry, Cause) {
	now = t.clock(now)
	e := t.Lookup(dst)
	if e == nil {
		var c Cause
		if e, c = t.newEntry(now, dst, false); c != CauseNone {
			return nil, t.count(c)
		}
	} else if e.answer {
		e.answer = false
		if e.listOf(e.state) != e.list {
			t.enter(now, e, e.state) // it begins to be asked for anew
		}
	}
	t.use(now, e, src)
	return e, CauseNone
}

// ResolveAnswer is Resolve for an answer of the host's own, such as an echo reply, to
// a sender whose address may be forged. No more than Config.MaxAnswering neighbours are
// asked for at once for that, the oldest give way, and no neighbour that is known does.
func (t *Table) ResolveAnswer(now int64, dst, src ipv4.Addr) (*Entry, Cause) {
	now = t.clock(now)
	e := t.Lookup(dst)
	if e == nil {
		var c Cause
		if e, c = t.newEntry(now, dst, true); c != CauseNone {
			return nil, t.count(c)
		}
	} else if e.state == Failed {
		e.answer = true
		t.admitAnswer()
	}
	t.use(now, e, src)
	return e, CauseNone
}

// touchInterval is how old a use must be before the next one makes the entry the
// youngest of its list: the order need not be finer, and moving it costs more
// than the rest of Resolve.
const touchInterval = int64(1e9)

// use notes that somebody wants to send to e.
func (t *Table) use(now int64, e *Entry, src ipv4.Addr) {
	last := e.used
	e.used = now
	switch e.state {
	case Reachable, Delay, Probe, NoARP:
		if now-last > touchInterval {
			t.touch(e)
		}
	case Stale:
		t.delay(now, e)
	case Failed, None:
		e.src = src
		t.solicitAnew(now, e)
	}
}

// Lookup returns the neighbour ip, nil if it is not in the table. Nothing else happens.
func (t *Table) Lookup(ip ipv4.Addr) *Entry { return t.entries.Get(ip.Uint32(), t.seed) }

// Solicit resolves the neighbour dst now, whoever sends what: an absent or FAILED
// one is asked for by broadcast, and a STALE or DELAYed one is probed at once
// instead of trusted (EVL's evl_net_solicit). A Resolved or ResolveFailed event for
// dst follows: at once if there is nothing to find out, since the entry is
// REACHABLE, PERMANENT or NOARP. It returns nil where Resolve does.
func (t *Table) Solicit(now int64, dst, src ipv4.Addr) *Entry {
	e, _ := t.Resolve(now, dst, src)
	if e == nil {
		return nil
	}
	e.waiting = true
	switch e.state {
	case Delay:
		t.verify(t.now, e)
	case Reachable, NoARP, Permanent:
		t.answer(Resolved, e)
	case Failed: // McastSolicit is none
		t.answer(ResolveFailed, e)
	}
	return e
}

// Confirm says that an upper layer has proof that the neighbour ip receives what
// is sent to it (MSG_CONFIRM, send(2); RFC 1122 section 2.3.2.1 (4)). As on Linux
// the state follows when its timer ends: DELAY becomes REACHABLE instead of
// PROBE, and REACHABLE holds longer.
func (t *Table) Confirm(now int64, ip ipv4.Addr) {
	now = t.clock(now)
	if e := t.Lookup(ip); e != nil && e.state&valid != 0 {
		e.confirmed = now
	}
}

// Set makes or replaces the entry of the neighbour ip by hand, as ip neigh replace
// does. s is Permanent, NoARP, Reachable or Stale; [CauseBadState] otherwise.
// The other causes are [CauseBadAddress], [CauseOwnAddress], [CauseBadMAC] and
// [CauseTableFull].
func (t *Table) Set(now int64, ip ipv4.Addr, mac ether.MAC, s State) Cause {
	now = t.clock(now)
	switch {
	case s != Permanent && s != NoARP && s != Reachable && s != Stale:
		return t.count(CauseBadState)
	case mac == ether.MAC{}:
		return t.count(CauseBadMAC)
	}
	e := t.Lookup(ip)
	if e == nil {
		var c Cause
		if e, c = t.newEntry(now, ip, false); c != CauseNone {
			return t.count(c)
		}
	}
	e.mac = mac
	t.settle(now, e, s)
	return CauseNone
}

// Delete removes the entry of the neighbour ip, and reports whether there was one.
// Datagrams that wait for it come out as Unreachable.
func (t *Table) Delete(ip ipv4.Addr) bool {
	e := t.Lookup(ip)
	if e == nil {
		return false
	}
	t.remove(e, Unreachable)
	return true
}

// Len returns how many entries there are.
func (t *Table) Len() int { return t.entries.Len() }

// newEntry makes an entry in the state NONE, evicting another if need be. answer says
// that it is for an answer to a stranger.
func (t *Table) newEntry(now int64, ip ipv4.Addr, answer bool) (*Entry, Cause) {
	if !ip.IsHost() {
		return nil, CauseBadAddress
	}
	if t.own[ip.Uint32()] != nil {
		return nil, CauseOwnAddress
	}
	if answer {
		t.admitAnswer()
	}
	if t.entries.Len() >= t.cfg.MaxEntries && !t.evict(answer) {
		return nil, CauseTableFull
	}
	e := &Entry{addr: ip, answer: answer, used: now, updated: now, confirmed: t.unconfirmed(now)}
	e.version.Store(1)
	t.entries.Put(e.addr.Uint32(), e, t.seed)
	t.stats.Allocs++
	return e, CauseNone
}

// remove takes the entry out of the table for good. What waits comes out as kind.
func (t *Table) remove(e *Entry, kind EventKind) {
	t.disarm(e)
	t.unlink(e)
	t.entries.Remove(e.addr.Uint32(), t.seed)
	e.state = None
	e.bump()
	t.stats.Destroys++
	t.releaseAll(kind, e)
	t.answer(ResolveFailed, e)
}

// SetHardwareAddr says that our own hardware address has changed. Senders are made
// to ask again, since their frames bear the old one, and usable own addresses are
// announced again when [Table.Advance] is called.
func (t *Table) SetHardwareAddr(mac ether.MAC) {
	if mac == t.mac {
		return
	}
	t.mac = mac
	for e := range t.entries.All() {
		e.bump()
	}
	t.announceAll(t.now)
}

// LinkUp says that the link carries frames again: usable own addresses are
// announced again, and those still being probed for start over.
func (t *Table) LinkUp(now int64) { t.announceAll(t.clock(now)) }

// LinkDown says that the link carries no frames. All neighbours but PERMANENT ones
// are forgotten, and what waits for them comes out as Purged; senders that
// have cached any MAC are made to ask again. Announcements and probes stop until
// LinkUp.
func (t *Table) LinkDown() {
	for id := listNone + 1; id < numLists; id++ {
		for e := t.lists[id].Oldest(); e != nil; e = t.lists[id].Oldest() {
			t.remove(e, Purged)
		}
	}
	for e := range t.entries.All() {
		e.bump() // PERMANENT
	}
	for _, a := range t.ownOrder {
		t.disarmAddress(a)
	}
}

// A Neighbour is a snapshot of an entry, for people to read.
type Neighbour struct {
	Addr  ipv4.Addr
	MAC   ether.MAC // zero if not known
	State State
	// Used, Confirmed and Updated say when the entry was last resolved, confirmed
	// and changed, on the clock of the table's other times. Use of a cached MAC is
	// not seen, so Used is coarse. Confirmed may be negative: never.
	Used, Confirmed, Updated int64
	Probes                   int // requests sent in the present INCOMPLETE or PROBE
	Pending                  int // datagrams waiting
}

// Entries returns a snapshot of all entries, in no particular order.
func (t *Table) Entries() []Neighbour {
	all := make([]Neighbour, 0, t.entries.Len())
	for e := range t.entries.All() {
		n := Neighbour{Addr: e.addr, State: e.state,
			Used: e.used, Confirmed: e.confirmed, Updated: e.updated, Probes: int(e.probes)}
		if mac, ok := e.MAC(); ok {
			n.MAC = mac
		}
		n.Pending = e.queue.len() + e.answers.len()
		all = append(all, n)
	}
	return all
}
