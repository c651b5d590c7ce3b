// Package drive decides who drives a stack's links: which goroutine takes frames from
// them, where the others wait meanwhile, and how each is woken. Leader and followers:
//
//  1. A receiver with nothing queued tries the lock. Who gets it leads:
//     it takes a bounded batch from each link, hands everybody theirs, and
//     returns as soon as its own datagram is there. Who does not get it watches
//     its own queue.
//  2. Leader or not, a receiver spins for its budget, then sleeps. The first
//     sleeper sleeps on the links' descriptors, where the kernel wakes it
//     directly; the others sleep on a channel each.
//  3. When the sleeper on the descriptors has its datagram it passes its place
//     to another. A spinner does not: it is back in a moment, and a sleeper on
//     the descriptors would cost a wake-up for every frame meanwhile.
//  4. The housekeeper (housekeeper.go) takes the place when nobody has led for
//     about half a millisecond.
//
// One loop does this for all that wait (turn.go): receivers, senders without space, those
// who wait for one of many sockets. What they wait for is a Goal, how long a Call, and
// what wakes them a List.
package drive

import (
	"sync/atomic"
	"time"

	"github.com/outband/outband/link"
)

// A Host is what is driven.
type Host interface {
	// Pump takes a batch from every link and processes it. The lock is held.
	Pump() Outcome
	// RunTimers runs the timers that are due at now. The lock is held.
	RunTimers(now int64)
	// Release releases the lock, by Driver.Unlock, and does what was left to do.
	Release()
	// Links returns what to sleep on.
	Links() []link.Pollable
	// Chores does what waits for somebody to do it. No lock is held.
	Chores()
}

// An Outcome is what a pump found.
type Outcome uint8

const (
	Full    Outcome = 1 << iota // a link may have more: whoever wants to sleep looks again first
	Done                        // what the call waits for has been delivered to it
	Pending                     // something is to be done as soon as the lock is released
)

// A Driver drives one lane.
type Driver struct {
	Lock   Lock
	Timers Timers

	host  Host
	clock Clock
	spin  time.Duration // the default budget

	now    int64  // the clock when a leader looked last; guarded by Lock, as are
	rounds uint32 // calls of pump
	led    bool   // the links were asked since the lock was taken

	memoryOnly atomic.Bool // no link has a descriptor
	tellOnce   atomic.Bool // a link that others feed has none
	over       atomic.Bool // waits end
	// elsewhere counts those that wait in an event loop of their own: for
	// them the housekeeper stays on the links' descriptors.
	elsewhere atomic.Int32

	poller      *link.Poller
	sleepers    sleepers
	housekeeper housekeeper
}

// Init makes d ready for use. spin is the default budget.
func (d *Driver) Init(host Host, clock Clock, spin time.Duration) {
	d.host, d.clock, d.spin = host, clock, spin
	d.poller = link.NewPoller()
	d.housekeeper.init()
	d.sleepers.pool.New = newSleeper
	d.Timers.init(d.WakeSleepers)
}

// Spin returns the default budget.
func (d *Driver) Spin() time.Duration { return d.spin }

// Reserve takes the descriptors that sleeping needs now: EMFILE or ENFILE if they are not
// to be had.
func (d *Driver) Reserve() error {
	for _, p := range []*link.Poller{d.poller, d.housekeeper.poller} {
		if err := p.Reserve(); err != nil {
			d.poller.Close()
			d.housekeeper.poller.Close()
			return err
		}
	}
	return nil
}

// Start has the housekeeper begin. It ends when closing is closed.
func (d *Driver) Start(closing <-chan struct{}) {
	d.housekeeper.closing = closing
	go d.keepHouse()
}

// LinksChanged takes in what the links are like now: whether none has a descriptor, and
// whether one that others feed has none.
func (d *Driver) LinksChanged(memoryOnly, tellOnce bool) {
	d.memoryOnly.Store(memoryOnly)
	d.tellOnce.Store(tellOnce)
}

// Elsewhere counts those who wait in event loops of their own.
func (d *Driver) Elsewhere(n int32) { d.elsewhere.Add(n) }

// Unlock releases the lock.
func (d *Driver) Unlock() {
	led := d.led
	d.led = false
	d.Lock.release(led)
}

// Released has the housekeeper look up, once the lock is released: whoever has led is
// leaving.
func (d *Driver) Released() {
	if d.housekeeper.parked.Load() {
		d.housekeeper.unpark()
	}
}

// Asked counts a look at the links, and now and then runs the timers that are due. Whoever
// asks them calls it first. The lock is held.
func (d *Driver) Asked() {
	d.led = true
	if d.rounds++; d.rounds%ClockEvery == 0 {
		d.RunTimers(d.clock.Now())
	}
}

// RunTimers runs the timers that are due. The lock is held.
func (d *Driver) RunTimers(now int64) {
	d.now = now
	d.host.RunTimers(now)
}

// WakeSleepers makes whoever sleeps on the links look again: a frame came by a
// link without a descriptor, or a deadline came nearer. Cheap if nobody sleeps.
func (d *Driver) WakeSleepers() {
	d.poller.Wake()
	d.housekeeper.poller.Wake()
	if p := d.sleepers.armed.Load(); p != nil {
		p.Wake()
	}
}

// Hurry has the housekeeper do its chores, wherever it is.
func (d *Driver) Hurry() { d.housekeeper.hurry() }

// End ends all waits, those to come too.
func (d *Driver) End() {
	d.over.Store(true)
	d.wakeEverybody()
	d.WakeSleepers()
}

// Over reports whether End was called.
func (d *Driver) Over() bool { return d.over.Load() }

// Ended waits for the end of the housekeeper, which has been told to end.
func (d *Driver) Ended() { <-d.housekeeper.done }

// Close gives the descriptors back.
func (d *Driver) Close() error {
	d.poller.Close()
	return d.housekeeper.poller.Close()
}
