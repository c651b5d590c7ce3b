package gonet

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/outband/outband/sockapi"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// TTL returns the time to live of unicast datagrams.
func (p *PacketConn) TTL() (int, error) { return got(p.c.s.TTL()) }

// SetTTL sets the time to live of unicast datagrams, 1 to 255; -1 is the default.
func (p *PacketConn) SetTTL(ttl int) error { return syscallError("setsockopt", p.c.s.SetTTL(ttl)) }

// TOS returns the type-of-service octet.
func (p *PacketConn) TOS() (int, error) { return got(p.c.s.TOS()) }

// SetTOS sets the type-of-service octet: the DSCP and two bits of ECN.
func (p *PacketConn) SetTOS(tos int) error { return syscallError("setsockopt", p.c.s.SetTOS(tos)) }

// MulticastTTL returns the time to live of what goes to groups.
func (p *PacketConn) MulticastTTL() (int, error) { return got(p.c.s.MulticastTTL()) }

// SetMulticastTTL sets the time to live of what goes to groups, 0 to 255, 1 by default.
func (p *PacketConn) SetMulticastTTL(ttl int) error {
	return syscallError("setsockopt", p.c.s.SetMulticastTTL(ttl))
}

// MulticastInterface returns what SetMulticastInterface set, nil for none.
func (p *PacketConn) MulticastInterface() (*net.Interface, error) {
	_, err := p.c.s.MulticastTTL()
	return p.leavesBy.Load(), syscallError("getsockopt", err)
}

// SetMulticastInterface has what goes to groups leave by an interface, of which the Index
// counts; nil: as the routes say.
func (p *PacketConn) SetMulticastInterface(ifi *net.Interface) error {
	err := p.c.s.SetMulticastInterface(indexOf(ifi))
	if err == nil {
		p.leavesBy.Store(ifi)
	}
	return syscallError("setsockopt", err)
}

// MulticastLoopback reports whether what goes to groups is heard by this host too.
func (p *PacketConn) MulticastLoopback() (bool, error) {
	on, err := p.c.s.MulticastLoopback()
	return on, syscallError("getsockopt", err)
}

// SetMulticastLoopback says whether what goes to groups is heard by this host too.
func (p *PacketConn) SetMulticastLoopback(on bool) error {
	return syscallError("setsockopt", p.c.s.SetMulticastLoopback(on))
}

// got returns what an option was asked for.
func got(v int, err error) (int, error) { return v, syscallError("getsockopt", err) }

// JoinGroup has the connection receive what is sent to a group, from whichever source, and comes
// by an interface; nil is that of the route to the group. Groups and sources are a
// *net.UDPAddr or a *net.IPAddr, of which the IP counts.
func (p *PacketConn) JoinGroup(ifi *net.Interface, group net.Addr) error {
	return p.group((*sockapi.Socket).JoinGroup, ifi, group)
}

// LeaveGroup ends what JoinGroup began.
func (p *PacketConn) LeaveGroup(ifi *net.Interface, group net.Addr) error {
	return p.group((*sockapi.Socket).LeaveGroup, ifi, group)
}

// JoinSourceSpecificGroup is JoinGroup for what comes from one source, beside others.
func (p *PacketConn) JoinSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error {
	return p.source((*sockapi.Socket).JoinSourceGroup, ifi, group, source)
}

// LeaveSourceSpecificGroup ends what JoinSourceSpecificGroup began.
func (p *PacketConn) LeaveSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error {
	return p.source((*sockapi.Socket).LeaveSourceGroup, ifi, group, source)
}

// ExcludeSourceSpecificGroup has the connection, which has joined the group, hear no more from
// one source.
func (p *PacketConn) ExcludeSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error {
	return p.source((*sockapi.Socket).BlockSource, ifi, group, source)
}

// IncludeSourceSpecificGroup ends what ExcludeSourceSpecificGroup began.
func (p *PacketConn) IncludeSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error {
	return p.source((*sockapi.Socket).UnblockSource, ifi, group, source)
}

func (p *PacketConn) group(do func(s *sockapi.Socket, ifindex int, group netip.Addr) error, ifi *net.Interface, group net.Addr) error {
	g, ok := ip4In(group)
	if !ok {
		return errMissingAddress
	}
	return syscallError("setsockopt", do(p.c.s, indexOf(ifi), g))
}

func (p *PacketConn) source(do func(s *sockapi.Socket, ifindex int, group, source netip.Addr) error, ifi *net.Interface, group, source net.Addr) error {
	g, ok := ip4In(group)
	from, ok2 := ip4In(source)
	if !ok || !ok2 {
		return errMissingAddress
	}
	return syscallError("setsockopt", do(p.c.s, indexOf(ifi), g, from))
}

// ip4In returns the IPv4 address in one of UDP or of IP.
func ip4In(a net.Addr) (netip.Addr, bool) {
	var ip net.IP
	switch a := a.(type) {
	case *net.UDPAddr:
		ip = a.IP
	case *net.IPAddr:
		ip = a.IP
	}
	return netip.AddrFromSlice(ip.To4())
}

// icmpTypes is how many types of ICMP message a filter knows: a bit each (raw(7)).
const icmpTypes = 32

// ICMPFilter returns the types of ICMP message that an IPConn of ICMP does not receive.
func (p *PacketConn) ICMPFilter() (*ipv4.ICMPFilter, error) {
	var b [4]byte
	if _, err := p.c.s.Getsockopt(unix.SOL_RAW, sockapi.ICMP_FILTER, b[:]); err != nil {
		return nil, syscallError("getsockopt", err)
	}
	f := new(ipv4.ICMPFilter)
	for typ := range ipv4.ICMPType(icmpTypes) {
		if binary.NativeEndian.Uint32(b[:])&(1<<typ) != 0 {
			f.Block(typ)
		}
	}
	return f, nil
}

// SetICMPFilter says which types of ICMP message an IPConn of ICMP does not receive. ENOPROTOOPT:
// it is not one.
func (p *PacketConn) SetICMPFilter(f *ipv4.ICMPFilter) error {
	bits := uint32(0)
	for typ := range ipv4.ICMPType(icmpTypes) {
		if f.WillBlock(typ) {
			bits |= 1 << typ
		}
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], bits)
	return syscallError("setsockopt", p.c.s.Setsockopt(unix.SOL_RAW, sockapi.ICMP_FILTER, b[:]))
}

// SetBPF has a classic BPF program see each datagram, and say how much of it is received: see
// sockapi.Socket.AttachFilter.
func (p *PacketConn) SetBPF(filter []bpf.RawInstruction) error {
	return syscallError("setsockopt", p.c.s.AttachFilter(filter))
}
