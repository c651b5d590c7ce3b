package sockapi

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sizes of the structures of RFC 3678 (linux/in.h), in bytes.
const (
	groupReqLen       = 8 + addrSize           // struct group_req: interface, group
	groupSourceReqLen = groupReqLen + addrSize // struct group_source_req: and source
)

// JoinGroup has the socket receive what is sent to a group that comes by an interface, from
// whichever source (MCAST_JOIN_GROUP in ip(7)). Interface 0 is that of the route to the
// group. EADDRINUSE: it does already. ENOBUFS: it is in too many groups. ENODEV: no such
// interface. EINVAL: not a group.
func (s *Socket) JoinGroup(ifindex int, group netip.Addr) error {
	return s.setGroup(unix.MCAST_JOIN_GROUP, ifindex, group)
}

// LeaveGroup ends what JoinGroup began, for all sources (MCAST_LEAVE_GROUP).
// EADDRNOTAVAIL: the socket is not in the group.
func (s *Socket) LeaveGroup(ifindex int, group netip.Addr) error {
	return s.setGroup(unix.MCAST_LEAVE_GROUP, ifindex, group)
}

// JoinSourceGroup is JoinGroup for what comes from one source, beside those that were joined
// before (MCAST_JOIN_SOURCE_GROUP). EADDRNOTAVAIL: that source was joined already. EINVAL:
// the group was joined for all sources. ENOBUFS: there are too many sources.
func (s *Socket) JoinSourceGroup(ifindex int, group, source netip.Addr) error {
	return s.setSourceGroup(unix.MCAST_JOIN_SOURCE_GROUP, ifindex, group, source)
}

// LeaveSourceGroup ends what JoinSourceGroup began (MCAST_LEAVE_SOURCE_GROUP).
// EADDRNOTAVAIL: the source was not joined.
func (s *Socket) LeaveSourceGroup(ifindex int, group, source netip.Addr) error {
	return s.setSourceGroup(unix.MCAST_LEAVE_SOURCE_GROUP, ifindex, group, source)
}

// BlockSource has a socket that has joined a group for all sources hear no more from one
// (MCAST_BLOCK_SOURCE). EADDRNOTAVAIL: it is blocked already. EINVAL: the group was
// not joined, or for some sources only.
func (s *Socket) BlockSource(ifindex int, group, source netip.Addr) error {
	return s.setSourceGroup(unix.MCAST_BLOCK_SOURCE, ifindex, group, source)
}

// UnblockSource ends what BlockSource began (MCAST_UNBLOCK_SOURCE). EADDRNOTAVAIL: it is
// not blocked.
func (s *Socket) UnblockSource(ifindex int, group, source netip.Addr) error {
	return s.setSourceGroup(unix.MCAST_UNBLOCK_SOURCE, ifindex, group, source)
}

func (s *Socket) setGroup(name, ifindex int, group netip.Addr) error {
	var b [groupReqLen]byte
	putGroup(b[:], ifindex, group)
	return s.Setsockopt(groupLevel(group), name, b[:])
}

func (s *Socket) setSourceGroup(name, ifindex int, group, source netip.Addr) error {
	var b [groupSourceReqLen]byte
	putGroup(b[:], ifindex, group)
	putStorage(b[groupReqLen:], source)
	return s.Setsockopt(groupLevel(group), name, b[:])
}

// groupLevel returns the level of the options about a group: an in-band socket of IPv6
// has groups too.
func groupLevel(group netip.Addr) int {
	if group.Is6() && !group.Is4In6() {
		return unix.SOL_IPV6
	}
	return unix.SOL_IP
}

// putGroup stores what struct group_req and struct group_source_req begin with.
func putGroup(b []byte, ifindex int, group netip.Addr) {
	binary.NativeEndian.PutUint32(b, uint32(ifindex))
	putStorage(b[8:], group)
}

// putStorage stores an address as a struct sockaddr_storage.
func putStorage(b []byte, ip netip.Addr) {
	a := InetAddrPort(netip.AddrPortFrom(ip.Unmap(), 0))
	a.encode((*[addrSize]byte)(b))
}
