package interleave

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/oracle"
	"github.com/outband/outband/test/wire"
)

// Values that calls choose from. Seeds name them by their places in these lists: a list
// that grows changes what seeds are.
var (
	ports  = []uint16{7001, 7002, 443, 0}
	sizes  = []int{0, 1, 10, 100, 540, 1372, 1472, 1473, 3000}
	groups = [][4]byte{{239, 1, 2, 3}, {224, 0, 0, 9}}
	ifs    = []int{0, 1, -1} // devices; -1: none
	flags  = []int{0, 0, 0, 0, unix.MSG_DONTROUTE, unix.MSG_CONFIRM}
	looks  = []int{0, 0, 0, unix.MSG_PEEK, unix.MSG_TRUNC}
	// options leave out what README's list has, and what Linux decides by chance.
	options = []struct {
		level, name int
		values      []int
	}{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, []int{0, 1, 1}},
		{unix.SOL_SOCKET, unix.SO_BROADCAST, []int{0, 1, 1, 1}},
		{unix.SOL_SOCKET, unix.SO_DONTROUTE, []int{0, 1}},
		{unix.SOL_SOCKET, unix.SO_NO_CHECK, []int{0, 1}},
		{unix.SOL_IP, unix.IP_RECVERR, []int{0, 1, 1}},
		{unix.SOL_IP, unix.IP_TTL, []int{1, 64, -1}},
		{unix.SOL_IP, unix.IP_TOS, []int{0, 16, 184}},
		{unix.SOL_IP, unix.IP_MTU_DISCOVER, []int{0, 1, 2, 3, 4, 5}},
		{unix.SOL_IP, unix.IP_FREEBIND, []int{0, 1}},
		{unix.SOL_IP, unix.IP_MULTICAST_LOOP, []int{0, 1}},
		{unix.SOL_IP, unix.IP_MULTICAST_ALL, []int{0, 1}},
		{unix.SOL_IP, unix.IP_MULTICAST_TTL, []int{1, 7}},
	}
)

// addr returns an address by chance.
func (p *play) addr(chance byte) [4]byte {
	all := [...][4]byte{wire.Far(0), wire.Far(0), wire.Far(1), wire.Near(0), wire.Near(0), wire.Near(1), {},
		{198, 18, byte(p.nth >> 8), byte(p.nth)}, {198, 18, byte(p.nth >> 8), byte(p.nth)}, {198, 19, byte(p.nth >> 8), byte(p.nth)},
		{127, 0, 0, 1}, {10, 9, 0, 255}, {255, 255, 255, 255}, groups[0], groups[0], groups[1], added[0].Addr().As4(), added[1].Addr().As4(),
		added[2].Addr().As4(), {10, 9, 0, 77}, {10, 7, 0, 255}, {192, 0, 2, 1}}
	return all[int(chance)%len(all)]
}

// place returns an address and port by chance. For loopback's by another device see
// README's differences.
func (p *play) place(s *Step) sockapi.Sockaddr {
	a := p.addr(s.A)
	if a[0] == 127 && (p.devices || kinds[s.Kind].name == sendmsg) {
		a = wire.Near(0)
	}
	p.many = p.many || several(a)
	return sockapi.Inet4(a, pick(ports, s.B))
}

// data returns what a socket sends.
func data(k *oracle.Sock, n int) []byte {
	b := oracle.Data(n)
	if k.Name == "ping" {
		copy(b, []byte{icmp.Echo, 0, 0, 0, 0, 0, 0, 1})
	}
	return b
}

// info returns a control message of IP_PKTINFO for a device by chance.
func (p *play) info(chance byte) []byte {
	index := 0
	if d := pick(ifs, chance); d >= 0 {
		index = p.host.Index(d)
	}
	return oracle.Cmsg(unix.SOL_IP, unix.IP_PKTINFO, append(oracle.Int(index), make([]byte, 8)...))
}

// index returns a device's index by chance, 0 for none.
func (p *play) index(chance byte) int {
	if d := pick(ifs, chance); d >= 0 {
		return p.host.Index(d)
	}
	return 0
}

var callKinds = []stepKind{
	{name: "bind", weight: 10, do: func(p *play, k *oracle.Sock, s *Step) { k.Bind(p.place(s)) }},
	{name: "connect", weight: 10, do: func(p *play, k *oracle.Sock, s *Step) {
		if k.Connect(p.place(s)) != nil {
			k.Connect(sockapi.Sockaddr{}) // of a connected socket see README's differences
		}
	}},
	{name: "disconnect", weight: 2, do: func(_ *play, k *oracle.Sock, _ *Step) { k.Connect(sockapi.Sockaddr{}) }},
	{name: "send", weight: 14, do: func(_ *play, k *oracle.Sock, s *Step) { k.Send(data(k, pick(sizes, s.A)), pick(flags, s.B)) }},
	{name: "sendto", weight: 18, do: func(p *play, k *oracle.Sock, s *Step) {
		k.Sendto(data(k, pick(sizes, s.C)), pick(flags, s.C>>4), p.place(s))
	}},
	{name: sendmsg, weight: 4, do: func(p *play, k *oracle.Sock, s *Step) {
		control := [][]byte{p.info(s.C), oracle.CmsgInt(unix.SOL_IP, unix.IP_TTL, 3), oracle.CmsgInt(unix.SOL_IP, unix.IP_TOS, 8)}
		k.Sendmsg([][]byte{data(k, 10), oracle.Data(1)}, pick(control, s.C>>2), 0, p.place(s))
	}},
	{name: "recv", weight: 14, do: func(_ *play, k *oracle.Sock, s *Step) { receive(k, s) }},
	{name: "errors", weight: 8, do: func(_ *play, k *oracle.Sock, s *Step) { k.Recvmsg(200, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT, 1) }},
	{name: "shutdown", weight: 2, do: func(_ *play, k *oracle.Sock, s *Step) { k.Shutdown(int(s.A % 3)) }},
	{name: "set", weight: 14, do: func(_ *play, k *oracle.Sock, s *Step) {
		o := pick(options, s.A)
		k.Set(o.level, o.name, pick(o.values, s.B))
	}},
	{name: "device", weight: 6, do: func(p *play, k *oracle.Sock, s *Step) {
		p.devices = true
		k.Set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, p.index(s.A))
	}},
	{name: "mtu", weight: 3, do: func(p *play, k *oracle.Sock, _ *Step) {
		if k.Name == "raw" || k.Name == "ping" {
			return
		}
		k.Send(data(k, 10), 0) // for IP_MTU of a route that was not used see README's differences
		p.rest()
		k.GetInt(unix.SOL_IP, unix.IP_MTU)
	}},
	{name: "membership", weight: 7, do: func(p *play, k *oracle.Sock, s *Step) {
		name := pick([]int{unix.IP_ADD_MEMBERSHIP, unix.IP_ADD_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP}, s.A)
		g, d := pick(groups, s.B), p.index(s.C)
		k.SetGroup(name, fmt.Sprint(g, " by ", d), oracle.Mreqn(g, [4]byte{}, d))
	}},
	{name: "source", weight: 4, do: func(p *play, k *oracle.Sock, s *Step) {
		name := pick([]int{unix.MCAST_JOIN_SOURCE_GROUP, unix.MCAST_LEAVE_SOURCE_GROUP, unix.MCAST_BLOCK_SOURCE, unix.MCAST_UNBLOCK_SOURCE}, s.A)
		g, d := pick(groups, s.B), p.index(s.C)
		k.SetGroup(name, fmt.Sprint(g, " by ", d), oracle.GroupSourceReq(d, g, unix.AF_INET, wire.Far(int(s.B>>4)%2)))
	}},
	{name: "multicast-if", weight: 3, do: func(p *play, k *oracle.Sock, s *Step) {
		d := p.index(s.A)
		k.SetGroup(unix.IP_MULTICAST_IF, fmt.Sprint("by ", d), oracle.Mreqn([4]byte{}, [4]byte{}, d))
	}},
	{name: "unicast-if", weight: 1, do: func(p *play, k *oracle.Sock, s *Step) {
		p.devices = true
		k.SetBytes(unix.SOL_IP, unix.IP_UNICAST_IF, binary.BigEndian.AppendUint32(nil, uint32(p.index(s.A))))
	}},
	{name: "error", weight: 3, do: func(_ *play, k *oracle.Sock, _ *Step) { k.Error() }},
	{name: "names", weight: 4, do: func(_ *play, k *oracle.Sock, _ *Step) { k.Names() }},
	{name: "queued", weight: 2, do: func(_ *play, k *oracle.Sock, _ *Step) { k.Inq() }},
	{name: "close", weight: 3, do: func(p *play, k *oracle.Sock, s *Step) { k.Discard(); k.Close(); p.socks[s.Sock] = nil }},
}

// receive receives what a socket has, as far as two hosts have it in common.
func receive(k *oracle.Sock, s *Step) {
	n := 4000
	if sockets[s.Sock].vague {
		n = 1
	}
	k.Recvmsg(200, pick(looks, s.A)|unix.MSG_DONTWAIT, n)
}
