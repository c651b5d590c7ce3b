package stack

import (
	"net/netip"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/event"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// lostDevice returns what a route would have said to a datagram whose link says ENETDOWN:
// the device went down, or away, and the stack has not been told yet.
func (k *IPSocket) lostDevice() unix.Errno {
	return k.s.routes.Net().LostDevice(int32(k.Device()))
}

// linkChanged takes in the link's new properties. It is called by the link.
func (i *Interface) linkChanged() {
	s := i.s
	i.stateMu.Lock()
	old := i.dev.Info()
	info := i.dev.Link.Info()
	if info.State != link.Up {
		i.groups.WentDown()
	}
	i.dev.SetInfo(&info)
	if k := stateEvents[info.State]; k != stateEvents[old.State] {
		i.untold = append(i.untold, k)
	}
	i.dev.Neighbours.LinkChanged(old, &info)
	i.stateMu.Unlock()
	if info.State != old.State {
		_ = s.configure(func(*route.Network) error { return nil }) // a stack that is closed has none
	}
	i.renewGroups()
	s.routes.Generations.Changed()
	i.tellStates()
	s.drive.WakeSleepers()
	s.out.Rooms.Look()
	s.out.SendOutbox()
	if !info.State.Enabled() && old.State.Enabled() {
		s.tapsDown(i, false)
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

// A stack is a guest on the hosts whose devices its links are over: see route.Claimer.

// unclaimed returns why the host of a link answers for the stack, nil if none does.
func (s *Stack) unclaimed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.routes.Net().Unclaimed()
}

// hostAnswers is unclaimed for one interface.
func (i *Interface) hostAnswers() error {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	return i.dev.Unclaimed()
}

// hostChanged follows a link's host, whose addresses, or what it answers, have changed:
// an address that is the host's now is given up, so that the host's own connections
// live, and one that is not any more is taken back. It is called by the link, without
// locks.
func (i *Interface) hostChanged() {
	var changes []route.AddressChange
	var before error
	err := i.s.configure(func(n *route.Network) error {
		before = i.dev.Unclaimed()
		changes = n.Recheck()
		return nil
	})
	if err != nil {
		return // closed
	}
	for _, c := range changes {
		at, ip := interfaceOf(c.Device), c.Prefix.Addr().As4()
		e := Event{Kind: AddressSuspended, Addr: netip.AddrFrom4(ip), Err: c.Taken}
		if c.Taken != nil {
			at.forsake(ip)
		} else {
			at.announce(ip)
			e.Kind = AddressResumed
		}
		at.tell(e)
	}
	if now := i.hostAnswers(); now != nil && before == nil {
		i.tell(Event{Kind: HostAnswers, Err: now})
	}
}

// Gateways that have failed are passed over (route.Gateways). Each is asked each minute
// if it is there again.

// gatewayRetry is the time between two questions to a failed gateway, in nanoseconds:
// Linux forgets after gc_stale_time that a neighbour has failed.
const gatewayRetry = int64(60e9)

// gatewayChanged takes in that a neighbour has failed, or is there again. If it is a
// gateway that another stands in for, all find their way anew.
func (i *Interface) gatewayChanged(addr ipv4.Addr, failed bool) {
	s, at := i.s, route.Gateway{Index: i.dev.Index, Addr: addr}
	if !s.routes.Net().IsSpare(at) {
		return
	}
	changed, first := s.routes.Gateways.Set(at, failed)
	if first {
		s.timers.Set(s.gatewayTimer, s.clock.Now()+gatewayRetry)
	}
	if changed {
		s.routes.Generations.Changed()
	}
}

// retryGateways asks for the gateways that have failed. Those that answer are heard of by
// gatewayChanged. The first lane's lock is held.
func (s *Stack) retryGateways(now int64) {
	n, next := s.routes.Net(), int64(never)
	for _, at := range s.routes.Gateways.Failed() {
		i := interfaceOf(n.ByIndex(at.Index))
		if !n.IsSpare(at) || i == nil {
			s.routes.Gateways.Set(at, false) // no route leads there any more
			continue
		}
		next = now + gatewayRetry
		if i.dev.Neighbours.AskFor(now, at.Addr, n.Source(at.Addr, at.Index)) {
			i.gatewayChanged(at.Addr, false)
		}
	}
	s.timers.Set(s.gatewayTimer, next)
}

// An EventKind says what an [Event] is.
type EventKind = event.Kind

// The kinds of events.
const (
	// LinkUp, LinkDown, LinkGone: the interface's link carries frames again; does
	// not; has lost its device.
	LinkUp   = event.LinkUp
	LinkDown = event.LinkDown
	LinkGone = event.LinkGone
	// AddressReady: Addr is in use now. It was added, or has passed its probes (RFC 5227,
	// 2.1).
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
	// AddressRemoved: Addr is not the interface's any more.
	AddressRemoved = event.AddressRemoved
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
