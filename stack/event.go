package stack

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/link"
)

// An EventKind says what an [Event] is.
type EventKind uint8

// The kinds of events.
const (
	// LinkUp, LinkDown, LinkGone: the interface's link carries frames again; does
	// not; has lost its device.
	LinkUp EventKind = iota + 1
	LinkDown
	LinkGone
	// AddressReady: Addr has passed its probes and is in use now (RFC 5227, 2.1).
	AddressReady
	// AddressDuplicate: probes have shown that MAC has Addr. It is not used.
	AddressDuplicate
	// AddressConflict: MAC uses our address Addr, which is defended (RFC 5227, 2.4).
	AddressConflict
	// AddressSuspended: somebody else on this host has Addr now, as Err says: the
	// stack has given it up, until AddressResumed.
	AddressSuspended
	// AddressResumed: Addr is the stack's alone again, and in use.
	AddressResumed
	// HostAnswers: the link cannot keep the host's own IP layer off the stack's
	// datagrams, and that forwards, so it answers too. Err says more.
	HostAnswers
	// NeighbourUp: the neighbour Addr has the hardware address MAC now.
	NeighbourUp
	// NeighbourFailed: the neighbour Addr does not answer.
	NeighbourFailed
)

// An Event is something that has happened to an interface, for programs to act on
// and for people to read. Kind says which of the fields have a meaning.
type Event struct {
	Kind  EventKind
	Time  int64  // when, in nanoseconds of the stack's clock
	Index int    // the interface's index
	Name  string // and name
	Addr  netip.Addr
	MAC   link.MAC
	Err   error
}

// String returns the event as one line for people, without a time.
func (e Event) String() string {
	mac := net.HardwareAddr(e.MAC[:])
	switch e.Kind {
	case LinkUp:
		return e.Name + ": link is up"
	case LinkDown:
		return e.Name + ": link is down"
	case LinkGone:
		return e.Name + ": device is gone"
	case AddressReady:
		return fmt.Sprintf("%s: nobody else has %s: it is in use", e.Name, e.Addr)
	case AddressDuplicate:
		return fmt.Sprintf("%s: %s has %s already: it is not used", e.Name, mac, e.Addr)
	case AddressConflict:
		return fmt.Sprintf("%s: %s uses our address %s too", e.Name, mac, e.Addr)
	case AddressSuspended:
		return fmt.Sprintf("%s: %s is given up: %v", e.Name, e.Addr, e.Err)
	case AddressResumed:
		return fmt.Sprintf("%s: %s is ours alone again: it is in use", e.Name, e.Addr)
	case HostAnswers:
		return fmt.Sprintf("%s: %v", e.Name, e.Err)
	case NeighbourUp:
		return fmt.Sprintf("%s: neighbour %s is at %s", e.Name, e.Addr, mac)
	case NeighbourFailed:
		return fmt.Sprintf("%s: neighbour %s does not answer", e.Name, e.Addr)
	}
	return fmt.Sprintf("%s: event %d", e.Name, e.Kind)
}

// A Subscription brings a stack's events from the moment when it was made.
type Subscription struct {
	// C brings the events, oldest first. It is closed by Close, and when the stack
	// is closed, after the last event.
	C <-chan Event

	s    *Stack
	c    chan Event
	lost atomic.Uint64
}

// DefaultEvents is how many events wait in a Subscription if Subscribe is not told.
const DefaultEvents = 256

// subscriptions are who listens to events.
type subscriptions struct {
	mu   sync.Mutex // a leaf: who sends to a channel, or closes it, holds it
	all  []*Subscription
	any  atomic.Bool // there is one
	lost atomic.Uint64
	shut bool // the stack is closed
}

// Subscribe returns a new subscription to the stack's events, of which up to n wait
// to be fetched from its channel, DefaultEvents if n is not positive. Events for
// which there is no room are lost to it, and counted: the stack waits for nobody.
func (s *Stack) Subscribe(n int) *Subscription {
	if n <= 0 {
		n = DefaultEvents
	}
	c := make(chan Event, n)
	u := &Subscription{C: c, s: s, c: c}
	l := &s.subscriptions
	l.mu.Lock()
	if l.shut {
		close(c)
	} else {
		l.all = append(l.all, u)
		l.any.Store(true)
	}
	l.mu.Unlock()
	s.reportNeighbours()
	return u
}

// Lost returns how many events found no room.
func (u *Subscription) Lost() uint64 { return u.lost.Load() }

// Close ends the subscription. What waits in the channel can still be fetched.
// Calls after the first, or after the stack's Close, do nothing.
func (u *Subscription) Close() {
	l := &u.s.subscriptions
	l.mu.Lock()
	if at := slices.Index(l.all, u); at >= 0 {
		l.all = slices.Delete(l.all, at, at+1)
		l.any.Store(len(l.all) > 0)
		close(u.c)
	}
	l.mu.Unlock()
	u.s.reportNeighbours()
}

// wantsNeighbours reports whether anybody listens to what neighbour tables report:
// programs, or the choice of gateways.
func (s *Stack) wantsNeighbours() bool {
	return s.subscriptions.any.Load() || s.routes.Net().HasSpares()
}

// reportNeighbours has the neighbour tables report if, and only if, anybody listens.
func (s *Stack) reportNeighbours() {
	for _, i := range s.Interfaces() {
		i.reportNeighbours()
	}
}

func (i *Interface) reportNeighbours() { i.dev.Neighbours.SetReport(i.s.wantsNeighbours()) }

// shutDown ends all subscriptions: the stack is closed.
func (l *subscriptions) shutDown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range l.all {
		close(u.c)
	}
	l.all, l.shut = nil, true
	l.any.Store(false)
}

// tell gives an event to all who listen. It never waits; any lock may be held.
func (i *Interface) tell(e Event) {
	l := &i.s.subscriptions
	if !l.any.Load() {
		return
	}
	e.Time, e.Index, e.Name = i.s.clock.Now(), i.Index(), i.Name()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range l.all {
		select {
		case u.c <- e:
		default:
			u.lost.Add(1)
			l.lost.Add(1)
		}
	}
}

// stateEvents are the kinds of event that tell of a link's state.
var stateEvents = map[link.State]EventKind{link.Up: LinkUp, link.Down: LinkDown, link.NoCarrier: LinkDown, link.Gone: LinkGone}

// tellStates tells of the changes of the link's state, in their order. By now they
// count: who hears of one finds the routes as they are with it.
func (i *Interface) tellStates() {
	i.stateMu.Lock()
	defer i.stateMu.Unlock()
	for _, k := range i.untold {
		i.tell(Event{Kind: k})
	}
	i.untold = i.untold[:0]
}
