package stack

import "github.com/outband/outband/stack/internal/event"

// An EventKind says what an [Event] is.
type EventKind = event.Kind

// The kinds of events.
const (
	// LinkUp, LinkDown, LinkGone: the interface's link carries frames again; does
	// not; has lost its device.
	LinkUp   = event.LinkUp
	LinkDown = event.LinkDown
	LinkGone = event.LinkGone
	// AddressReady: Addr has passed its probes and is in use now (RFC 5227, 2.1).
	AddressReady = event.AddressReady
	// AddressDuplicate: probes have shown that MAC has Addr. It is not used.
	AddressDuplicate = event.AddressDuplicate
	// AddressConflict: MAC uses our address Addr, which is defended (RFC 5227, 2.4).
	AddressConflict = event.AddressConflict
	// AddressSuspended: somebody else on this host has Addr now, as Err says: the
	// stack has given it up, until AddressResumed.
	AddressSuspended = event.AddressSuspended
	// AddressResumed: Addr is the stack's alone again, and in use.
	AddressResumed = event.AddressResumed
	// HostAnswers: the link cannot keep the host's own IP layer off the stack's
	// datagrams, and that forwards, so it answers too. Err says more.
	HostAnswers = event.HostAnswers
	// NeighbourUp: the neighbour Addr has the hardware address MAC now.
	NeighbourUp = event.NeighbourUp
	// NeighbourFailed: the neighbour Addr does not answer.
	NeighbourFailed = event.NeighbourFailed
)

// An Event is something that has happened to an interface, for programs to act on
// and for people to read. Kind says which of the fields have a meaning.
type Event = event.Event

// A Subscription brings a stack's events from the moment when it was made.
type Subscription = event.Subscription

// DefaultEvents is how many events wait in a Subscription if Subscribe is not told.
const DefaultEvents = event.Default

// Subscribe returns a new subscription to the stack's events, of which up to n wait
// to be fetched from its channel, DefaultEvents if n is not positive. Events for
// which there is no room are lost to it, and counted: the stack waits for nobody.
func (s *Stack) Subscribe(n int) *Subscription { return s.subscriptions.Subscribe(n) }

// wantsNeighbours reports whether anybody listens to what neighbour tables report:
// programs, or the choice of gateways.
func (s *Stack) wantsNeighbours() bool {
	return s.subscriptions.Any() || s.routes.Net().HasSpares()
}

// reportNeighbours has the neighbour tables report if, and only if, anybody listens.
func (s *Stack) reportNeighbours() {
	for _, i := range s.Interfaces() {
		i.reportNeighbours()
	}
}

func (i *Interface) reportNeighbours() { i.dev.Neighbours.SetReport(i.s.wantsNeighbours()) }

// tell gives an event to all who listen. It never waits; any lock may be held.
func (i *Interface) tell(e Event) {
	if !i.s.subscriptions.Any() {
		return
	}
	e.Time, e.Index, e.Name = i.s.clock.Now(), i.Index(), i.Name()
	i.s.subscriptions.Tell(e)
}
