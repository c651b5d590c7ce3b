package sockapi

import (
	"fmt"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Sockaddr is the address of a socket of any family: a plain value, which
// costs no allocation to pass around. The zero Sockaddr is no address at all;
// Connect takes it for AF_UNSPEC.
type Sockaddr struct {
	// Family says which of the other fields have a meaning: unix.AF_INET and
	// so on.
	Family uint16
	// Port is the UDP or TCP port in host order, or a ping socket's ident
	// (AF_INET, AF_INET6).
	Port uint16
	// IfIndex is the interface of AF_PACKET (sll_ifindex), the scope of
	// AF_INET6, the port ID of AF_NETLINK and the CID of AF_VSOCK.
	IfIndex uint32
	// Extra is the EtherType of AF_PACKET in host order (sll_protocol), the
	// flow information of AF_INET6, the groups of AF_NETLINK and the port of
	// AF_VSOCK.
	Extra uint32
	// Hatype, Pkttype and Halen are AF_PACKET's; Pkttype holds the flags of
	// AF_VSOCK too (svm_flags).
	Hatype         uint16
	Pkttype, Halen uint8
	addr           [16]byte
	// path is AF_UNIX's path, AF_PACKET's hardware address if addr is too short
	// for it, and what follows the family of RawSockaddr.
	path string
}

// Inet4 returns an AF_INET address.
func Inet4(ip [4]byte, port uint16) Sockaddr {
	a := Sockaddr{Family: unix.AF_INET, Port: port}
	copy(a.addr[:], ip[:])
	return a
}

// InetAddrPort returns an AF_INET or, for an IPv6 address, an AF_INET6 address.
// A zone is the name or the number of an interface; for one that there is not
// the scope is 0, with which Linux refuses link-local addresses.
func InetAddrPort(ap netip.AddrPort) Sockaddr {
	switch ip := ap.Addr(); {
	case ip.Is4():
		return Inet4(ip.As4(), ap.Port())
	case ip.IsValid():
		return Sockaddr{Family: unix.AF_INET6, Port: ap.Port(), IfIndex: scope(ip.Zone()), addr: ip.As16()}
	default:
		return Sockaddr{}
	}
}

// LinkLayer returns an AF_PACKET address: an interface, an EtherType in host
// order, and the hardware address.
func LinkLayer(ifindex int, ethertype uint16, mac [6]byte) Sockaddr {
	a := Sockaddr{Family: unix.AF_PACKET, IfIndex: uint32(ifindex), Extra: uint32(ethertype), Halen: 6}
	copy(a.addr[:], mac[:])
	return a
}

// Unix returns an AF_UNIX address; a path that starts with "@" is abstract.
func Unix(path string) Sockaddr { return Sockaddr{Family: unix.AF_UNIX, path: path} }

// Netlink returns an AF_NETLINK address.
func Netlink(pid, groups uint32) Sockaddr {
	return Sockaddr{Family: unix.AF_NETLINK, IfIndex: pid, Extra: groups}
}

// Vsock returns an AF_VSOCK address.
func Vsock(cid, port uint32) Sockaddr {
	return Sockaddr{Family: unix.AF_VSOCK, IfIndex: cid, Extra: port}
}

// IsZero reports whether a is no address.
func (a Sockaddr) IsZero() bool { return a.Family == unix.AF_UNSPEC }

// IP4 returns the address of AF_INET.
func (a Sockaddr) IP4() [4]byte { return [4]byte(a.addr[:4]) }

// MAC returns the hardware address of AF_PACKET.
func (a Sockaddr) MAC() [6]byte { return [6]byte(a.addr[:6]) }

// Path returns the path of AF_UNIX.
func (a Sockaddr) Path() string { return a.path }

// AddrPort returns an AF_INET or AF_INET6 address and port; the zero AddrPort
// for other families. The scope of AF_INET6 is a zone with its number.
func (a Sockaddr) AddrPort() netip.AddrPort {
	switch a.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4(a.IP4()), a.Port)
	case unix.AF_INET6:
		ip := netip.AddrFrom16(a.addr)
		if a.IfIndex != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(a.IfIndex), 10))
		}
		return netip.AddrPortFrom(ip, a.Port)
	default:
		return netip.AddrPort{}
	}
}

// String returns the address for people to read.
func (a Sockaddr) String() string {
	switch a.Family {
	case unix.AF_INET, unix.AF_INET6:
		return a.AddrPort().String()
	case unix.AF_UNIX:
		return a.path
	case unix.AF_UNSPEC:
		return "none"
	case unix.AF_PACKET:
		return fmt.Sprintf("packet %d %#04x %x", a.IfIndex, a.Extra, a.hardware())
	case unix.AF_NETLINK:
		return fmt.Sprintf("netlink %d %#x", a.IfIndex, a.Extra)
	case unix.AF_VSOCK:
		return fmt.Sprintf("vsock %d:%d", a.IfIndex, a.Extra)
	default:
		return fmt.Sprintf("family %d %x", a.Family, a.path)
	}
}
