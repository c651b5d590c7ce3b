package stack

import (
	"net/netip"
	"slices"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

// A stack is a guest on the hosts whose devices its links are over. Its addresses belong
// to it and not to an interface, so each is reserved and claimed on every link. All here
// is configuration: Stack.mu is held.

// claimer returns the interface's link as a link.Claimer, nil if there is none to ask.
func (i *Interface) claimer() link.Claimer {
	if i.loopback {
		return nil
	}
	return link.ClaimerOf(i.link)
}

// reserve reserves an address of an interface on every link, or on none.
func (n *network) reserve(of *Interface, ip ipv4.Addr) error {
	for at, i := range n.interfaces {
		if err := n.reserveOn(i, of, ip); err != nil {
			for _, done := range n.interfaces[:at] {
				n.releaseOn(done, of, ip)
			}
			return err
		}
	}
	return nil
}

// release undoes reserve.
func (n *network) release(of *Interface, ip ipv4.Addr) {
	for _, i := range n.interfaces {
		n.releaseOn(i, of, ip)
	}
}

// guarded returns whom to ask on interface i for an address of interface of.
func guarded(i, of *Interface, ip ipv4.Addr) link.Claimer {
	if i.shares || of.shares || ip.IsLoopback() {
		return nil
	}
	return i.claimer()
}

func (n *network) reserveOn(i, of *Interface, ip ipv4.Addr) error {
	if c := guarded(i, of, ip); c != nil {
		return c.ReserveAddress(ip)
	}
	return nil
}

func (n *network) releaseOn(i, of *Interface, ip ipv4.Addr) {
	if c := guarded(i, of, ip); c != nil {
		c.ReleaseAddress(ip)
	}
}

// taken returns why an address of an interface is not ours alone any more.
func (n *network) taken(of *Interface, ip ipv4.Addr) error {
	for _, i := range n.interfaces {
		if c := guarded(i, of, ip); c != nil {
			if err := c.AddressTaken(ip); err != nil {
				return err
			}
		}
	}
	return nil
}

// reserveAll reserves all addresses on an interface that is new.
func (n *network) reserveAll(i *Interface) error {
	all := n.everyAddress()
	for at, a := range all {
		if err := n.reserveOn(i, a.iface, a.prefix.Addr().As4()); err != nil {
			for _, done := range all[:at] {
				n.releaseOn(i, done.iface, done.prefix.Addr().As4())
			}
			return err
		}
	}
	return nil
}

// releaseAll gives up, on all links, the addresses of an interface that goes, and on its
// link those of others.
func (n *network) releaseAll(gone *Interface) {
	for _, a := range n.everyAddress() {
		if ip := a.prefix.Addr().As4(); a.iface == gone {
			n.release(gone, ip)
		} else {
			n.releaseOn(gone, a.iface, ip)
		}
	}
}

// everyAddress returns all addresses, in use and not.
func (n *network) everyAddress() []idleAddress {
	var all []idleAddress
	for _, i := range n.interfaces {
		for _, a := range n.allAddresses {
			if a.Iface == int(i.index) {
				all = append(all, idleAddress{a.Prefix, i, AddressInUse})
			}
		}
	}
	return append(all, n.idle...)
}

// claim tells every link what is ours. An address that is probed for is claimed too: it
// is nobody else's on the host.
func (n *network) claim() {
	var claimed [][4]byte
	for _, a := range n.everyAddress() {
		ip := a.prefix.Addr().As4()
		if (a.state == AddressInUse || a.state == AddressProbed) && !ipv4.Addr(ip).IsLoopback() && !slices.Contains(claimed, ip) {
			claimed = append(claimed, ip)
		}
	}
	for _, i := range n.interfaces {
		if c := i.claimer(); c != nil {
			i.unclaimed = c.Claim(claimed)
		}
	}
}

// unclaimed returns why the host of a link answers for the stack, nil if none does.
func (s *Stack) unclaimed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.net.Load().interfaces {
		if i.unclaimed != nil {
			return i.unclaimed
		}
	}
	return nil
}

// hostAnswers is unclaimed for one interface.
func (i *Interface) hostAnswers() error {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	return i.unclaimed
}

// An addressChange is what hostChanged has done with an address.
type addressChange struct {
	idleAddress
	err error // AddressSuspended's
}

// hostChanged follows a link's host, whose addresses, or what it answers, have changed:
// an address that is the host's now is given up, so that the host's own connections
// live, and one that is not any more is taken back. It is called by the link, without
// locks.
func (i *Interface) hostChanged() {
	var changes []addressChange
	var before error
	err := i.s.configure(func(n *network) error {
		before = i.unclaimed
		for _, a := range n.everyAddress() {
			err := n.taken(a.iface, a.prefix.Addr().As4())
			if (err != nil) == (a.state == AddressAside) {
				continue
			}
			n.idle = slices.DeleteFunc(n.idle, func(o idleAddress) bool { return o.iface == a.iface && o.prefix == a.prefix })
			if err != nil {
				n.disuse(a.iface, a.prefix)
				n.idle = append(n.idle, idleAddress{a.prefix, a.iface, AddressAside})
			} else {
				n.place(a.iface, a.prefix)
			}
			changes = append(changes, addressChange{a, err})
		}
		return nil
	})
	if err != nil {
		return // closed
	}
	for _, c := range changes {
		ip := c.prefix.Addr().As4()
		e := Event{Kind: AddressSuspended, Addr: netip.AddrFrom4(ip), Err: c.err}
		if c.err != nil {
			c.iface.forsake(ip)
		} else {
			c.iface.announce(ip)
			e.Kind = AddressResumed
		}
		c.iface.tell(e)
	}
	if now := i.hostAnswers(); now != nil && before == nil {
		i.tell(Event{Kind: HostAnswers, Err: now})
	}
}
