package netlab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AddAddress gives a device an IPv4 address with its prefix length, and with it
// the route to its network.
func (n *Namespace) AddAddress(name string, p netip.Prefix) error {
	return n.onDevice(name, "add address "+p.String(), func(h *netlink.Handle, l netlink.Link) error {
		return h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(p)})
	})
}

// RemoveAddress takes an address from a device.
func (n *Namespace) RemoveAddress(name string, p netip.Prefix) error {
	return n.onDevice(name, "remove address "+p.String(), func(h *netlink.Handle, l netlink.Link) error {
		return h.AddrDel(l, &netlink.Addr{IPNet: ipNet(p)})
	})
}

// Addresses returns a device's IPv4 addresses.
func (n *Namespace) Addresses(name string) (prefixes []netip.Prefix, err error) {
	err = n.onDevice(name, "list addresses", func(h *netlink.Handle, l netlink.Link) error {
		addrs, err := h.AddrList(l, netlink.FAMILY_V4)
		for _, a := range addrs {
			ip, _ := netip.AddrFromSlice(a.IP.To4())
			bits, _ := a.Mask.Size()
			prefixes = append(prefixes, netip.PrefixFrom(ip, bits))
		}
		return err
	})
	return prefixes, err
}

// AddRoute adds an IPv4 route by way of a gateway, which must be on a network
// that is reached already.
func (n *Namespace) AddRoute(to netip.Prefix, gateway netip.Addr) error {
	err := n.netlink(func(h *netlink.Handle) error {
		return h.RouteAdd(&netlink.Route{Dst: ipNet(to), Gw: gateway.AsSlice()})
	})
	if err != nil {
		return fmt.Errorf("add route %s via %s: %w", to, gateway, err)
	}
	return nil
}

// AddLinkRoute adds an IPv4 route to what is on a device's link, a group among it.
func (n *Namespace) AddLinkRoute(name string, to netip.Prefix) error {
	return n.onDevice(name, "add route to "+to.String(), func(h *netlink.Handle, l netlink.Link) error {
		return h.RouteAdd(&netlink.Route{Dst: ipNet(to), LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_LINK})
	})
}

// AddLocalRoute adds a route by which all of a prefix is for the host itself, though it has no
// such address (ip-route(8), type local).
func (n *Namespace) AddLocalRoute(to netip.Prefix) error {
	return n.onDevice("lo", "add local route to "+to.String(), func(h *netlink.Handle, l netlink.Link) error {
		return h.RouteAdd(&netlink.Route{Dst: ipNet(to), LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_HOST,
			Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL})
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
