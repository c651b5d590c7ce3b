package netlab

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// A Neighbour is an entry of the kernel's ARP table.
type Neighbour struct {
	Addr  netip.Addr
	MAC   [6]byte
	State string // as ip-neighbour(8) writes it: REACHABLE, STALE, ...
}

// Neighbours returns the kernel's IPv4 neighbours on a device.
func (n *Namespace) Neighbours(device string) (all []Neighbour, err error) {
	err = n.onDevice(device, "list neighbours", func(h *netlink.Handle, l netlink.Link) error {
		entries, err := h.NeighList(l.Attrs().Index, netlink.FAMILY_V4)
		for _, e := range entries {
			ip, ok := netip.AddrFromSlice(e.IP.To4())
			if !ok || e.State == netlink.NUD_NOARP {
				continue
			}
			entry := Neighbour{Addr: ip, State: stateName(e.State)}
			copy(entry.MAC[:], e.HardwareAddr)
			all = append(all, entry)
		}
		return err
	})
	return all, err
}

// SetNeighbour makes a permanent entry of the kernel's ARP table.
func (n *Namespace) SetNeighbour(device string, addr netip.Addr, mac [6]byte) error {
	return n.onDevice(device, "set neighbour "+addr.String(), func(h *netlink.Handle, l netlink.Link) error {
		return h.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT,
			IP: addr.AsSlice(), HardwareAddr: net.HardwareAddr(mac[:])})
	})
}

// FlushNeighbours removes the kernel's IPv4 neighbours of a device.
func (n *Namespace) FlushNeighbours(device string) error {
	return n.onDevice(device, "flush neighbours", func(h *netlink.Handle, l netlink.Link) error {
		entries, err := h.NeighList(l.Attrs().Index, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for i := range entries {
			if entries[i].State == netlink.NUD_NOARP {
				continue
			}
			if err := h.NeighDel(&entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func stateName(state int) string {
	switch state {
	case netlink.NUD_INCOMPLETE:
		return "INCOMPLETE"
	case netlink.NUD_REACHABLE:
		return "REACHABLE"
	case netlink.NUD_STALE:
		return "STALE"
	case netlink.NUD_DELAY:
		return "DELAY"
	case netlink.NUD_PROBE:
		return "PROBE"
	case netlink.NUD_FAILED:
		return "FAILED"
	case netlink.NUD_PERMANENT:
		return "PERMANENT"
	case netlink.NUD_NOARP:
		return "NOARP"
	}
	return "NONE"
}
