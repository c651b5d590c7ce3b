package stack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
)

// groupAddr returns the nth of a row of groups.
func groupAddr(n int) ipv4.Addr {
	var a ipv4.Addr
	binary.BigEndian.PutUint32(a[:], 0xef010001+uint32(n)) // 239.1.0.1
	return a
}

// groupFrame returns the frame of a datagram from 10.9.0.2:7 to a group.
func groupFrame(group ipv4.Addr, port uint16, data []byte) []byte {
	b := udpFrame(port, data)
	mac := group.MulticastMAC()
	copy(b, mac[:])
	f := ipv4.Fields{TTL: 1, Protocol: ipv4.ProtocolUDP, Src: far4, Dst: group, DontFragment: true}
	f.Put(b[output.IPOffset:], udp.HeaderLen+len(data))
	udp.Put(b[output.UDPOffset:], far4, group, 7, port, len(data))
	return b
}

// members makes sockets at port 9, each a member of one group: bound to it, or to
// all addresses.
func members(t testing.TB, s *Stack, ifc *Interface, groups, each int, bound bool) []*UDPSocket {
	t.Helper()
	var out []*UDPSocket
	for g := range groups {
		for range each {
			k, err := s.NewUDPSocket()
			if err == nil {
				k.SetReuse(true, false)
				local := netip.AddrFrom4(groupAddr(g))
				if !bound {
					local = netip.IPv4Unspecified()
				}
				err = k.Bind(netip.AddrPortFrom(local, 9))
			}
			if err == nil {
				err = k.Multicast().JoinGroup(GroupRequest{Group: groupAddr(g), Interface: ifc.Index()})
			}
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, k)
		}
	}
	return out
}

// BenchmarkReceiveGroup is BenchmarkReceive for a multicast: with one member, bound
// to the group or to all addresses, and with several.
func BenchmarkReceiveGroup(b *testing.B) {
	for _, c := range []struct {
		name    string
		members int
		bound   bool
	}{{"bound", 1, true}, {"wild", 1, false}, {"4 members", 4, true}, {"16 members", 16, true}} {
		b.Run(c.name, func(b *testing.B) {
			s, r, i := replayStack(b)
			sockets := members(b, s, i, 1, c.members, c.bound)
			r.frame = groupFrame(groupAddr(0), 9, payload(64))
			buf := make([]byte, 2048)
			b.ReportAllocs()
			for b.Loop() {
				r.ready = 1
				for _, k := range sockets {
					if n, _, err := k.Recv(buf, 0, NoDeadline); n != 64 || err != nil {
						b.Fatal(n, err)
					}
				}
			}
		})
	}
}

// BenchmarkReceiveAmongGroups receives datagrams to ten groups of many, and to all of
// them in turn, of which one socket, or one socket each, is a member.
func BenchmarkReceiveAmongGroups(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		for way := range 4 {
			one, all := way&1 == 0, way&2 != 0
			name := map[bool]string{true: "one socket", false: "a socket each"}[one]
			if all {
				name += ", to all"
			}
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, r, i := replayStackConfig(b, Config{MaxMemberships: n})
				var sockets []*UDPSocket
				if one {
					k := members(b, s, i, 1, 1, false)[0]
					for g := 1; g < n; g++ {
						if err := k.Multicast().JoinGroup(GroupRequest{Group: groupAddr(g), Interface: i.Index()}); err != nil {
							b.Fatal(err)
						}
					}
					for range n {
						sockets = append(sockets, k)
					}
				} else {
					sockets = members(b, s, i, n, 1, true)
				}
				chosen := spread(n)
				if !all {
					chosen = chosen[:10]
				}
				var frames [][]byte
				for _, g := range chosen {
					frames = append(frames, groupFrame(groupAddr(g), 9, payload(64)))
				}
				buf := make([]byte, 2048)
				runtime.GC() // or the collector is still at what was set up
				b.ReportAllocs()
				for at := 0; b.Loop(); at++ {
					g := at % len(chosen)
					r.frame, r.ready = frames[g], 1
					if n, _, err := sockets[chosen[g]].Recv(buf, 0, NoDeadline); n != 64 || err != nil {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
}

// BenchmarkSendGroup is BenchmarkSend for a multicast that nobody here hears.
func BenchmarkSendGroup(b *testing.B) {
	s, _, i := replayStack(b)
	if err := i.SetNeighbour(farAddr, farMAC, arp.Permanent); err != nil {
		b.Fatal(err)
	}
	k := udpSocket(b, s, "10.9.0.1:9")
	if err := k.Connect(netip.AddrPortFrom(netip.AddrFrom4(groupAddr(0)), 7)); err != nil {
		b.Fatal(err)
	}
	p := payload(64)
	b.ReportAllocs()
	for b.Loop() {
		if err := k.Send(p, 0, NoDeadline); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJoin joins 10,000 groups, and leaves them.
func BenchmarkJoin(b *testing.B) {
	const n = 10_000
	s, _, i := replayStackConfig(b, Config{MaxMemberships: n})
	k := udpSocket(b, s, "0.0.0.0:9")
	for b.Loop() {
		for g := range n {
			if err := k.Multicast().JoinGroup(GroupRequest{Group: groupAddr(g), Interface: i.Index()}); err != nil {
				b.Fatal(err)
			}
		}
		for g := range n {
			if err := k.Multicast().LeaveGroup(GroupRequest{Group: groupAddr(g), Interface: i.Index()}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
