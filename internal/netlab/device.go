package netlab

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Device is what the kernel says of a network device.
type Device struct {
	Name         string
	Index        int
	MTU          int // bytes
	HardwareAddr [6]byte
	Kind         string // "veth", "bridge", ...; "device" if it has none
	Up           bool   // set up by the administrator (IFF_UP)
	Running      bool   // up, and has a carrier (IFF_RUNNING)
}

// Veth says how to make a pair of veth devices.
type Veth struct {
	Name, PeerName string
	Peer           *Namespace // where the second device goes
	MTU            int        // bytes, of both; 0: the kernel's default, 1500
	Index          int        // of the first; 0: the kernel chooses
	// MAC and PeerMAC are the hardware addresses; zero: random ones.
	MAC, PeerMAC [6]byte
}

// AddVeth makes a pair of veth devices, the first here and the second in
// v.Peer. Both are down and have IPv6 turned off.
func (n *Namespace) AddVeth(v Veth) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Index = v.Name, v.MTU, v.Index
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerNamespace, pair.PeerMTU = v.PeerName, netlink.NsFd(v.Peer.FD()), uint32(v.MTU)
	if v.MAC != [6]byte{} {
		pair.LinkAttrs.HardwareAddr = net.HardwareAddr(v.MAC[:])
	}
	if v.PeerMAC != [6]byte{} {
		pair.PeerHardwareAddr = net.HardwareAddr(v.PeerMAC[:])
	}
	err := n.netlink(func(h *netlink.Handle) error { return h.LinkAdd(pair) })
	if err != nil {
		return fmt.Errorf("add veth %s, %s: %w", v.Name, v.PeerName, err)
	}
	return errors.Join(n.DisableIPv6(v.Name), v.Peer.DisableIPv6(v.PeerName))
}

// AddBridge makes a bridge device. It is down and has IPv6 turned off.
func (n *Namespace) AddBridge(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	err := n.netlink(func(h *netlink.Handle) error { return h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}) })
	if err != nil {
		return fmt.Errorf("add bridge %s: %w", name, err)
	}
	return n.DisableIPv6(name)
}

// AddPort makes a device a port of a bridge.
func (n *Namespace) AddPort(bridge, device string) error {
	return n.onDevice(device, "make port of "+bridge, func(h *netlink.Handle, l netlink.Link) error {
		master, err := h.LinkByName(bridge)
		if err != nil {
			return err
		}
		return h.LinkSetMaster(l, master)
	})
}

// DeleteDevice deletes a device; of a veth pair, both.
func (n *Namespace) DeleteDevice(name string) error {
	return n.onDevice(name, "delete", (*netlink.Handle).LinkDel)
}

// MoveDevice moves a device to another namespace, where it is down.
func (n *Namespace) MoveDevice(name string, to *Namespace) error {
	return n.onDevice(name, "move", func(h *netlink.Handle, l netlink.Link) error {
		return h.LinkSetNsFd(l, to.FD())
	})
}

// SetUp sets a device up.
func (n *Namespace) SetUp(name string) error {
	return n.onDevice(name, "set up", (*netlink.Handle).LinkSetUp)
}

// SetDown sets a device down.
func (n *Namespace) SetDown(name string) error {
	return n.onDevice(name, "set down", (*netlink.Handle).LinkSetDown)
}

// SetMTU sets a device's MTU in bytes.
func (n *Namespace) SetMTU(name string, mtu int) error {
	return n.onDevice(name, "set MTU", func(h *netlink.Handle, l netlink.Link) error {
		return h.LinkSetMTU(l, mtu)
	})
}

// SetHardwareAddr changes a device's hardware address.
func (n *Namespace) SetHardwareAddr(name string, mac [6]byte) error {
	return n.onDevice(name, "set hardware address", func(h *netlink.Handle, l netlink.Link) error {
		return h.LinkSetHardwareAddr(l, net.HardwareAddr(mac[:]))
	})
}

// Device returns a device as it is now; the error wraps [unix.ENODEV] if there
// is none of that name.
func (n *Namespace) Device(name string) (d Device, err error) {
	err = n.onDevice(name, "query", func(_ *netlink.Handle, l netlink.Link) error {
		a := l.Attrs()
		d = Device{Name: a.Name, Index: a.Index, MTU: a.MTU, Kind: l.Type(),
			Up: a.RawFlags&unix.IFF_UP != 0, Running: a.RawFlags&unix.IFF_RUNNING != 0}
		copy(d.HardwareAddr[:], a.HardwareAddr)
		return nil
	})
	return d, err
}

// DisableIPv6 turns IPv6 off on a device, so that the kernel sends nothing on
// it unasked. It does nothing on a kernel without IPv6.
func (n *Namespace) DisableIPv6(name string) error {
	err := n.SetSysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1")
	switch {
	case err == nil, errors.Is(err, os.ErrNotExist):
		return nil
	case !errors.Is(err, unix.EROFS):
		return err
	}
	// A container may see /proc/sys read-only. Without a link-local address
	// IPv6 stays as silent.
	const modeNone = 1 // linux/if_link.h, IN6_ADDR_GEN_MODE_NONE
	return n.onDevice(name, "disable IPv6", func(h *netlink.Handle, l netlink.Link) error {
		return h.LinkSetIP6AddrGenMode(l, modeNone)
	})
}

// onDevice runs fn with a route netlink socket and a device of the namespace.
func (n *Namespace) onDevice(name, what string, fn func(*netlink.Handle, netlink.Link) error) error {
	err := n.netlink(func(h *netlink.Handle) error {
		l, err := h.LinkByName(name)
		if err != nil {
			return noDevice(err)
		}
		return fn(h, l)
	})
	if err != nil {
		return fmt.Errorf("%s: %s: %w", name, what, err)
	}
	return nil
}

func noDevice(err error) error {
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return unix.ENODEV
	}
	return err
}
