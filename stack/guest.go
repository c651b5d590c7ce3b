package stack

import (
	"net/netip"

	"github.com/outband/outband/stack/internal/route"
)

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
