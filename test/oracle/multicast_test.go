package oracle

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// infos are what a received multicast is told with.
var infos = []int{unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS, unix.IP_RECVORIGDSTADDR}

// told has a socket receive control messages.
func (k *Sock) told() {
	k.quietly(func() {
		for _, o := range infos {
			k.Set(unix.SOL_IP, o, 1)
		}
	})
}

// hear writes down all that a socket has received.
func (k *Sock) hear() {
	k.Poll()
	for range 16 {
		before := len(k.r.lines)
		k.Recvmsg(200, unix.MSG_DONTWAIT, 4000)
		if len(k.r.lines) == before || len(k.r.lines[before]) > 6 && k.r.lines[before][len(k.r.lines[before])-6:] == "EAGAIN" {
			return
		}
	}
}

// listener opens a socket at the far end that shares an address with others.
func (r *Run) listener(name string, addr [4]byte) *Sock {
	k := r.FarUDP(name)
	k.told()
	k.quietly(func() {
		k.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		k.Bind(sockapi.Inet4(addr, 7002))
	})
	return k
}

// sender opens a socket at the near end whose multicasts go to the far end.
func (r *Run) sender() *Sock {
	k := r.UDP("sender")
	k.told()
	k.quietly(func() { k.Bind(sockapi.Inet4(anyone, 7001)) })
	k.By()
	return k
}

// to returns the port that listeners are bound to, in a group.
func groupPort(group [4]byte) sockapi.Sockaddr { return sockapi.Inet4(group, 7002) }

// farFilter sets a filter of the far end's socket, for the near end's address or a
// strange one as source.
var listenStates = []struct {
	name string
	make func(r *Run, k *Sock)
}{
	{"no member", func(*Run, *Sock) {}},
	{"member", func(_ *Run, k *Sock) { k.Join(groupA) }},
	{"member of another", func(_ *Run, k *Sock) { k.Join(groupB) }},
	{"of the source", func(r *Run, k *Sock) {
		k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, groupA, r.Top.Addrs[Near])
	}},
	{"of another source", func(_ *Run, k *Sock) { k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, groupA, stranger) }},
	{"of several sources", func(r *Run, k *Sock) {
		k.SetGroup(unix.MCAST_JOIN_GROUP, "it", GroupReq(r.GroupIndex(), unix.AF_INET, groupA))
		k.SetGroup(unix.MCAST_MSFILTER, "three", GroupFilter(r.GroupIndex(), groupA, unix.MCAST_INCLUDE, 3, stranger, r.Top.Addrs[Near], sourceN(3)))
	}},
	{"source blocked", func(r *Run, k *Sock) {
		k.Join(groupA)
		k.SourceOption(unix.MCAST_BLOCK_SOURCE, groupA, r.Top.Addrs[Near])
	}},
	{"another source blocked", func(_ *Run, k *Sock) {
		k.Join(groupA)
		k.SourceOption(unix.MCAST_BLOCK_SOURCE, groupA, stranger)
	}},
	{"source unblocked", func(r *Run, k *Sock) {
		k.Join(groupA)
		k.SourceOption(unix.MCAST_BLOCK_SOURCE, groupA, r.Top.Addrs[Near])
		k.SourceOption(unix.MCAST_UNBLOCK_SOURCE, groupA, r.Top.Addrs[Near])
	}},
	{"left", func(_ *Run, k *Sock) { k.Join(groupA); k.Leave(groupA) }},
	{"member on the other interface", func(r *Run, k *Sock) {
		k.SetGroup(unix.IP_ADD_MEMBERSHIP, "other", Mreqn(groupA, anyone, 3-r.GroupIndex()))
	}},
}

// multicastCases look at what sockets hear of multicasts.
func multicastCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "multicast/" + name, Tops: everywhere, Run: run})
	}
	for _, all := range []int{1, 0} {
		for _, st := range listenStates {
			for _, st2 := range listenStates {
				add(fmt.Sprintf("IP_MULTICAST_ALL %d/%s, %s", all, st.name, st2.name), func(r *Run) {
					s := r.sender()
					a, b := r.listener("a", anyone), r.listener("b", anyone)
					for _, k := range []*Sock{a, b} {
						k.Set(unix.SOL_IP, unix.IP_MULTICAST_ALL, all)
					}
					st.make(r, a)
					st2.make(r, b)
					s.Sendto([]byte("hello"), 0, groupPort(groupA))
					s.Sendto(Data(3000), 0, groupPort(groupA))
					s.Sendto([]byte("other"), 0, groupPort(groupB))
					r.Sync()
					a.hear()
					b.hear()
					s.hear()
					s.Error()
				})
			}
		}
	}
	for name, addr := range map[string]func(r *Run) [4]byte{
		"any": func(*Run) [4]byte { return anyone }, "the group": func(*Run) [4]byte { return groupA }, "another group": func(*Run) [4]byte { return groupB },
		"its address": func(r *Run) [4]byte { return r.Top.Addrs[Far] }, "loopback": func(*Run) [4]byte { return loopback },
		"the broadcast": func(*Run) [4]byte { return directedBroadcast },
	} {
		for _, st := range listenStates {
			add(fmt.Sprintf("bound to %s/%s", name, st.name), func(r *Run) {
				s := r.sender()
				a := r.listener("a", addr(r))
				member := r.listener("member", anyone)
				member.Join(groupA)
				st.make(r, a)
				a.Names()
				s.Sendto([]byte("hello"), 0, groupPort(groupA))
				s.Sendto([]byte("other"), 0, groupPort(groupB))
				s.Sendto([]byte("you"), 0, r.Far(7002))
				r.Sync()
				a.hear()
				member.Poll()
				a.Sendto([]byte("back"), 0, r.Near(7001))
				r.Sync()
				s.hear()
				s.Error()
			})
		}
	}
	for name, peer := range map[string]func(r *Run) sockapi.Sockaddr{
		"the sender":      func(r *Run) sockapi.Sockaddr { return r.Near(7001) },
		"another port":    func(r *Run) sockapi.Sockaddr { return r.Near(7003) },
		"another address": func(*Run) sockapi.Sockaddr { return sockapi.Inet4([4]byte{10, 9, 0, 77}, 7001) },
		"the group":       func(*Run) sockapi.Sockaddr { return groupPort(groupR) },
	} {
		for _, bound := range [][4]byte{anyone, groupA} {
			add(fmt.Sprintf("connected to %s, bound to %s", name, ip(bound)), func(r *Run) {
				s := r.sender()
				a, b := r.listener("a", bound), r.listener("b", bound)
				a.Join(groupA)
				b.Join(groupA)
				a.Connect(peer(r))
				a.Names()
				s.Sendto([]byte("hello"), 0, groupPort(groupA))
				r.Sync()
				a.hear()
				b.hear()
				a.Connect(sockapi.Sockaddr{})
				a.Names()
				s.Sendto([]byte("again"), 0, groupPort(groupA))
				r.Sync()
				a.hear()
				b.hear()
			})
		}
	}
	return append(cases, groupSharingCases()...)
}

// groupSharingCases have several sockets in a group.
func groupSharingCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "multicast/" + name, Tops: everywhere, Run: run})
	}
	for _, share := range []int{0, unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		for _, bound := range [][4]byte{anyone, groupA} {
			add(fmt.Sprintf("each its copy/option %d, bound to %s", share, ip(bound)), func(r *Run) {
				s := r.sender()
				var members []*Sock
				for i := range 5 {
					k := r.FarUDP(fmt.Sprintf("m%d", i))
					if share != 0 {
						k.Set(unix.SOL_SOCKET, share, 1)
					}
					k.Bind(sockapi.Inet4(bound, 7002))
					if i < 4 {
						k.Join(groupA)
					}
					members = append(members, k)
				}
				s.Sendto([]byte("hello"), 0, groupPort(groupA))
				s.Sendto(Data(3000), 0, groupPort(groupA))
				members[1].Close()
				members[2].Leave(groupA)
				s.Sendto([]byte("fewer"), 0, groupPort(groupA))
				r.Sync()
				for _, k := range members {
					k.hear()
				}
				s.Sendto([]byte("you"), 0, groupPort(r.Top.Addrs[Far]))
				r.Sync()
				heard := 0
				for _, k := range members {
					if n, err := k.s.Recv(make([]byte, 10), unix.MSG_DONTWAIT); err == nil && n == 3 {
						heard++
					}
				}
				r.Logf("%d have it", heard)
			})
		}
	}
	add("leaving while data is queued", func(r *Run) {
		s, a := r.sender(), r.listener("a", anyone)
		a.Join(groupA)
		s.Sendto([]byte("one"), 0, groupPort(groupA))
		s.Sendto([]byte("two"), 0, groupPort(groupA))
		r.Sync()
		a.Leave(groupA)
		s.Sendto([]byte("three"), 0, groupPort(groupA))
		r.Sync()
		a.Inq()
		a.hear()
	})
	add("blocking while data is queued", func(r *Run) {
		s, a := r.sender(), r.listener("a", anyone)
		a.Join(groupA)
		s.Sendto([]byte("one"), 0, groupPort(groupA))
		r.Sync()
		a.SourceOption(unix.MCAST_BLOCK_SOURCE, groupA, r.Top.Addrs[Near])
		s.Sendto([]byte("two"), 0, groupPort(groupA))
		r.Sync()
		a.SetGroup(unix.MCAST_MSFILTER, "all", GroupFilter(r.GroupIndex(), groupA, unix.MCAST_EXCLUDE, 0))
		s.Sendto([]byte("three"), 0, groupPort(groupA))
		r.Sync()
		a.hear()
	})
	add("dropped at close", func(r *Run) {
		s, a, b := r.sender(), r.listener("a", anyone), r.listener("b", anyone)
		a.Join(groupA)
		s.Sendto([]byte("one"), 0, groupPort(groupA))
		r.Sync()
		b.hear()
		a.Close()
		s.Sendto([]byte("two"), 0, groupPort(groupA))
		r.Sync()
		b.hear()
		c := r.listener("c", anyone)
		c.Join(groupA)
		s.Sendto([]byte("three"), 0, groupPort(groupA))
		r.Sync()
		b.hear()
		c.hear()
	})
	add("nobody at the port", func(r *Run) {
		s, a := r.sender(), r.listener("a", anyone)
		a.Join(groupA)
		s.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		s.Sendto([]byte("one"), 0, sockapi.Inet4(groupA, 7099))
		r.Sync()
		s.Error()
		s.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
		s.Connect(sockapi.Inet4(groupA, 7099))
		s.Send([]byte("one"), 0)
		r.Sync()
		s.Error()
		s.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
	})
	add("224.0.0.1", func(r *Run) {
		s, a, b := r.sender(), r.listener("a", anyone), r.listener("b", anyone)
		b.Set(unix.SOL_IP, unix.IP_MULTICAST_ALL, 0)
		s.Sendto([]byte("one"), 0, groupPort(allHosts))
		r.Sync()
		a.hear()
		b.hear()
		s.hear()
		b.Join(allHosts)
		s.Sendto([]byte("two"), 0, groupPort(allHosts))
		r.Sync()
		a.hear()
		b.hear()
		b.Leave(allHosts)
		s.Sendto([]byte("three"), 0, groupPort(allHosts))
		r.Sync()
		a.hear()
		b.hear()
	})
	add("bound to a device", func(r *Run) {
		s, a, b := r.sender(), r.listener("a", anyone), r.listener("b", anyone)
		a.Join(groupA)
		name := []string{"lo", r.Device(Far)}[r.GroupIndex()-1]
		if r.Top.Name == Own.Name {
			name = "near0"
		}
		b.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(name))
		s.Sendto([]byte("one"), 0, groupPort(groupA))
		r.Sync()
		a.hear()
		b.hear()
		if name = "lo"; r.GroupIndex() == loIndex {
			name = "near0"
		}
		a.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(name))
		b.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(name))
		s.Sendto([]byte("two"), 0, groupPort(groupA))
		r.Sync()
		a.hear()
		b.hear()
	})
	add("UDP_GRO", func(r *Run) {
		s, a, b := r.sender(), r.listener("a", anyone), r.listener("b", anyone)
		a.Join(groupA)
		a.Set(unix.SOL_UDP, unix.UDP_GRO, 1)
		s.Sendto(Data(500), 0, groupPort(groupA))
		r.Sync()
		a.hear()
		b.hear()
	})
	return cases
}
