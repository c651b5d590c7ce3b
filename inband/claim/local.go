package claim

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetLocal says which addresses the host has, and which broadcast addresses: all of them
// each time. Sockets that are bound to no address get datagrams to these, and to groups
// and 255.255.255.255; on lo, to whatever address, as the kernel has it. ENOBUFS: more
// than 16384, of which nothing is taken over.
func (c *Claims) SetLocal(addresses, broadcasts [][4]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	want := make(map[[4]byte]uint32, len(addresses)+len(broadcasts))
	for _, a := range broadcasts {
		want[a] = addressMany
	}
	for _, a := range addresses { // with a prefix of 31 or 32 bits it may be both
		want[a] = addressOwn
	}
	if len(want) > maxAddresses {
		return fmt.Errorf("too many addresses: %w", unix.ENOBUFS)
	}
	// What stays is never away.
	var changed [][4]byte
	for a, v := range want {
		if c.table.hosts[a] != v {
			changed = append(changed, a)
		}
	}
	for a := range c.table.hosts {
		if want[a] == 0 {
			changed = append(changed, a)
		}
	}
	c.table.hosts = want
	return c.syncAddressesLocked(changed)
}

// syncAddressesLocked makes programs and sets say of addresses what the table says.
func (c *Claims) syncAddressesLocked(changed [][4]byte) error {
	for _, a := range changed {
		if c.maps != nil {
			if err := c.maps.syncAddress(&c.table, a); err != nil {
				return err
			}
		}
		if c.nft != nil {
			c.nft.syncAddress(&c.table, a)
		}
	}
	if c.maps != nil {
		c.maps.syncNear(c.table.hosts)
	}
	return c.syncNFTLocked()
}

// Widen has the rings take more than claims, as raw and packet sockets want it, until
// narrow is called. It counts: a width goes with the last that wants it.
func (c *Claims) Widen(w Width) (narrow func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	if w < 0 || int(w) >= widths {
		return nil, unix.EINVAL
	}
	return c.holdLocked(func(by int) error { return c.widenLocked(w, by) })
}

func (c *Claims) widenLocked(w Width, by int) error {
	c.widths[w] += by
	if c.maps != nil {
		c.maps.widths[w] = byte(min(c.widths[w], 1))
		c.maps.widths[wideAt] = byte(min(c.widths[unix.IPPROTO_UDP]+c.widths[AllIPv4]+c.widths[Everything]+c.widths[Promiscuous], 1))
	}
	return c.classifyLocked()
}

// AddIdent has the rings take echo replies with an identifier, and errors about echoes
// with it, for an open ping socket, until release is called. It counts.
func (c *Claims) AddIdent(ident uint16) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	return c.holdLocked(func(by int) error { return c.identLocked(ident, by) })
}

func (c *Claims) identLocked(ident uint16, by int) error {
	c.table.countIdent(ident, by)
	if c.maps != nil {
		c.maps.ports[ident] = c.table.flags(ident)
	}
	return c.classifyLocked()
}

// holdLocked makes a change by 1, and returns what undoes it once.
func (c *Claims) holdLocked(change func(by int) error) (undo func(), err error) {
	if err := change(1); err != nil {
		change(-1)
		return nil, err
	}
	held := true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if held && !c.closed {
			held = false
			change(-1)
		}
	}, nil
}
