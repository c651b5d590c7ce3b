package ipv4

import (
	"encoding/binary"
	"net/netip"

	"github.com/outband/outband/ether"
)

// An Addr is an IPv4 address, in the order in which its octets stand in headers
// (RFC 791, section 3.1). The zero Addr is 0.0.0.0, any address. An [4]byte can be
// assigned to one, and one to an [4]byte, as netip.Addr's As4 and AddrFrom4 have it.
type Addr [4]byte

// String returns the address in dotted decimal notation.
func (ip Addr) String() string { return netip.AddrFrom4(ip).String() }

// AddrFrom returns the address that Uint32 made n of.
func AddrFrom(n uint32) (ip Addr) {
	binary.BigEndian.PutUint32(ip[:], n)
	return ip
}

// Uint32 returns the address as one number, to hash and to compare.
func (ip Addr) Uint32() uint32 { return binary.BigEndian.Uint32(ip[:]) }

// Scopes: how far an address or a route reaches, with Linux' values
// (rtnetlink(7), rtm_scope). The smaller the number, the farther.
const (
	ScopeUniverse uint8 = 0   // everywhere
	ScopeSite     uint8 = 200 // within the site; unused by IPv4 in practice
	ScopeLink     uint8 = 253 // this link only
	ScopeHost     uint8 = 254 // this host only
	ScopeNowhere  uint8 = 255 // nowhere: does not exist
)

// LimitedBroadcast is the limited broadcast address: all hosts of this link (RFC 1122,
// section 3.2.1.3, case c). Routers never forward it.
var LimitedBroadcast = Addr{255, 255, 255, 255}

// IsMulticast reports whether ip names a group of hosts: 224.0.0.0/4 (RFC 1112,
// section 4).
func (ip Addr) IsMulticast() bool { return ip[0]&0xf0 == 0xe0 }

// IsLocalMulticast reports whether ip is a group that routers never forward,
// whatever its TTL: 224.0.0.0/24 (RFC 5771, section 4).
func (ip Addr) IsLocalMulticast() bool { return ip[0] == 224 && ip[1] == 0 && ip[2] == 0 }

// IsLoopback reports whether ip may be seen inside of a host only: 127.0.0.0/8
// (RFC 1122, section 3.2.1.3, case g).
func (ip Addr) IsLoopback() bool { return ip[0] == 127 }

// IsLimitedBroadcast reports whether ip is 255.255.255.255.
func (ip Addr) IsLimitedBroadcast() bool { return ip == LimitedBroadcast }

// IsUnspecified reports whether ip is 0.0.0.0, "this host on this network": the
// source of one that does not know its address yet (RFC 1122, section 3.2.1.3,
// case a). As in Linux since 5.3, the rest of 0.0.0.0/8 is ordinary.
func (ip Addr) IsUnspecified() bool { return ip == Addr{} }

// IsLinkLocal reports whether ip is valid on one link only: 169.254.0.0/16 (RFC
// 3927).
func (ip Addr) IsLinkLocal() bool { return ip[0] == 169 && ip[1] == 254 }

// IsHost reports whether ip can be the address of one host on a link: not 0.0.0.0,
// loopback, multicast or the limited broadcast (RFC 1122, section 3.2.1.3). As on Linux
// the rest of 240.0.0.0/4 passes, and that of 0.0.0.0/8.
func (ip Addr) IsHost() bool {
	return !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsMulticast() && !ip.IsLimitedBroadcast()
}

// MulticastMAC returns the Ethernet address to which datagrams for a group are
// sent: 01:00:5e and the group's lower 23 bits (RFC 1112, section 6.4).
func (group Addr) MulticastMAC() ether.MAC {
	return ether.MAC{0x01, 0x00, 0x5e, group[1] & 0x7f, group[2], group[3]}
}

// DirectedBroadcast returns the address of all hosts of a subnet: the host part
// all ones (RFC 1122, section 3.2.1.3, case d). Prefixes of 31 and 32 bits have
// none (RFC 3021, section 2.1). The lowest address, the broadcast of 4.2BSD, is
// an ordinary one, as in Linux since 5.14.
func DirectedBroadcast(p netip.Prefix) (ip Addr, ok bool) {
	if !p.Addr().Is4() || p.Bits() < 0 || p.Bits() > 30 {
		return ip, false
	}
	ip = p.Addr().As4()
	return AddrFrom(ip.Uint32() | ^maskOf(p.Bits())), true
}

// maskOf returns the netmask of a prefix of 0 to 32 bits.
func maskOf(bits int) uint32 { return ^uint32(uint64(1)<<(32-bits) - 1) }

// within reports whether ip is in the subnet p, which is a valid IPv4 prefix,
// host bits and all.
func within(ip Addr, p netip.Prefix) bool {
	return (ip.Uint32()^Addr(p.Addr().As4()).Uint32())&maskOf(p.Bits()) == 0
}
