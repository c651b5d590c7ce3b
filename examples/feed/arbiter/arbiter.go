// Package arbiter makes one sequence of messages out of two copies that come by
// different ways, each with losses of its own. The first copy of a message wins;
// messages are delivered in order, each once. What neither side brings within a
// time, or before the window is full, is reported as lost.
//
// It does no I/O: packets and the time go in, messages, lost ranges and the next
// deadline come out. An Arbiter is for one goroutine.
package arbiter

import (
	"math"
	"time"

	"github.com/outband/outband/examples/feed/mold"
)

// A Side is where a packet came from.
type Side uint8

const (
	A Side = iota
	B
	Recovery // answers of a re-request server
	sides
)

// String returns the side's name.
func (s Side) String() string { return [...]string{"A", "B", "recovery"}[s] }

// A Range is a run of sequence numbers, both ends included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Config says how to arbitrate.
type Config struct {
	// First is the sequence number to begin with; 0: the first that comes.
	First uint64
	// Window is how many messages may be between the next one and the furthest
	// that is held, rounded up to a power of two; 0: 4096. As many that were
	// delivered are remembered, to measure their second copies.
	Window int
	// Timeout is how long a missing message may still come, from when a later
	// one was heard of; 0: 50 ms.
	Timeout time.Duration
	// RequestAfter is how long a missing message is waited for before Requests
	// asks for it, and then between requests; 0: it never does.
	RequestAfter time.Duration
	// Deliver is given each message in order. It is a view, good until Deliver
	// returns.
	Deliver func(sequence uint64, message []byte)
	// Lost is given what will not be delivered, before the message that follows.
	Lost func(Range)
}

// An Arbiter arbitrates one session.
type Arbiter struct {
	cfg     Config
	window  uint64
	slots   []slot // of the last and the next window messages, by sequence number
	session mold.Session
	started bool
	next    uint64 // the next message to deliver
	high    uint64 // one past the last message that is known to exist
	first   uint64 // where the sequence began
	missing int    // messages from next to high that have not come
	asking  int64  // when Requests may have something to ask for
	run     Range  // what is lost and not reported yet, if pending
	pending bool
	end     uint64 // the number after the session's last message, if ended
	ended   bool
	over    [sides]bool
	stats   Stats
}

type state uint8

const (
	absent state = iota
	held
	delivered
	lost
)

// A slot is what is known of one message.
type slot struct {
	sequence uint64
	state    state
	seen     uint8 // a bit for each side that brought it
	winner   Side  // whose copy came first, if seen
	at       int64 // when that came
	since    int64 // when it was noticed to be missing
	asked    int64 // when it may be asked for (again)
	message  []byte
}

// New returns an arbiter. It takes the session of the first packet.
func New(cfg Config) *Arbiter {
	if cfg.Window <= 0 {
		cfg.Window = 4096
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 50 * time.Millisecond
	}
	window := uint64(1)
	for window < uint64(cfg.Window) {
		window *= 2
	}
	return &Arbiter{cfg: cfg, window: window, slots: make([]slot, 2*window), asking: math.MaxInt64}
}

// Packet takes a packet that came from a side. at is when it arrived, by a clock
// common to both sides, for the statistics; now is the time of deadlines. Both are
// in nanoseconds.
func (a *Arbiter) Packet(from Side, at, now int64, p mold.Packet) {
	s := &a.stats.Sides[from]
	if !a.started {
		a.begin(p)
	}
	if p.Session != a.session {
		s.OtherSession++
		return
	}
	s.Packets++
	if p.Count == 0 {
		a.control(from, now, p)
	}
	for {
		sequence, message, ok := p.Message()
		if !ok {
			return
		}
		a.message(from, at, now, sequence, message)
	}
}

func (a *Arbiter) begin(p mold.Packet) {
	a.started, a.session, a.first = true, p.Session, p.Sequence
	if a.cfg.First != 0 {
		a.first = a.cfg.First
	}
	a.next, a.high = a.first, a.first
}

// control takes a heartbeat or an end of session: it tells of what was lost last.
func (a *Arbiter) control(from Side, now int64, p mold.Packet) {
	a.stats.Sides[from].Heartbeats++
	if p.End {
		a.ended, a.end = true, max(p.Sequence, a.high)
		a.over[from] = true
	}
	a.extend(p.Sequence, now)
}

// extend notes that all messages before high exist.
func (a *Arbiter) extend(high uint64, now int64) {
	if high <= a.high {
		return
	}
	if high-a.next > a.window {
		a.stats.Overflows++
		a.giveUp(high - a.window)
	}
	for ; a.high < high; a.high++ {
		s := a.slot(a.high)
		asked := int64(math.MaxInt64)
		if a.cfg.RequestAfter > 0 {
			asked = now + int64(a.cfg.RequestAfter)
			a.asking = min(a.asking, asked)
		}
		*s = slot{sequence: a.high, since: now, asked: asked, message: s.message[:0]}
		a.missing++
	}
}

func (a *Arbiter) slot(sequence uint64) *slot { return &a.slots[sequence&(2*a.window-1)] }

// message takes one copy of a message. The one that was waited for is delivered
// as it lies in the packet, without a copy.
func (a *Arbiter) message(from Side, at, now int64, sequence uint64, message []byte) {
	a.extend(sequence+1, now)
	side := &a.stats.Sides[from]
	s := a.slot(sequence)
	if s.sequence != sequence || sequence < a.first || a.next > sequence && a.next-sequence > a.window {
		side.Old++
		return
	}
	if s.seen&(1<<from) != 0 {
		side.Duplicates++
		return
	}
	side.Messages++
	a.compare(s, from, at)
	s.seen |= 1 << from
	switch {
	case s.state == lost:
		a.stats.Late++
	case s.state == absent && sequence == a.next:
		a.missing--
		a.deliver(s, message)
		a.release()
	case s.state == absent:
		a.missing--
		s.state = held
		s.message = append(s.message, message...)
	}
}

// compare notes whose copy came first, and by how much.
func (a *Arbiter) compare(s *slot, from Side, at int64) {
	sides := &a.stats.Sides
	switch {
	case s.seen == 0:
		s.winner, s.at = from, at
		sides[from].First++
	case from != Recovery && s.winner != Recovery && s.seen&(1<<Recovery) == 0:
		if at < s.at { // it was taken later, and came earlier
			sides[s.winner].First--
			sides[from].First++
			s.winner, s.at, at = from, at, s.at
		}
		sides[s.winner].Lead.Add(at - s.at)
	}
}

func (a *Arbiter) deliver(s *slot, message []byte) {
	a.report()
	s.state = delivered
	a.next++
	a.stats.Delivered++
	if a.cfg.Deliver != nil {
		a.cfg.Deliver(s.sequence, message)
	}
}

// release delivers what was held for the sake of the order.
func (a *Arbiter) release() {
	for a.next < a.high {
		s := a.slot(a.next)
		if s.state != held {
			return
		}
		a.deliver(s, s.message)
	}
}

// giveUp goes on to a message: those before it that have not come are lost.
func (a *Arbiter) giveUp(next uint64) {
	for a.next < next && a.next < a.high {
		if s := a.slot(a.next); s.state == held {
			a.deliver(s, s.message)
		} else {
			s.state = lost
			a.missing--
			a.lose(a.next + 1)
		}
	}
	if a.next < next { // no side has told of these yet
		a.lose(next)
		a.high = next
	}
	a.release()
}

// lose adds the messages from a.next to before next to the pending range.
func (a *Arbiter) lose(next uint64) {
	if !a.pending {
		a.pending, a.run.First = true, a.next
	}
	a.stats.Lost += next - a.next
	a.run.Last = next - 1
	a.next = next
}

func (a *Arbiter) report() {
	if !a.pending {
		return
	}
	a.pending = false
	a.stats.Gaps++
	if a.cfg.Lost != nil {
		a.cfg.Lost(a.run)
	}
}

// Tick gives up what has been missing for too long, and reports what is lost. It
// is to be called at the Deadline, and may be at any time.
func (a *Arbiter) Tick(now int64) {
	for a.next < a.high && a.slot(a.next).since+int64(a.cfg.Timeout) <= now {
		a.giveUp(a.next + 1)
	}
	a.report()
}

// Deadline returns when Tick has something to do, or Requests may have something
// to ask for: math.MaxInt64 if nothing is missing.
func (a *Arbiter) Deadline() int64 {
	switch {
	case a.pending:
		return 0
	case a.missing == 0:
		return math.MaxInt64
	}
	return min(a.slot(a.next).since+int64(a.cfg.Timeout), a.asking)
}

// Requests appends the ranges to ask a re-request server for now, each of at most
// mold.MaxMessages.
func (a *Arbiter) Requests(now int64, ranges []Range) []Range {
	if a.asking > now {
		return ranges
	}
	a.asking = math.MaxInt64
	if a.missing == 0 {
		return ranges
	}
	fresh := len(ranges) // a range of an earlier call is not lengthened
	for sequence := a.next; sequence < a.high; sequence++ {
		s := a.slot(sequence)
		if s.state != absent {
			continue
		}
		if s.asked <= now {
			s.asked = now + int64(a.cfg.RequestAfter)
			ranges = appendTo(ranges, fresh, sequence)
		}
		a.asking = min(a.asking, s.asked)
	}
	return ranges
}

// appendTo lengthens the last range by a number, or begins another one.
func appendTo(ranges []Range, fresh int, sequence uint64) []Range {
	if n := len(ranges); n > fresh && ranges[n-1].Last+1 == sequence && sequence-ranges[n-1].First < mold.MaxMessages {
		ranges[n-1].Last = sequence
		return ranges
	}
	return append(ranges, Range{sequence, sequence})
}

// Session returns the session, and whether there is one yet.
func (a *Arbiter) Session() (mold.Session, bool) { return a.session, a.started }

// Done reports whether the session has ended, and all its messages are delivered
// or lost.
func (a *Arbiter) Done() bool { return a.ended && a.next >= a.end && !a.pending }

// Over reports whether both sides have said that the session has ended: nothing
// will come any more.
func (a *Arbiter) Over() bool { return a.over[A] && a.over[B] }
