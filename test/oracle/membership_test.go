package oracle

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// Groups and sources of the cases.
var (
	groupA     = [4]byte{239, 1, 2, 3} // to which there is no route
	groupB     = [4]byte{239, 1, 2, 4}
	groupR     = [4]byte{239, 9, 0, 1} // to which there is (routedGroups)
	groupLocal = [4]byte{224, 0, 0, 77}
	anyone     = [4]byte{}
	loopback   = [4]byte{127, 0, 0, 1}
	stranger   = [4]byte{192, 0, 2, 1}
)

// sourceN returns a source.
func sourceN(n int) [4]byte { return [4]byte{192, 0, 2, byte(n)} }

// everywhere are the topologies in which multicasts differ: over a device, over
// loopback, and handed back by a device.
var everywhere = []Topology{Wire, Loopback, Own}

// kindsOfSocket are those that have the options for groups.
var kindsOfSocket = []struct {
	name string
	open func(r *Run) *Sock
}{
	{"UDP", func(r *Run) *Sock { return r.UDP("udp") }},
	{"ping", func(r *Run) *Sock { return r.Ping("ping") }},
	{"raw", func(r *Run) *Sock { return r.raw("raw", Near, experimental) }},
	{"packet", func(r *Run) *Sock { return r.packet("packet", Near, unix.SOCK_DGRAM, localExperimental) }},
}

// requests name a group on an interface in all ways.
func requests(r *Run, group [4]byte) map[string][]byte {
	at := r.GroupIndex()
	return map[string][]byte{
		"mreq, address":                 Mreq(group, r.Top.Addrs[Near]),
		"mreq, device's address":        Mreq(group, [4]byte{10, 9, 0, 1}),
		"mreq, loopback":                Mreq(group, loopback),
		"mreq, loopback's other":        Mreq(group, [4]byte{127, 9, 9, 9}),
		"mreq, neither":                 Mreq(group, anyone),
		"mreq, strange address":         Mreq(group, stranger),
		"mreq, broadcast":               Mreq(group, directedBroadcast),
		"mreq, group as address":        Mreq(group, group),
		"mreq, index as address":        Mreq(group, [4]byte{0, 0, 0, byte(at)}),
		"mreqn, index":                  Mreqn(group, anyone, at),
		"mreqn, index of lo":            Mreqn(group, anyone, loIndex),
		"mreqn, unknown index":          Mreqn(group, anyone, 99),
		"mreqn, negative index":         Mreqn(group, anyone, -1),
		"mreqn, address":                Mreqn(group, r.Top.Addrs[Near], 0),
		"mreqn, neither":                Mreqn(group, anyone, 0),
		"mreqn, index, strange address": Mreqn(group, stranger, at),
		"mreqn, index 99 and address":   Mreqn(group, r.Top.Addrs[Near], 99),
	}
}

// membershipCases join groups and leave them.
func membershipCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "membership/" + name, Run: run})
	}
	for what := range requests(&Run{}, groupA) {
		for name, group := range map[string][4]byte{"no route": groupA, "route": groupR, "no group": stranger, "224.0.0.1": allHosts, "zero": {}, "last": {239, 255, 255, 255}, "class E": {240, 0, 0, 1}} {
			add(fmt.Sprintf("join and leave/%s, %s", what, name), func(r *Run) {
				k := r.UDP("a")
				v := requests(r, group)[what]
				for range 2 {
					k.SetGroup(unix.IP_ADD_MEMBERSHIP, what, v)
					k.SetGroup(unix.IP_ADD_MEMBERSHIP, what, v)
					k.Filter(group)
					k.SetGroup(unix.IP_DROP_MEMBERSHIP, what, v)
					k.SetGroup(unix.IP_DROP_MEMBERSHIP, what, v)
				}
			})
		}
		for other := range requests(&Run{}, groupA) {
			if what == "mreqn, index, strange address" && other == "mreq, strange address" {
				continue // Linux leaves the group, and forgets to tell the interface
			}
			add(fmt.Sprintf("leave in another way/%s, %s", what, other), func(r *Run) {
				for _, group := range [][4]byte{groupA, groupR} {
					k := r.UDP("a")
					k.SetGroup(unix.IP_ADD_MEMBERSHIP, what, requests(r, group)[what])
					k.SetGroup(unix.IP_ADD_MEMBERSHIP, other, requests(r, group)[other])
					k.SetGroup(unix.IP_DROP_MEMBERSHIP, other, requests(r, group)[other])
					k.SetGroup(unix.IP_DROP_MEMBERSHIP, other, requests(r, group)[other])
					k.SetGroup(unix.IP_DROP_MEMBERSHIP, what, requests(r, group)[what])
					k.Close()
				}
			})
		}
	}
	for _, o := range []int{unix.IP_ADD_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP} {
		for n := range 20 {
			add(fmt.Sprintf("length/%s of %d", OptionName(unix.SOL_IP, o), n), func(r *Run) {
				k := r.UDP("a")
				v := append(Mreqn(groupA, r.Top.Addrs[Near], 0), 1, 2, 3, 4, 5, 6, 7, 8)
				k.SetBytes(unix.SOL_IP, o, v[:n])
				k.Leave(groupA)
				k.Join(groupA)
				k.SetBytes(unix.SOL_IP, o, v[:n])
				k.Leave(groupA)
			})
		}
	}
	for _, kind := range kindsOfSocket {
		add("kind/"+kind.name, func(r *Run) {
			k := kind.open(r)
			k.Join(groupA)
			k.Join(groupA)
			k.Join(allHosts)
			k.Filter(groupA)
			k.SourceOption(unix.MCAST_BLOCK_SOURCE, groupA, stranger)
			k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, groupB, stranger)
			k.Filter(groupA)
			k.Filter(groupB)
			k.By()
			k.Get(unix.SOL_IP, unix.IP_MULTICAST_IF, 4)
			for _, o := range []int{unix.IP_MULTICAST_TTL, unix.IP_MULTICAST_LOOP, unix.IP_MULTICAST_ALL} {
				k.GetInt(unix.SOL_IP, o)
				for _, v := range []int{-2, -1, 0, 1, 2, 255, 256} {
					k.Set(unix.SOL_IP, o, v)
					k.GetInt(unix.SOL_IP, o)
				}
			}
			k.Leave(groupA)
			k.Leave(groupA)
		})
	}
	add("as many as may be", func(r *Run) {
		k := r.UDP("a")
		for i := range byte(22) {
			k.Join([4]byte{239, 1, 3, i})
		}
		k.Leave([4]byte{239, 1, 3, 0})
		k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, groupA, stranger)
		k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, groupB, stranger)
		k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, groupA, sourceN(2))
		k.Join(groupA)
		k.Filter(groupA)
		k.Filter(groupB)
	})
	add("one group on two interfaces", func(r *Run) {
		k := r.UDP("a")
		for _, name := range []int{unix.IP_ADD_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP} {
			for _, index := range []int{loIndex, deviceIndex, loIndex} {
				k.SetGroup(name, fmt.Sprint(index), Mreqn(groupA, anyone, index))
			}
		}
		k.SetGroup(unix.IP_ADD_MEMBERSHIP, "1", Mreqn(groupR, anyone, loIndex))
		k.SetGroup(unix.IP_ADD_MEMBERSHIP, "2", Mreqn(groupR, anyone, deviceIndex))
		k.SetGroup(unix.IP_DROP_MEMBERSHIP, "neither", Mreq(groupR, anyone))
		k.SetGroup(unix.IP_DROP_MEMBERSHIP, "1", Mreqn(groupR, anyone, loIndex))
		k.SetGroup(unix.IP_DROP_MEMBERSHIP, "2", Mreqn(groupR, anyone, deviceIndex))
	})
	add("bound to a device", func(r *Run) {
		k := r.UDP("a")
		k.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(r.Device(Near)))
		for what, v := range map[string][]byte{"neither": Mreq(groupA, anyone)} {
			k.SetGroup(unix.IP_ADD_MEMBERSHIP, what, v)
		}
		k.SetGroup(unix.IP_ADD_MEMBERSHIP, "other", Mreqn(groupA, anyone, 3-r.Index()))
		k.Join(groupA)
	})
	add("a closed socket", func(r *Run) {
		k := r.UDP("a")
		k.Join(groupA)
		k.Close()
		k.Join(groupA)
		k.Leave(groupA)
		k.Filter(groupA)
	})
	add("a socket that was shut down", func(r *Run) {
		k, _ := r.Pair()
		k.Shutdown(unix.SHUT_RDWR)
		k.Join(groupA)
		k.Leave(groupA)
	})
	return append(cases, groupReqCases()...)
}

// groupReqCases join groups by the structures of RFC 3678.
func groupReqCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "membership/group_req/" + name, Run: run})
	}
	for _, group := range [][4]byte{groupA, groupR, allHosts, stranger, {}} {
		for _, family := range []int{unix.AF_INET, unix.AF_UNSPEC, unix.AF_INET6, unix.AF_PACKET, 99} {
			for _, index := range []int{0, loIndex, deviceIndex, 99, -1} {
				add(fmt.Sprintf("%s, family %d, index %d", ip(group), family, index), func(r *Run) {
					k := r.UDP("a")
					v := GroupReq(index, family, group)
					for _, o := range []int{unix.MCAST_LEAVE_GROUP, unix.MCAST_JOIN_GROUP, unix.MCAST_JOIN_GROUP, unix.MCAST_LEAVE_GROUP, unix.MCAST_LEAVE_GROUP} {
						k.SetGroup(o, "it", v)
					}
					k.SetGroup(unix.MCAST_JOIN_GROUP, "it", v)
					k.Leave(group)
					k.Join(group)
					k.SetGroup(unix.MCAST_LEAVE_GROUP, "it", v)
				})
			}
		}
	}
	for _, o := range []int{unix.MCAST_JOIN_GROUP, unix.MCAST_LEAVE_GROUP} {
		for _, n := range []int{0, 4, 8, 16, 24, 132, 135, 136, 137, 144, 264} {
			add(fmt.Sprintf("%s of %d bytes", OptionName(unix.SOL_IP, o), n), func(r *Run) {
				k := r.UDP("a")
				k.Join(groupB)
				v := append(GroupReq(r.GroupIndex(), unix.AF_INET, groupA), make([]byte, 136)...)
				k.SetGroup(o, "it", v[:n])
				k.Filter(groupA)
				k.SetGroup(o, "it", append(GroupReq(r.GroupIndex(), unix.AF_INET, groupB), make([]byte, 136)...)[:n])
				k.Filter(groupB)
			})
		}
	}
	return cases
}

// allHosts is the group that every host is in (RFC 1112).
var allHosts = [4]byte{224, 0, 0, 1}

// multicastIfCases set IP_MULTICAST_IF.
func multicastIfCases() (cases []Case) {
	for what := range requests(&Run{}, groupA) {
		for _, device := range []string{"", "lo", "near0"} {
			cases = append(cases, Case{Name: fmt.Sprintf("multicast if/%s, bound to %q", what, device), Tops: everywhere, Run: func(r *Run) {
				k := r.UDP("a")
				if device != "" {
					k.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(device))
				}
				v := requests(r, groupA)[what]
				k.SetGroup(unix.IP_MULTICAST_IF, what, v)
				k.Get(unix.SOL_IP, unix.IP_MULTICAST_IF, 4)
				k.SetGroup(unix.IP_MULTICAST_IF, "address of it", v[4:8])
				k.Get(unix.SOL_IP, unix.IP_MULTICAST_IF, 4)
				k.SetGroup(unix.IP_MULTICAST_IF, what, v)
				k.Sendto([]byte("x"), 0, sockapi.Inet4(groupA, 7002))
				k.Connect(sockapi.Inet4(groupA, 7002))
				k.Names()
				k.Connect(sockapi.Sockaddr{})
				k.SetGroup(unix.IP_MULTICAST_IF, "none", make([]byte, 4))
				k.Get(unix.SOL_IP, unix.IP_MULTICAST_IF, 4)
				k.Sendto([]byte("x"), 0, sockapi.Inet4(groupA, 7002))
				k.Connect(sockapi.Inet4(groupA, 7002))
				k.Names()
			}})
		}
	}
	for n := range 17 {
		cases = append(cases, Case{Name: fmt.Sprintf("multicast if/of %d bytes", n), Tops: everywhere, Run: func(r *Run) {
			for _, v := range [][]byte{Mreqn(r.Top.Addrs[Near], r.Top.Addrs[Near], 0), Mreqn(anyone, anyone, r.GroupIndex())} {
				k := r.UDP("a")
				k.SetBytes(unix.SOL_IP, unix.IP_MULTICAST_IF, append(v, 0, 0, 0, 0)[:n])
				k.Get(unix.SOL_IP, unix.IP_MULTICAST_IF, 4)
			}
		}})
	}
	cases = append(cases, Case{Name: "multicast if/bound to a device afterwards", Tops: everywhere, Run: func(r *Run) {
		k := r.UDP("a")
		k.By()
		k.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte([]string{"near0", "lo"}[r.GroupIndex()-1]))
		k.Sendto([]byte("x"), 0, sockapi.Inet4(groupA, 7002))
		k.Connect(sockapi.Inet4(groupA, 7002))
		k.Names()
	}})
	return cases
}
