// Package event has what happens to interfaces, and brings it to those who listen.
package event

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/outband/outband/link"
)

// A Kind says what an [Event] is.
type Kind uint8

// The kinds of events.
const (
	// LinkUp, LinkDown, LinkGone: the interface's link carries frames again; does
	// not; has lost its device.
	LinkUp Kind = iota + 1
	LinkDown
	LinkGone
	// AddressReady: Addr is in use now. It was added, or has passed its probes (RFC 5227,
	// 2.1).
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
	// AddressRemoved: Addr is not the interface's any more.
	AddressRemoved
)

// kinds are the names of kinds, for logs and programs that read them.
var kinds = [...]string{
	LinkUp: "link-up", LinkDown: "link-down", LinkGone: "link-gone",
	AddressReady: "address-ready", AddressDuplicate: "address-duplicate", AddressConflict: "address-conflict",
	AddressSuspended: "address-suspended", AddressResumed: "address-resumed", AddressRemoved: "address-removed",
	HostAnswers: "host-answers", NeighbourUp: "neighbour-up", NeighbourFailed: "neighbour-failed",
}

// String returns a name such as "link-up".
func (k Kind) String() string {
	if int(k) < len(kinds) && kinds[k] != "" {
		return kinds[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// An Event is something that has happened to an interface, for programs to act on
// and for people to read. Kind says which of the fields have a meaning.
type Event struct {
	Kind  Kind
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
		return fmt.Sprintf("%s: %s is in use", e.Name, e.Addr)
	case AddressRemoved:
		return fmt.Sprintf("%s: %s is removed", e.Name, e.Addr)
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
	return fmt.Sprintf("%s: %s", e.Name, e.Kind)
}
