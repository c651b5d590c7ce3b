package claim

import (
	"errors"
	"fmt"

	"github.com/outband/outband/internal/ebpf"
	"golang.org/x/sys/unix"
)

// A device is one at whose ingress claims hold.
type device struct {
	rung  Rung
	tcx   *ebpf.Link
	chain string // of nf_tables
	why   error  // why it is not the best rung there is
}

// Attach makes the claims hold at the ingress of the device with that index and name, by
// the best rung that the device does not refuse. Call it again when the device was made
// anew or renamed. ENODEV: there is no such device. ENOBUFS: 256 devices have claims.
func (c *Claims) Attach(index int, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	d := c.devices[index]
	if d != nil && d.tcx != nil && d.tcx.Device() == index {
		return nil // a program stays through a change of name
	}
	if d == nil && len(c.devices) >= maxDevices {
		return fmt.Errorf("too many devices: %w", unix.ENOBUFS)
	}
	c.detachLocked(index)
	d, err := c.attach(index, name)
	if err != nil {
		return fmt.Errorf("claims on %s: %w", name, err)
	}
	c.devices[index] = d
	return nil
}

// attach goes down the ladder for a device.
func (c *Claims) attach(index int, name string) (d *device, err error) {
	refused := c.why
	if c.tcx != nil {
		l, err := c.attachTCX(index)
		if err == nil {
			return &device{rung: TCX, tcx: l}, nil
		}
		refused = fmt.Errorf("tcx: %w", err)
	}
	if err := c.present(index, name); err != nil {
		return nil, err
	}
	if c.allowed(NFT) {
		if d, err = c.attachNFTLocked(name); err == nil {
			d.why = refused
			return d, nil
		}
		refused = errors.Join(refused, err)
	}
	if !c.allowed(Holder) {
		return nil, refused
	}
	return &device{rung: Holder, why: refused}, nil
}

// present returns ENODEV if the device of a name has not that index.
func (c *Claims) present(index int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	return c.space.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request)
		if err == nil && int(request.Uint32()) != index {
			err = unix.ENODEV
		}
		return err
	})
}

// attachTCX puts the program on a device, with the counters that it counts in.
func (c *Claims) attachTCX(index int) (l *ebpf.Link, err error) {
	if err := c.maps.count(index); err != nil {
		return nil, err
	}
	// bpf(2) looks for the device in the thread's namespace.
	err = c.space.Do(func() error {
		l, err = ebpf.AttachTCX(index, c.tcx)
		return err
	})
	return l, err
}

// Detach takes the claims from a device. It does nothing if they are not there.
func (c *Claims) Detach(index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.detachLocked(index)
	}
}

func (c *Claims) detachLocked(index int) {
	d := c.devices[index]
	if d == nil {
		return
	}
	if d.tcx != nil {
		d.tcx.Close()
		c.maps.uncount(index)
	}
	if d.chain != "" {
		if err := c.nft.detach(d.chain); err != nil {
			c.loseNFTLocked(err)
		}
	}
	delete(c.devices, index)
}

// RungOf returns by which rung claims hold at a device's ingress, [Any] if it was not
// attached.
func (c *Claims) RungOf(index int) Rung {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.devices[index]; d != nil {
		return d.rung
	}
	return Any
}

// WhyOf returns why claims hold at a device's ingress by less than TCX, nil if they do by
// TCX, or do not.
func (c *Claims) WhyOf(index int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.devices[index]; d != nil {
		return d.why
	}
	return nil
}

// Stats are what TCX has done with the frames of a device since it was attached.
type Stats struct {
	Dropped uint64 // datagrams kept from the kernel; of a GSO packet each
	Passed  uint64 // fragments that went to the kernel because a later one came first
}

// Stats returns a device's counters, zeros where it is not TCX that does the work.
func (c *Claims) Stats(index int) (s Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.maps == nil {
		return s
	}
	return c.maps.stats(index)
}
