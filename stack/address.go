package stack

import (
	"context"
	"net/netip"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// An AddressState is whether an interface's address is in use.
type AddressState = route.AddressState

// The states of an address. Only one that is in use is bound to, sent from, received for
// and answered for.
const (
	AddressAbsent  = route.AddressAbsent  // the interface has it not
	AddressInUse   = route.AddressInUse   // all is well
	AddressProbed  = route.AddressProbed  // probes are to show that nobody else has it (arp.Config.Probe)
	AddressRefused = route.AddressRefused // probes have shown that another host has it
	AddressAside   = route.AddressAside   // somebody else on this host has it: see AddressSuspended
)

// AddAddress gives the interface an address, "10.9.0.2/24": with it come the
// routes to its subnet and broadcast, and it is announced by ARP. With
// [arp.Config].Probe it is not in use before probes have shown that nobody else has it:
// see AwaitAddress.
//
// EEXIST: the interface has it already. ENODEV: the interface was removed. EINVAL: no
// host can have such an address. Errors that wrap EADDRINUSE: the host whose device the
// link is over has the address itself, or another process uses it there; the message
// says which ([InterfaceConfig].ShareAddresses is the way round). Errors that wrap
// EPERM: that host forwards, and nothing can keep it from answering for the stack
// ([link.Claimer]).
func (i *Interface) AddAddress(p netip.Prefix) error {
	if err := i.removed(); err != nil {
		return err
	}
	if !p.IsValid() || !p.Addr().Is4() {
		return unix.EINVAL
	}
	ready := false
	err := i.s.configure(func(n *route.Network) error {
		err := n.AddAddress(&i.dev.Device, p)
		ready = err == nil && n.State(&i.dev.Device, p) == AddressInUse
		return err
	})
	if err != nil {
		return err
	}
	if err := i.s.unclaimed(); err != nil {
		i.takeBack(p)
		return err
	}
	if i.announce(p.Addr().As4()) != arp.CauseNone {
		i.takeBack(p)
		return unix.EINVAL
	}
	if ready { // without probes
		i.tell(Event{Kind: AddressReady, Addr: p.Addr()})
	}
	return nil
}

// announce tells the neighbour table of an address that is the interface's from now on.
func (i *Interface) announce(ip ipv4.Addr) arp.Cause {
	if i.dev.Loopback {
		return arp.CauseNone
	}
	var c arp.Cause
	i.dev.Neighbours.Change(func(t *arp.Table, now int64) {
		c = t.AddAddress(now, ip)
		if i.dev.Info().State != link.Up {
			t.LinkDown() // probes would not leave: they wait for the link
		}
	})
	return c
}

// RemoveAddress takes an address from the interface: EADDRNOTAVAIL if it has
// not got it. Another one of the same subnet takes over what it brought. ENODEV: the
// interface was removed.
func (i *Interface) RemoveAddress(p netip.Prefix) error {
	err := i.takeBack(p)
	if err == nil {
		i.tell(Event{Kind: AddressRemoved, Addr: p.Addr()})
	}
	return err
}

// takeBack takes an address from the interface that nobody was told of.
func (i *Interface) takeBack(p netip.Prefix) error {
	err := i.s.configure(func(n *route.Network) error { return n.RemoveAddress(&i.dev.Device, p) })
	if err != nil {
		return err
	}
	i.forsake(p.Addr().As4())
	return nil
}

// forsake tells the neighbour table that an address is not the interface's any more.
func (i *Interface) forsake(ip ipv4.Addr) {
	i.dev.Neighbours.Change(func(t *arp.Table, _ int64) { t.RemoveAddress(ip) })
}

// Addresses returns the interface's addresses that are in use.
func (i *Interface) Addresses() []netip.Prefix {
	if i.removed() != nil {
		return nil
	}
	return i.s.routes.Net().Addresses(&i.dev.Device)
}

// AddressState returns the state of an address that AddAddress was called with.
func (i *Interface) AddressState(p netip.Prefix) AddressState {
	if i.removed() != nil {
		return AddressAbsent
	}
	return i.s.routes.Net().State(&i.dev.Device, p)
}

// AwaitAddress waits until an address that was added is in use, which with
// [arp.Config].Probe takes some seconds. EADDRINUSE: another host, or somebody else on
// this one, has it. EADDRNOTAVAIL: the interface has it not. ENODEV: the interface was
// removed. ENETDOWN: the stack is closed. Or it is the context's error.
func (i *Interface) AwaitAddress(ctx context.Context, p netip.Prefix) error {
	events := i.s.Subscribe(0)
	defer events.Close()
	for {
		if err := i.removed(); err != nil {
			return err
		}
		switch i.AddressState(p) {
		case AddressInUse:
			return nil
		case AddressRefused, AddressAside:
			return unix.EADDRINUSE
		case AddressAbsent:
			return unix.EADDRNOTAVAIL
		}
		select {
		case <-events.C: // whatever it is, the state says it
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// probed puts an address to use that has passed its probes, or says that another host,
// mac, has it. It returns false if no probes were under way. No lock is held.
func (i *Interface) probed(ip ipv4.Addr, free bool, mac link.MAC) bool {
	var all []netip.Prefix
	i.s.configure(func(n *route.Network) error {
		if all = n.Probed(&i.dev.Device, ip, free); len(all) == 0 {
			return unix.EALREADY
		}
		return nil
	})
	e := Event{Kind: AddressDuplicate, Addr: netip.AddrFrom4(ip), MAC: mac}
	if free {
		e.Kind = AddressReady
	}
	for range all {
		i.tell(e)
	}
	return len(all) > 0
}
