package stack

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/arp"
)

// outbox holds what the stack itself has to send: answers to what it received,
// and what comes out of neighbour tables, datagrams that waited for a neighbour
// among them. Any goroutine may post to it, one at a time empties it, so things
// leave in the order in which they were posted. Who posts calls sendOutbox once it
// holds no lock.
type outbox struct {
	mu      sync.Mutex // a leaf
	events  []neighbourEvent
	packets []outPacket
	// scheduled are frames whose time has come.
	scheduled []*scheduled
	busy      bool        // somebody empties it
	waiting   atomic.Bool // there is something in it

	// What who empties it works on, to be swapped with the slices above.
	spareEvents  []neighbourEvent
	sparePackets []outPacket
	spareFrames  []*scheduled
}

// neighbourEvent is an event of one interface's neighbour table.
type neighbourEvent struct {
	ifc *Interface
	arp.Event
}

const (
	// outboxRounds is after how many turns who empties the outbox leaves the rest
	// to the housekeeper: others fill it as fast as it is emptied.
	outboxRounds = 16
)

// postEventsLocked moves what came out of the interface's neighbour table to the
// outbox, and reports whether there was anything. neighMu is held: it keeps
// the events in order.
func (i *Interface) postEventsLocked() bool {
	ev, ok := i.neigh.Next()
	if !ok {
		return false
	}
	o := &i.s.outbox
	o.mu.Lock()
	for ; ok; ev, ok = i.neigh.Next() {
		if ev.Kind == arp.Flush {
			i.flushing++
		}
		o.events = append(o.events, neighbourEvent{i, ev})
	}
	o.waiting.Store(true)
	o.mu.Unlock()
	return true
}

// postPackets moves packets of the receive side to the outbox, and returns how
// many found no room. The lane's lock is held: it keeps them in order.
func (s *Stack) postPackets(out []outPacket) (dropped int) {
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(out), max(s.limits.Outbox-len(o.packets), 0))
	o.packets = append(o.packets, out[:n]...)
	o.waiting.Store(true)
	for i := range out[n:] {
		out[n+i].giveBack(&s.pool)
	}
	return len(out) - n
}

// sendOutbox sends what is in the outbox, unless somebody else is at it. No lock
// is held.
func (s *Stack) sendOutbox() {
	o := &s.outbox
	for round := 0; ; round++ {
		o.mu.Lock()
		if round == 0 && o.busy {
			o.mu.Unlock()
			return
		}
		events, packets, frames := o.events, o.packets, o.scheduled
		if len(events)+len(packets)+len(frames) == 0 || round == outboxRounds {
			o.busy = false
			left := len(events)+len(packets)+len(frames) > 0
			o.waiting.Store(left)
			o.mu.Unlock()
			if left {
				s.drive.Hurry()
			}
			return
		}
		o.busy = true
		o.events, o.packets, o.scheduled = o.spareEvents, o.sparePackets, o.spareFrames
		o.mu.Unlock()

		if len(frames) > 0 {
			s.sendScheduled(frames)
		}
		s.settle(events)
		if len(packets) > 0 {
			s.sendAll(packets)
		}
		clear(events)
		clear(packets)
		clear(frames)
		o.mu.Lock()
		o.spareEvents, o.sparePackets, o.spareFrames = events[:0], packets[:0], frames[:0]
		o.mu.Unlock()
	}
}

// settle acts on what came out of neighbour tables. No lock is held.
func (s *Stack) settle(events []neighbourEvent) {
	if len(events) == 0 {
		return
	}
	tx := s.beginOwned()
	for n := 0; n < len(events); {
		n = settleFrom(tx, events, n)
	}
	s.endOwned(tx)
	for n := range events {
		if i := events[n].ifc; events[n].Kind == arp.Flush {
			i.neighMu.Lock()
			if i.flushing--; i.flushing == 0 {
				i.flushed.Broadcast()
			}
			i.neighMu.Unlock()
		}
	}
}

// settleFrom acts on the events from the n-th on, and returns how many are done. It may
// return before the last.
func settleFrom(tx *txbuf, events []neighbourEvent, n int) (done int) {
	defer tx.contain()
	for done = n; done < len(events); {
		e := &events[done]
		done++
		e.ifc.settleOne(tx, &e.Event)
	}
	return done
}
