package route

import (
	"net/netip"
	"slices"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

// A stack is a guest on the hosts whose devices its links are over. Its addresses belong
// to it and not to a device, so each is reserved and claimed on every link. All here is
// configuration: whoever calls it holds what guards that.

// Claimer returns the device's link as a link.Claimer, nil if there is none to ask, or
// nothing to ask it.
func (d *Device) Claimer() link.Claimer {
	if d.Loopback || d.keepsHost {
		return nil
	}
	return link.ClaimerOf(d.Link)
}

// Unclaimed returns why the host of the link answers for us, nil if it does not.
func (d *Device) Unclaimed() error { return d.unclaimed }

// Unclaimed returns why the host of any link answers for us, nil if none does.
func (n *Network) Unclaimed() error {
	for _, d := range n.Devices {
		if d.unclaimed != nil {
			return d.unclaimed
		}
	}
	return nil
}

// reserve reserves an address of a device on every link, or on none.
func (n *Network) reserve(of *Device, ip ipv4.Addr) error {
	for at, d := range n.Devices {
		if err := d.reserve(of, ip); err != nil {
			for _, done := range n.Devices[:at] {
				done.release(of, ip)
			}
			return err
		}
	}
	return nil
}

// release undoes reserve.
func (n *Network) release(of *Device, ip ipv4.Addr) {
	for _, d := range n.Devices {
		d.release(of, ip)
	}
}

// guarded returns whom to ask on this device for an address of another, or of its own.
func (d *Device) guarded(of *Device, ip ipv4.Addr) link.Claimer {
	if d.shares || of.shares || ip.IsLoopback() {
		return nil
	}
	return d.Claimer()
}

func (d *Device) reserve(of *Device, ip ipv4.Addr) error {
	if c := d.guarded(of, ip); c != nil {
		return c.ReserveAddress(ip)
	}
	return nil
}

func (d *Device) release(of *Device, ip ipv4.Addr) {
	if c := d.guarded(of, ip); c != nil {
		c.ReleaseAddress(ip)
	}
}

// taken returns why an address of a device is not ours alone any more.
func (n *Network) taken(of *Device, ip ipv4.Addr) error {
	for _, d := range n.Devices {
		if c := d.guarded(of, ip); c != nil {
			if err := c.AddressTaken(ip); err != nil {
				return err
			}
		}
	}
	return nil
}

// reserveAll reserves all addresses on a device that is new.
func (n *Network) reserveAll(d *Device) error {
	all := n.everyAddress()
	for at, a := range all {
		if err := d.reserve(a.dev, a.ip()); err != nil {
			for _, done := range all[:at] {
				d.release(done.dev, done.ip())
			}
			return err
		}
	}
	return nil
}

// releaseAll gives up, on all links, the addresses of a device that goes, and on its
// link those of others.
func (n *Network) releaseAll(gone *Device) {
	for _, a := range n.everyAddress() {
		if a.dev == gone {
			n.release(gone, a.ip())
		} else {
			gone.release(a.dev, a.ip())
		}
	}
}

// everyAddress returns all addresses, in use and not.
func (n *Network) everyAddress() []held {
	var all []held
	for _, d := range n.Devices {
		for _, a := range n.allAddresses {
			if a.Iface == int(d.Index) {
				all = append(all, held{a.Prefix, d, AddressInUse})
			}
		}
	}
	return append(all, n.idle...)
}

// Claim tells every link what is ours. An address that is probed for is claimed too: it
// is nobody else's on the host.
func (n *Network) Claim() {
	var claimed [][4]byte
	for _, a := range n.everyAddress() {
		ip := a.ip()
		if (a.state == AddressInUse || a.state == AddressProbed) && !ip.IsLoopback() && !slices.Contains(claimed, [4]byte(ip)) {
			claimed = append(claimed, ip)
		}
	}
	for _, d := range n.Devices {
		if c := d.Claimer(); c != nil {
			d.unclaimed = c.Claim(claimed)
		}
	}
}

// An AddressChange is what Recheck has done with an address.
type AddressChange struct {
	Device *Device
	Prefix netip.Prefix
	// Taken says why it was given up; nil: it is ours again.
	Taken error
}

// Recheck gives up the addresses that are their hosts' now, so that the hosts' own
// connections live, and takes back those that are not any more.
func (n *Network) Recheck() (changes []AddressChange) {
	for _, a := range n.everyAddress() {
		err := n.taken(a.dev, a.ip())
		if (err != nil) == (a.state == AddressAside) {
			continue
		}
		n.idle = slices.DeleteFunc(n.idle, func(o held) bool { return o.dev == a.dev && o.prefix == a.prefix })
		if err != nil {
			n.disuse(a.dev, a.prefix)
			n.idle = append(n.idle, held{a.prefix, a.dev, AddressAside})
		} else {
			n.place(a.dev, a.prefix)
		}
		changes = append(changes, AddressChange{a.dev, a.prefix, err})
	}
	return changes
}
