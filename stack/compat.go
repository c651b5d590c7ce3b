package stack

import (
	"net/netip"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// Calls of some kinds of sockets for those who hold an Endpoint. They are going away.

func (k *Endpoint) SetKeepOptions(on bool) { k.asIP().SetKeepOptions(on) }

func (k *Endpoint) SetOptions(o []byte) error { return k.asIP().SetOptions(o) }

func (k *Endpoint) Options() []byte { return k.asIP().Options() }

func (k *Endpoint) SetFreeBind(on bool) { k.asIP().SetFreeBind(on) }

func (k *Endpoint) FreeBind() bool { return k.asIP().FreeBind() }

func (k *Endpoint) SetTransparent(on bool) { k.asIP().SetTransparent(on) }

func (k *Endpoint) Transparent() bool { return k.asIP().Transparent() }

func (k *Endpoint) SetBindNoPort(on bool) { k.asIP().SetBindNoPort(on) }

func (k *Endpoint) BindNoPort() bool { return k.asIP().BindNoPort() }

func (k *Endpoint) SetUnicastInterface(index int) error {
	return k.asIP().SetUnicastInterface(index)
}

func (k *Endpoint) UnicastInterface() int { return k.asIP().UnicastInterface() }

func (k *Endpoint) SetPortRange(r uint32) error { return k.asIP().SetPortRange(r) }

func (k *Endpoint) PortRange() uint32 { return k.asIP().PortRange() }

func (k *Endpoint) Bind(local netip.AddrPort) error { return k.kind.Bind(local) }

func (k *Endpoint) Autobind() {
	if w := k.kind.ip(); w != nil {
		w.Autobind()
	}
}

func (k *Endpoint) Connect(peer netip.AddrPort) error { return k.kind.Connect(peer) }

func (k *Endpoint) Disconnect() error { return k.kind.Disconnect() }

func (k *Endpoint) LocalAddr() netip.AddrPort { return k.kind.LocalAddr() }

func (k *Endpoint) RemoteAddr() (peer netip.AddrPort, ok bool) { return k.kind.RemoteAddr() }

func (k *Endpoint) Shutdown(how int) error { return k.kind.Shutdown(how) }

func (k *Endpoint) SetTTL(ttl int) { k.asIP().SetTTL(ttl) }

func (k *Endpoint) TTL() int { return k.asIP().TTL() }

func (k *Endpoint) SetTOS(tos int) { k.asIP().SetTOS(tos) }

func (k *Endpoint) TOS() int { return k.asIP().TOS() }

func (k *Endpoint) SetMTUDiscover(mode int) { k.asIP().SetMTUDiscover(mode) }

func (k *Endpoint) MTUDiscover() int { return k.asIP().MTUDiscover() }

func (k *Endpoint) SetRecvExtension(on bool) { k.asIP().SetRecvExtension(on) }

func (k *Endpoint) RecvExtension() bool { return k.asIP().RecvExtension() }

func (k *Endpoint) PathMTU() (int, error) { return k.asIP().PathMTU() }

func (k *Endpoint) JoinGroup(r GroupRequest) error { return k.asIP().JoinGroup(r) }

func (k *Endpoint) LeaveGroup(r GroupRequest) error { return k.asIP().LeaveGroup(r) }

func (k *Endpoint) JoinSource(r GroupRequest, source ipv4.Addr) error {
	return k.asIP().JoinSource(r, source)
}

func (k *Endpoint) LeaveSource(r GroupRequest, source ipv4.Addr) error {
	return k.asIP().LeaveSource(r, source)
}

func (k *Endpoint) BlockSource(r GroupRequest, source ipv4.Addr) error {
	return k.asIP().BlockSource(r, source)
}

func (k *Endpoint) UnblockSource(r GroupRequest, source ipv4.Addr) error {
	return k.asIP().UnblockSource(r, source)
}

func (k *Endpoint) SetGroupFilter(r GroupRequest, f igmp.Filter) error {
	return k.asIP().SetGroupFilter(r, f)
}

func (k *Endpoint) GroupFilter(r GroupRequest) (igmp.Filter, error) {
	return k.asIP().GroupFilter(r)
}

func (k *Endpoint) GroupFilterOn(group ipv4.Addr, index int) (igmp.Filter, error) {
	return k.asIP().GroupFilterOn(group, index)
}

func (k *Endpoint) MaxSources() int { return k.asIP().MaxSources() }

func (k *Endpoint) SetMulticastInterface(r GroupRequest) error {
	return k.asIP().SetMulticastInterface(r)
}

func (k *Endpoint) MulticastInterface() (index int, addr ipv4.Addr) {
	return k.asIP().MulticastInterface()
}

func (k *Endpoint) SetMulticastTTL(ttl int) { k.asIP().SetMulticastTTL(ttl) }

func (k *Endpoint) MulticastTTL() int { return k.asIP().MulticastTTL() }

func (k *Endpoint) SetMulticastLoop(on bool) { k.asIP().SetMulticastLoop(on) }

func (k *Endpoint) MulticastLoop() bool { return k.asIP().MulticastLoop() }

func (k *Endpoint) SetMulticastAll(on bool) { k.asIP().SetMulticastAll(on) }

func (k *Endpoint) MulticastAll() bool { return k.asIP().MulticastAll() }
func (k *Endpoint) SetGRO(on bool)     { k.asUDP().SetGRO(on) }

func (k *Endpoint) GRO() bool { return k.asUDP().GRO() }

func (k *Endpoint) SetSegment(n int) { k.asUDP().SetSegment(n) }

func (k *Endpoint) Segment() int { return k.asUDP().Segment() }

func (k *Endpoint) SetCork(on bool) error {
	if w, ok := k.kind.(*UDPSocket); ok {
		return w.SetCork(on)
	}
	if k.Closed() {
		return unix.EBADF
	}
	return nil
}

func (k *Endpoint) Cork() bool { return k.asUDP().Cork() }

func (k *Endpoint) BoundLink() (a LinkAddr, ifc *Interface) {
	return k.asPacket().BoundLink()
}

func (k *Endpoint) SetIgnoreOutgoing(on bool) { k.asPacket().SetIgnoreOutgoing(on) }

func (k *Endpoint) IgnoreOutgoing() bool { return k.asPacket().IgnoreOutgoing() }

func (k *Endpoint) PacketStatistics() (frames, drops uint32) {
	return k.asPacket().PacketStatistics()
}

func (k *Endpoint) SendLink(p []byte, flags int, deadline int64, to *LinkAddr) error {
	if w, ok := k.kind.(*PacketSocket); ok {
		return w.SendLink(p, flags, deadline, to)
	}
	return k.Send(p, flags, deadline)
}

func (k *Endpoint) SetHeaderIncluded(on bool) error {
	if k.Closed() {
		return unix.EBADF
	}
	w, ok := k.kind.(*RawSocket)
	if !ok {
		return unix.ENOPROTOOPT
	}
	return w.SetHeaderIncluded(on)
}

func (k *Endpoint) SetNoDefragment(on bool) error {
	if k.Closed() {
		return unix.EBADF
	}
	w, ok := k.kind.(*RawSocket)
	if !ok {
		return unix.ENOPROTOOPT
	}
	return w.SetNoDefragment(on)
}

func (k *Endpoint) SetICMPFilter(types uint32) error {
	if k.Closed() {
		return unix.EBADF
	}
	w, ok := k.kind.(*RawSocket)
	if !ok {
		return unix.EOPNOTSUPP
	}
	return w.SetICMPFilter(types)
}

func (k *Endpoint) ICMPFilter() (uint32, error) {
	if k.Closed() {
		return 0, unix.EBADF
	}
	w, ok := k.kind.(*RawSocket)
	if !ok {
		return 0, unix.EOPNOTSUPP
	}
	return w.ICMPFilter()
}

func (k *Endpoint) AddMembership(m Membership) error {
	if k.Closed() {
		return unix.EBADF
	}
	w, ok := k.kind.(*PacketSocket)
	if !ok {
		return unix.ENOPROTOOPT
	}
	return w.AddMembership(m)
}

func (k *Endpoint) DropMembership(m Membership) error {
	if k.Closed() {
		return unix.EBADF
	}
	w, ok := k.kind.(*PacketSocket)
	if !ok {
		return unix.ENOPROTOOPT
	}
	return w.DropMembership(m)
}

func (k *Endpoint) BindLink(index int, ethertype uint16) error {
	if k.Closed() {
		return unix.EBADF
	}
	w, ok := k.kind.(*PacketSocket)
	if !ok {
		return unix.EINVAL
	}
	return w.BindLink(index, ethertype)
}

func (k *Endpoint) AttachReusePort(program []bpf.Instruction) error {
	if k.Closed() {
		return unix.EBADF
	}
	switch w := k.kind.(type) {
	case *UDPSocket:
		return w.AttachReusePort(program)
	case *PingSocket:
		return w.AttachReusePort(program)
	}
	return unix.EINVAL
}

func (k *Endpoint) DetachReusePort() error {
	if k.Closed() {
		return unix.EBADF
	}
	switch w := k.kind.(type) {
	case *UDPSocket:
		return w.DetachReusePort()
	case *PingSocket:
		return w.DetachReusePort()
	}
	return unix.EINVAL
}

func (k *Endpoint) HeaderIncluded() bool {
	w, ok := k.kind.(*RawSocket)
	return ok && w.HeaderIncluded()
}

func (k *Endpoint) NoDefragment() bool {
	w, ok := k.kind.(*RawSocket)
	return ok && w.NoDefragment()
}

func (k *Endpoint) SetReuse(addr, port bool) {
	switch w := k.kind.(type) {
	case *UDPSocket:
		w.SetReuse(addr, port)
	case *PingSocket:
		w.SetReuse(addr, port)
	}
}

func (k *Endpoint) asIP() *IPSocket {
	if w := k.kind.ip(); w != nil {
		return w
	}
	w := new(IPSocket)
	w.s = k.s
	w.state.Store(stateClosed)
	return w
}

func (k *Endpoint) asUDP() *UDPSocket {
	if w, ok := k.kind.(*UDPSocket); ok {
		return w
	}
	w := new(UDPSocket)
	w.s = k.s
	w.state.Store(stateClosed)
	return w
}

func (k *Endpoint) asPacket() *PacketSocket {
	if w, ok := k.kind.(*PacketSocket); ok {
		return w
	}
	w := new(PacketSocket)
	w.s = k.s
	w.state.Store(stateClosed)
	return w
}
