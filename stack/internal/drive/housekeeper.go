package drive

import (
	"sync/atomic"
	"time"

	"github.com/outband/outband/link"
)

// housekeeper leads when nobody else has for a while, so that ARP, echo and
// timers go on while the application is elsewhere. It is in one of three places:
//
//   - watching: it looks every half millisecond whether anybody led.
//   - leading: asleep on the links' descriptors, with a poller of its own.
//   - parked: somebody has led without a break for a while, and will unpark it.
type housekeeper struct {
	poller  *link.Poller
	closing <-chan struct{}
	parked  atomic.Bool
	unpk    chan struct{}
	done    chan struct{}
}

const (
	// HouseTick is how long nobody has led when the housekeeper takes over.
	HouseTick = 500 * time.Microsecond
	// parkAfter is after how many ticks of one and the same leader it parks.
	parkAfter = 8
)

func (h *housekeeper) init() {
	h.poller = link.NewPoller()
	h.unpk = make(chan struct{}, 1)
	h.done = make(chan struct{})
}

// unpark wakes the housekeeper: the leader who let it park has left.
func (h *housekeeper) unpark() {
	if h.parked.CompareAndSwap(true, false) {
		select {
		case h.unpk <- struct{}{}:
		default:
		}
	}
}

// hurry has the housekeeper do its chores, wherever it is.
func (h *housekeeper) hurry() {
	h.unpark()
	h.poller.Wake()
}

// keepHouse is the housekeeper's goroutine. It ends when the stack closes.
func (d *Driver) keepHouse() {
	h := &d.housekeeper
	defer close(h.done)
	tick := time.NewTimer(HouseTick)
	defer tick.Stop()
	same := 0
	for {
		before := d.lookLead()
		tick.Reset(HouseTick)
		select {
		case <-h.closing:
			return
		case <-tick.C:
		}
		d.host.Chores()
		now := d.lookLead()
		switch {
		case !now.led() && now == before:
			same = 0
			if !d.passLead() && !d.houseLead() {
				return
			}
		case now != before:
			same = 0
		default:
			if same++; same >= parkAfter {
				if !d.housePark(now) {
					return
				}
				same = 0
			}
		}
	}
}

// leadership is who led at a moment, to compare with another moment.
type leadership struct {
	word   uint64 // the locks'
	turn   uint64 // of the sleeper on the descriptors
	asleep bool   // there is one
}

// led reports whether somebody led at that moment.
func (l leadership) led() bool { return l.asleep || l.word&Held != 0 }

func (d *Driver) lookLead() leadership {
	d.sleepers.mu.Lock()
	defer d.sleepers.mu.Unlock()
	return leadership{d.word(), d.sleepers.turn, d.sleepers.onFD != nil}
}

// Asleep reports whether a call sleeps on the links' descriptors.
func (d *Driver) Asleep() bool { return d.lookLead().asleep }

// Turns returns how many calls have slept on the links' descriptors.
func (d *Driver) Turns() uint64 { return d.lookLead().turn }

// housePark waits until the leader seen has left. It returns false when the
// stack closes.
func (d *Driver) housePark(seen leadership) bool {
	h := &d.housekeeper
	h.parked.Store(true)
	if d.lookLead() != seen {
		h.unpark()
	}
	select {
	case <-h.closing:
		return false
	case <-h.unpk:
		return true
	}
}

// houseLead leads until somebody else does. It returns false when the stack
// closes.
func (d *Driver) houseLead() bool {
	for {
		select {
		case <-d.housekeeper.closing:
			return false
		default:
		}
		d.host.Chores()
		led, full := d.houseTurn()
		if !led {
			return true
		}
		if full {
			continue
		}
		before := d.lookLead()
		if before.led() {
			return true
		}
		if d.passLead() {
			return true
		}
		d.housekeeper.poller.Wait(d.host.Links(), Until(d.clock.Now(), d.Timers.next.Load()))
		if now := d.lookLead(); now.led() || now != before && d.elsewhere.Load() == 0 {
			return true
		}
	}
}

// houseTurn takes a batch by each lane that nobody leads. It reports whether there was
// one, and whether a link has more.
func (d *Driver) houseTurn() (led, full bool) {
	for _, l := range *d.lanes.Load() {
		if !l.Lock.Try(Held) {
			continue
		}
		led = true
		l.RunTimers(d.clock.Now())
		full = l.work.Pump()&Full != 0 || full
		l.work.Release()
	}
	return led, full
}
