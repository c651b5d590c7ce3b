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

// neighbourEvent is an event of one neighbour table.
type neighbourEvent struct {
	of *neighbours
	arp.Event
}

const (
	// outboxRounds is after how many turns who empties the outbox leaves the rest
	// to the housekeeper: others fill it as fast as it is emptied.
	outboxRounds = 16
)

// postPackets moves packets of the receive side to the outbox, and returns how
// many found no room. The lane's lock is held: it keeps them in order.
func (t *transmitter) postPackets(out []outPacket) (dropped int) {
	o := &t.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(out), max(t.limits.outbox-len(o.packets), 0))
	o.packets = append(o.packets, out[:n]...)
	o.waiting.Store(true)
	for i := range out[n:] {
		out[n+i].giveBack(t.pool)
	}
	return len(out) - n
}

// sendOutbox sends what is in the outbox, unless somebody else is at it. No lock
// is held.
func (t *transmitter) sendOutbox() {
	o := &t.outbox
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
				t.drive.Hurry()
			}
			return
		}
		o.busy = true
		o.events, o.packets, o.scheduled = o.spareEvents, o.sparePackets, o.spareFrames
		o.mu.Unlock()

		if len(frames) > 0 {
			t.sendScheduled(frames)
		}
		t.settle(events)
		if len(packets) > 0 {
			t.sendAll(packets)
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
func (t *transmitter) settle(events []neighbourEvent) {
	if len(events) == 0 {
		return
	}
	tx := t.beginOwned()
	for n := 0; n < len(events); {
		n = settleFrom(tx, events, n)
	}
	t.endOwned(tx)
	for n := range events {
		events[n].of.settled(&events[n].Event)
	}
}

// settleFrom acts on the events from the n-th on, and returns how many are done. It may
// return before the last.
func settleFrom(tx *txbuf, events []neighbourEvent, n int) (done int) {
	defer tx.contain()
	for done = n; done < len(events); {
		e := &events[done]
		done++
		e.of.settle(tx, &e.Event)
	}
	return done
}
