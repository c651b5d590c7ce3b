package route

import (
	"net/netip"
	"slices"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// An AddressState is whether a device's address is in use.
type AddressState uint8

// The states of an address. Only one that is in use is bound to, sent from, received for
// and answered for.
const (
	AddressAbsent  AddressState = iota // the device has it not
	AddressInUse                       // all is well
	AddressProbed                      // probes are to show that nobody else has it (arp.Config.Probe)
	AddressRefused                     // probes have shown that another host has it
	AddressAside                       // somebody else on this host has it
)

// held is an address that a device has, in use or not.
type held struct {
	prefix netip.Prefix
	dev    *Device
	state  AddressState
}

func (a held) ip() ipv4.Addr { return a.prefix.Addr().As4() }

// AddAddress gives a device an address: see stack.Interface.AddAddress. ENODEV: the
// device is not of the network. EEXIST: it has the address. Other errors are
// link.Claimer's.
func (n *Network) AddAddress(d *Device, p netip.Prefix) error {
	if !slices.Contains(n.Devices, d) {
		return unix.ENODEV
	}
	if n.State(d, p) != AddressAbsent {
		return unix.EEXIST
	}
	if err := n.reserve(d, p.Addr().As4()); err != nil {
		return err
	}
	return n.place(d, p)
}

// RemoveAddress takes an address from a device: EADDRNOTAVAIL if it has not got it.
// Another one of the same subnet takes over what it brought. ENODEV: the device is not
// of the network.
func (n *Network) RemoveAddress(d *Device, p netip.Prefix) error {
	if !slices.Contains(n.Devices, d) {
		return unix.ENODEV
	}
	if n.State(d, p) == AddressAbsent {
		return unix.EADDRNOTAVAIL
	}
	n.idle = slices.DeleteFunc(n.idle, func(a held) bool { return a.dev == d && a.prefix == p })
	n.release(d, p.Addr().As4())
	return n.disuse(d, p)
}

// place gives the device an address that it has not got, to be used at once or after
// probes.
func (n *Network) place(d *Device, p netip.Prefix) error {
	if d.probes && !d.Loopback {
		n.idle = append(n.idle, held{p, d, AddressProbed})
		return nil
	}
	return n.use(d, p)
}

// use puts an address to use.
func (n *Network) use(d *Device, p netip.Prefix) error {
	a := ipv4.NewAddress(p, int(d.Index), n.allAddresses)
	n.allAddresses = append(n.allAddresses, a)
	return n.insertRoutes(a)
}

// insertRoutes adds the routes that an address brings along.
func (n *Network) insertRoutes(a ipv4.Address) error {
	for _, r := range a.Routes() {
		if err := n.allRoutes.Insert(r); err != nil && err != unix.EEXIST {
			return err
		}
	}
	return nil
}

// disuse ends the use of an address, if it is in use.
func (n *Network) disuse(d *Device, p netip.Prefix) error {
	at := slices.IndexFunc(n.allAddresses, func(a ipv4.Address) bool { return a.Iface == int(d.Index) && a.Prefix == p })
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

// State returns how far an address of the device is.
func (n *Network) State(d *Device, p netip.Prefix) AddressState {
	for _, a := range n.allAddresses {
		if a.Iface == int(d.Index) && a.Prefix == p {
			return AddressInUse
		}
	}
	for _, a := range n.idle {
		if a.dev == d && a.prefix == p {
			return a.state
		}
	}
	return AddressAbsent
}

// Probed puts an address of the device to use that has passed its probes, or says that
// another host has it. It returns under which prefixes it was probed for, none if no
// probes were under way.
func (n *Network) Probed(d *Device, ip ipv4.Addr, free bool) []netip.Prefix {
	var all []netip.Prefix
	for at := range n.idle {
		a := &n.idle[at]
		if a.dev != d || a.state != AddressProbed || a.ip() != ip {
			continue
		}
		all = append(all, a.prefix)
		a.state = AddressRefused
		if free {
			a.state = AddressInUse
		}
	}
	n.idle = slices.DeleteFunc(n.idle, func(a held) bool { return a.state == AddressInUse })
	for _, p := range all {
		if free {
			n.use(d, p) // it was free, and its routes can be
		}
	}
	return all
}
