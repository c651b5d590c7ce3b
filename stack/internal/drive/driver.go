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

// A Host is what is driven: its lanes, and what they have in common.
type Host interface {
	// RunTimers runs the timers that are due at now. The first lane's lock is held.
	RunTimers(now int64)
	// Links returns what to sleep on, those of all lanes.
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

// A Driver drives the lanes of a stack. Each has a leader of its own; who sleeps does so
// on the links of all.
type Driver struct {
	Timers Timers

	host  Host
	clock Clock
	spin  time.Duration // the default budget
	lanes atomic.Pointer[[]*Lane]
	// spinners counts calls that go from lane to lane, and have found nothing so far.
	spinners atomic.Int32

	prompt func() // link.Prompter's, nil if there is none

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

// SetPrompt has f be what Prompt calls. It is for before d is used.
func (d *Driver) SetPrompt(f func()) { d.prompt = f }

// Prompt says that a call begins which may look at the links but once. Wait and Poll do it
// by themselves for such calls.
func (d *Driver) Prompt() {
	if d.prompt != nil {
		d.prompt()
	}
}

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

// Released has the housekeeper look up, once a lane's lock is released: whoever has led is
// leaving.
func (d *Driver) Released() {
	if d.housekeeper.parked.Load() {
		d.housekeeper.unpark()
	}
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
