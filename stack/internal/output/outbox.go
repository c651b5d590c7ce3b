package output

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/arp"
)

// Outbox holds what the stack itself has to send: answers to what it received,
// and what comes out of neighbour tables, datagrams that waited for a neighbour
// among them. Any goroutine may post to it, one at a time empties it, so things
// leave in the order in which they were posted. Who posts calls SendOutbox once it
// holds no lock.
type outbox struct {
	Mu      sync.Mutex // a leaf
	Events  []NeighbourEvent
	Packets []OutPacket
	// scheduled are frames whose time has come.
	scheduled []*scheduled
	Busy      bool        // somebody empties it
	Waiting   atomic.Bool // there is something in it

	// What who empties it works on, to be swapped with the slices above.
	spareEvents  []NeighbourEvent
	sparePackets []OutPacket
	spareFrames  []*scheduled
}

// NeighbourEvent is an event of one neighbour table.
type NeighbourEvent struct {
	Of *Neighbours
	arp.Event
}

const (
	// outboxRounds is after how many turns who empties the outbox leaves the rest
	// to the housekeeper: others fill it as fast as it is emptied.
	outboxRounds = 16
)

// PostPackets moves packets of the receive side to the outbox, and returns how
// many found no room. The lane's lock is held: it keeps them in order.
func (t *Transmitter) PostPackets(out []OutPacket) (dropped int) {
	o := &t.Outbox
	o.Mu.Lock()
	defer o.Mu.Unlock()
	n := min(len(out), max(t.Limits.Outbox-len(o.Packets), 0))
	o.Packets = append(o.Packets, out[:n]...)
	o.Waiting.Store(true)
	for i := range out[n:] {
		out[n+i].giveBack(t.Pool)
	}
	return len(out) - n
}

// SendOutbox sends what is in the outbox, unless somebody else is at it. No lock
// is held.
func (t *Transmitter) SendOutbox() {
	o := &t.Outbox
	for round := 0; ; round++ {
		o.Mu.Lock()
		if round == 0 && o.Busy {
			o.Mu.Unlock()
			return
		}
		events, packets, frames := o.Events, o.Packets, o.scheduled
		if len(events)+len(packets)+len(frames) == 0 || round == outboxRounds {
			o.Busy = false
			left := len(events)+len(packets)+len(frames) > 0
			o.Waiting.Store(left)
			o.Mu.Unlock()
			if left {
				t.Drive.Hurry()
			}
			return
		}
		o.Busy = true
		o.Events, o.Packets, o.scheduled = o.spareEvents, o.sparePackets, o.spareFrames
		o.Mu.Unlock()

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
		o.Mu.Lock()
		o.spareEvents, o.sparePackets, o.spareFrames = events[:0], packets[:0], frames[:0]
		o.Mu.Unlock()
	}
}

// settle acts on what came out of neighbour tables. No lock is held.
func (t *Transmitter) settle(events []NeighbourEvent) {
	if len(events) == 0 {
		return
	}
	tx := t.beginOwned()
	for n := 0; n < len(events); {
		n = settleFrom(tx, events, n)
	}
	t.endOwned(tx)
	for n := range events {
		events[n].Of.settled(&events[n].Event)
	}
}

// settleFrom acts on the events from the n-th on, and returns how many are done. It may
// return before the last.
func settleFrom(tx *Buffer, events []NeighbourEvent, n int) (done int) {
	defer tx.contain()
	for done = n; done < len(events); {
		e := &events[done]
		done++
		e.Of.settle(tx, &e.Event)
	}
	return done
}
