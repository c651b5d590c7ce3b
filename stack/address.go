package stack

import (
	"context"
	"net/netip"
	"slices"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// An AddressState is whether an interface's address is in use.
type AddressState uint8

// The states of an address. Only one that is in use is bound to, sent from, received for
// and answered for.
const (
	AddressAbsent  AddressState = iota // the interface has it not
	AddressInUse                       // all is well
	AddressProbed                      // probes are to show that nobody else has it (arp.Config.Probe)
	AddressRefused                     // probes have shown that another host has it
	AddressAside                       // somebody else on this host has it: see AddressSuspended
)

// An idleAddress is an address that is not in use.
type idleAddress struct {
	prefix netip.Prefix
	iface  *Interface
	state  AddressState
}

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
	err := i.s.configure(func(n *network) error {
		if !slices.Contains(n.interfaces, i) {
			return unix.ENODEV
		}
		if n.state(i, p) != AddressAbsent {
			return unix.EEXIST
		}
		if err := n.reserve(i, p.Addr().As4()); err != nil {
			return err
		}
		return n.place(i, p)
	})
	if err != nil {
		return err
	}
	if err := i.s.unclaimed(); err != nil {
		i.RemoveAddress(p)
		return err
	}
	if i.announce(p.Addr().As4()) != arp.CauseNone {
		i.RemoveAddress(p)
		return unix.EINVAL
	}
	return nil
}

// announce tells the neighbour table of an address that is the interface's from now on.
func (i *Interface) announce(ip ipv4.Addr) arp.Cause {
	if i.loopback {
		return arp.CauseNone
	}
	i.neighMu.Lock()
	c := i.neigh.AddAddress(i.s.clock.Now(), ip)
	if i.info.Load().State != link.Up {
		i.neigh.LinkDown() // probes would not leave: they wait for the link
	}
	i.postEventsLocked()
	deadline := i.neigh.Deadline()
	i.neighMu.Unlock()
	i.s.timers.set(i.neighTimer, deadline)
	i.s.sendOutbox()
	return c
}

// place gives the interface an address that it has not got, to be used at once or after
// probes.
func (n *network) place(i *Interface, p netip.Prefix) error {
	if i.probes && !i.loopback {
		n.idle = append(n.idle, idleAddress{p, i, AddressProbed})
		return nil
	}
	return n.use(i, p)
}

// use puts an address to use.
func (n *network) use(i *Interface, p netip.Prefix) error {
	a := ipv4.NewAddress(p, int(i.index), n.allAddresses)
	n.allAddresses = append(n.allAddresses, a)
	return n.insertRoutes(a)
}

// insertRoutes adds the routes that an address brings along.
func (n *network) insertRoutes(a ipv4.Address) error {
	for _, r := range a.Routes() {
		if err := n.allRoutes.Insert(r); err != nil && err != unix.EEXIST {
			return err
		}
	}
	return nil
}

// RemoveAddress takes an address from the interface: EADDRNOTAVAIL if it has
// not got it. Another one of the same subnet takes over what it brought. ENODEV: the
// interface was removed.
func (i *Interface) RemoveAddress(p netip.Prefix) error {
	err := i.s.configure(func(n *network) error {
		if !slices.Contains(n.interfaces, i) {
			return unix.ENODEV
		}
		if n.state(i, p) == AddressAbsent {
			return unix.EADDRNOTAVAIL
		}
		n.idle = slices.DeleteFunc(n.idle, func(a idleAddress) bool { return a.iface == i && a.prefix == p })
		n.release(i, p.Addr().As4())
		return n.disuse(i, p)
	})
	if err != nil {
		return err
	}
	i.forsake(p.Addr().As4())
	return nil
}

// forsake tells the neighbour table that an address is not the interface's any more.
func (i *Interface) forsake(ip ipv4.Addr) {
	i.neighMu.Lock()
	i.neigh.RemoveAddress(ip)
	i.neighMu.Unlock()
}

// disuse ends the use of an address, if it is in use.
func (n *network) disuse(i *Interface, p netip.Prefix) error {
	at := slices.IndexFunc(n.allAddresses, func(a ipv4.Address) bool { return a.Iface == int(i.index) && a.Prefix == p })
	if at < 0 {
		return nil
	}
	for _, r := range n.allAddresses[at].Routes() {
		n.allRoutes.Delete(r)
	}
	rest := slices.Delete(n.allAddresses, at, at+1)
	n.allAddresses = nil
	for _, a := range rest {
		a = ipv4.NewAddress(a.Prefix, a.Iface, n.allAddresses)
		n.allAddresses = append(n.allAddresses, a)
		if err := n.insertRoutes(a); err != nil {
			return err
		}
	}
	return nil
}

// state returns how far an address of the interface is.
func (n *network) state(i *Interface, p netip.Prefix) AddressState {
	for _, a := range n.allAddresses {
		if a.Iface == int(i.index) && a.Prefix == p {
			return AddressInUse
		}
	}
	for _, a := range n.idle {
		if a.iface == i && a.prefix == p {
			return a.state
		}
	}
	return AddressAbsent
}

// Addresses returns the interface's addresses that are in use.
func (i *Interface) Addresses() []netip.Prefix {
	if i.removed() != nil {
		return nil
	}
	var out []netip.Prefix
	for _, a := range i.s.net.Load().allAddresses {
		if a.Iface == int(i.index) {
			out = append(out, a.Prefix)
		}
	}
	return out
}

// AddressState returns the state of an address that AddAddress was called with.
func (i *Interface) AddressState(p netip.Prefix) AddressState {
	if i.removed() != nil {
		return AddressAbsent
	}
	return i.s.net.Load().state(i, p)
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
	i.s.configure(func(n *network) error {
		for at := range n.idle {
			a := &n.idle[at]
			if a.iface != i || a.state != AddressProbed || a.prefix.Addr().As4() != ip {
				continue
			}
			all = append(all, a.prefix)
			a.state = AddressRefused
			if free {
				a.state = AddressInUse
			}
		}
		if len(all) == 0 {
			return unix.EALREADY
		}
		n.idle = slices.DeleteFunc(n.idle, func(a idleAddress) bool { return a.state == AddressInUse })
		for _, p := range all {
			if free {
				n.use(i, p) // it was free, and its routes can be
			}
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
