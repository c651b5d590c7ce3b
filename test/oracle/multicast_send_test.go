package oracle

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// multicastSendCases look at how multicasts are sent.
func multicastSendCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "to a group/" + name, Tops: everywhere, Run: run})
	}
	for _, loop := range []int{0, 1} {
		for _, ttl := range []int{-1, 0, 1, 2, 255} {
			for _, nearMember := range []bool{false, true} {
				name := fmt.Sprintf("loop %d, TTL %d, member on its own host %t", loop, ttl, nearMember)
				if ttl == 0 && !nearMember {
					name = fmt.Sprintf("TTL 0, no member on its own host/loop %d", loop)
				}
				add(name, func(r *Run) {
					s, a := r.sender(), r.listener("a", anyone)
					a.Join(groupA)
					near := r.UDP("near")
					near.told()
					near.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
					near.Bind(groupPort(anyone))
					s.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
					if nearMember {
						near.Join(groupA)
						s.Join(groupA)
					}
					s.Set(unix.SOL_IP, unix.IP_MULTICAST_LOOP, loop)
					s.Set(unix.SOL_IP, unix.IP_MULTICAST_TTL, ttl)
					s.Set(unix.SOL_IP, unix.IP_TTL, 9)
					for _, n := range []int{3, 1472, 1473, 4000} {
						s.Sendto(Data(n), 0, groupPort(groupA))
					}
					s.Sendto([]byte("itself"), 0, sockapi.Inet4(groupA, 7001))
					near.Set(unix.SOL_IP, unix.IP_MULTICAST_LOOP, 0) // the receiver's does not matter
					s.Sendto([]byte("last"), 0, groupPort(groupA))
					r.Sync()
					a.hear()
					near.hear()
					s.hear()
					s.Error()
				})
			}
		}
	}
	for _, dst := range [][4]byte{groupA, groupR, groupLocal, allHosts} {
		for _, how := range senders {
			add(fmt.Sprintf("%s, %s", ip(dst), how.name), func(r *Run) {
				a := r.listener("a", anyone)
				a.Join(dst)
				near := r.UDP("near")
				near.told()
				near.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
				near.Bind(groupPort(dst))
				s := r.UDP("s")
				how.make(r, s)
				s.Sendto([]byte("one"), 0, groupPort(dst))
				s.Sendto([]byte("two"), unix.MSG_DONTROUTE, groupPort(dst))
				s.Sendmmsg(0, groupPort(dst), []byte("three"), []byte("four"))
				s.Connect(groupPort(dst))
				s.Names()
				s.Send([]byte("five"), 0)
				s.Send(Data(2000), 0)
				s.Error()
				r.Sync()
				a.hear()
				near.hear()
				s.hear()
			})
		}
		for name, control := range sentInfos {
			add(fmt.Sprintf("%s, with %s", ip(dst), name), func(r *Run) {
				a := r.listener("a", anyone)
				a.Join(dst)
				for _, by := range []bool{false, true} {
					s := r.UDP(fmt.Sprintf("s%t", by))
					if by {
						s.By()
					}
					s.Sendmsg([][]byte{[]byte("hello")}, control(r), 0, groupPort(dst))
					s.Bind(r.Near(7001))
					s.Sendmsg([][]byte{[]byte("again")}, control(r), 0, groupPort(dst))
					r.Sync()
					a.hear()
					s.Close()
				}
			})
		}
	}
	for _, size := range []int{1472, 1473, 65507, 65508} {
		for rule := range 6 {
			add(fmt.Sprintf("%d bytes, IP_MTU_DISCOVER %d", size, rule), func(r *Run) {
				if r.Top.Name == Loopback.Name && size == 65508 {
					return // see Deliberate
				}
				s, a := r.sender(), r.listener("a", anyone)
				a.Join(groupA)
				s.Set(unix.SOL_IP, unix.IP_MTU_DISCOVER, rule)
				s.Sendto(Data(size), 0, groupPort(groupA))
				s.Connect(groupPort(groupA))
				s.GetInt(unix.SOL_IP, unix.IP_MTU)
				s.Send(Data(size), 0)
				s.Error()
				r.Sync()
				a.Drain()
			})
		}
	}
	for _, connected := range []bool{false, true} {
		add(fmt.Sprintf("UDP_SEGMENT, connected %t", connected), func(r *Run) {
			s, a, b := r.sender(), r.listener("a", anyone), r.listener("b", anyone)
			a.Join(groupA)
			near := r.UDP("near")
			near.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			near.Bind(groupPort(anyone))
			near.Join(groupA)
			s.Set(unix.SOL_UDP, unix.UDP_SEGMENT, 700)
			to := groupPort(groupA)
			if connected {
				s.Connect(to)
				to = sockapi.Sockaddr{}
			}
			for _, n := range []int{10, 700, 701, 2000} {
				s.Sendto(Data(n), 0, to)
			}
			r.Sync()
			a.hear()
			b.hear()
			near.hear()
		})
	}
	for _, o := range []struct{ name, before, after int }{{unix.IP_MULTICAST_TTL, 3, 9}, {unix.IP_MULTICAST_LOOP, 0, 1}, {unix.IP_MULTICAST_LOOP, 1, 0}} {
		add(fmt.Sprintf("%s of a connected socket, %d then %d", OptionName(unix.SOL_IP, o.name), o.before, o.after), func(r *Run) {
			s, a := r.sender(), r.listener("a", anyone)
			a.Join(groupA)
			s.Set(unix.SOL_IP, o.name, o.before)
			s.Connect(groupPort(groupA))
			s.Send([]byte("one"), 0)
			s.Set(unix.SOL_IP, o.name, o.after)
			s.Send([]byte("two"), 0)
			s.SetGroup(unix.IP_MULTICAST_IF, "other", Mreqn(anyone, anyone, 3-r.GroupIndex()))
			s.Send([]byte("three"), 0)
			s.Names()
			r.Sync()
			a.hear()
		})
	}
	add("corked", func(r *Run) {
		s, a := r.sender(), r.listener("a", anyone)
		a.Join(groupA)
		s.Sendto([]byte("one"), unix.MSG_MORE, groupPort(groupA))
		s.Set(unix.SOL_IP, unix.IP_MULTICAST_TTL, 7)
		s.Sendto([]byte("two"), 0, groupPort(groupA))
		r.Sync()
		a.hear()
	})
	for _, oif := range []int{loIndex, deviceIndex} {
		cases = append(cases, Case{Name: fmt.Sprintf("to a group/IP_UNICAST_IF %d is not its", oif), Tops: []Topology{Wire}, Run: func(r *Run) {
			for _, dst := range [][4]byte{groupA, groupR, stranger, r.Top.Addrs[Far], everyone} {
				k := r.UDP("k")
				k.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
				k.Set(unix.SOL_IP, unix.IP_UNICAST_IF, oif<<24)
				k.Sendto([]byte("x"), 0, groupPort(dst))
				k.Connect(groupPort(dst))
				k.Names()
				k.GetInt(unix.SOL_IP, unix.IP_MTU)
			}
		}})
	}
	return append(cases, otherKindCases()...)
}

// senders are ways to say where multicasts leave.
var senders = []struct {
	name string
	make func(r *Run, k *Sock)
}{
	{"nothing said", func(*Run, *Sock) {}},
	{"IP_MULTICAST_IF by index", func(_ *Run, k *Sock) { k.By() }},
	{"IP_MULTICAST_IF by address", func(r *Run, k *Sock) {
		k.SetGroup(unix.IP_MULTICAST_IF, "address", Mreq(r.Top.Addrs[Near], r.Top.Addrs[Near]))
	}},
	{"IP_MULTICAST_IF by index and a strange address", func(r *Run, k *Sock) {
		k.SetGroup(unix.IP_MULTICAST_IF, "strange", Mreqn(anyone, stranger, r.GroupIndex()))
	}},
	{"IP_MULTICAST_IF of the other interface", func(r *Run, k *Sock) {
		k.SetGroup(unix.IP_MULTICAST_IF, "other", Mreqn(anyone, anyone, 3-r.GroupIndex()))
	}},
	{"bound to its device", func(r *Run, k *Sock) {
		k.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte([]string{"lo", "near0"}[r.GroupIndex()-1]))
	}},
	{"bound to the other device", func(r *Run, k *Sock) {
		k.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte([]string{"near0", "lo"}[r.GroupIndex()-1]))
	}},
	{"bound to its address", func(r *Run, k *Sock) { k.Bind(r.Near(7001)) }},
	{"bound to loopback", func(_ *Run, k *Sock) { k.Bind(sockapi.Inet4(loopback, 7001)) }},
	{"bound to loopback's other", func(_ *Run, k *Sock) { k.Bind(sockapi.Inet4([4]byte{127, 9, 9, 9}, 7001)) }},
	{"bound to its address, by the other interface", func(r *Run, k *Sock) {
		k.Bind(r.Near(7001))
		k.SetGroup(unix.IP_MULTICAST_IF, "other", Mreqn(anyone, anyone, 3-r.GroupIndex()))
	}},
	{"bound to the group", func(_ *Run, k *Sock) { k.Bind(sockapi.Inet4(groupA, 7001)) }},
	{"bound to the group, by index", func(_ *Run, k *Sock) { k.Bind(sockapi.Inet4(groupA, 7001)); k.By() }},
	{"bound to the broadcast", func(_ *Run, k *Sock) { k.Bind(sockapi.Inet4(directedBroadcast, 7001)) }},
	{"connected before it was bound to the group", func(r *Run, k *Sock) {
		k.Connect(r.Far(7003))
		k.Connect(sockapi.Sockaddr{})
		k.Bind(sockapi.Inet4(groupA, 7001))
	}},
	{"bound to the group, and connected before", func(r *Run, k *Sock) {
		k.Bind(sockapi.Inet4(groupA, 7001))
		k.Connect(r.Far(7003))
		k.Connect(sockapi.Sockaddr{})
	}},
	{"IP_UNICAST_IF", func(r *Run, k *Sock) { k.Set(unix.SOL_IP, unix.IP_UNICAST_IF, r.GroupIndex()<<24) }},
	{"SO_DONTROUTE", func(_ *Run, k *Sock) { k.Set(unix.SOL_SOCKET, unix.SO_DONTROUTE, 1) }},
	{"SO_DONTROUTE, by index", func(_ *Run, k *Sock) { k.Set(unix.SOL_SOCKET, unix.SO_DONTROUTE, 1); k.By() }},
	{"without SO_BROADCAST, and connected elsewhere", func(r *Run, k *Sock) { k.Connect(r.Far(7003)); k.By() }},
	{"IP_TRANSPARENT", func(_ *Run, k *Sock) {
		k.Set(unix.SOL_IP, unix.IP_TRANSPARENT, 1)
		k.Bind(sockapi.Inet4(stranger, 7001))
		k.By()
	}},
}

// sentInfos are control messages to send multicasts with.
var sentInfos = map[string]func(r *Run) []byte{
	"an index":           func(r *Run) []byte { return info(r.GroupIndex(), anyone) },
	"the other's index":  func(r *Run) []byte { return info(3-r.GroupIndex(), anyone) },
	"index 99":           func(*Run) []byte { return info(99, anyone) },
	"a source":           func(r *Run) []byte { return info(0, r.Top.Addrs[Near]) },
	"index and source":   func(r *Run) []byte { return info(r.GroupIndex(), r.Top.Addrs[Near]) },
	"a strange source":   func(r *Run) []byte { return info(r.GroupIndex(), stranger) },
	"a group as source":  func(r *Run) []byte { return info(r.GroupIndex(), groupB) },
	"other's and source": func(r *Run) []byte { return info(3-r.GroupIndex(), r.Top.Addrs[Near]) },
	"TTL 9":              func(*Run) []byte { return CmsgInt(unix.SOL_IP, unix.IP_TTL, 9) },
	"TTL 0":              func(*Run) []byte { return CmsgInt(unix.SOL_IP, unix.IP_TTL, 0) },
	"TOS 40":             func(*Run) []byte { return CmsgInt(unix.SOL_IP, unix.IP_TOS, 40) },
	"TTL 5 and an index": func(r *Run) []byte {
		return append(CmsgInt(unix.SOL_IP, unix.IP_TTL, 5), info(r.GroupIndex(), anyone)...)
	},
	"segments and source": func(r *Run) []byte {
		return append(Cmsg(unix.SOL_UDP, unix.UDP_SEGMENT, []byte{2, 0}), info(r.GroupIndex(), r.Top.Addrs[Near])...)
	},
}

// info returns the control message IP_PKTINFO.
func info(index int, src [4]byte) []byte {
	return Cmsg(unix.SOL_IP, unix.IP_PKTINFO, pktinfo(index, src, anyone))
}

// otherKindCases are of ping and raw sockets, and of packet sockets that look on.
func otherKindCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "to a group/" + name, Tops: everywhere, Run: run})
	}
	add("echo requests", func(r *Run) {
		far := r.listener("far", anyone)
		far.Join(groupA)
		k := r.Ping("ping")
		k.Bind(sockapi.Inet4(anyone, 77))
		request := []byte{8, 0, 0, 0, 0, 0, 0, 1, 'x'}
		k.Sendto(request, 0, sockapi.Inet4(groupA, 0))
		k.By()
		for _, g := range [][4]byte{groupA, groupR, allHosts} {
			k.Sendto(request, 0, sockapi.Inet4(g, 0))
		}
		k.Connect(sockapi.Inet4(groupA, 0))
		k.Names()
		k.Send(request, 0)
		r.Sync()
		k.hear()
		k.Error()
	})
	for _, st := range listenStates {
		for _, all := range []int{1, 0} {
			add(fmt.Sprintf("raw, IP_MULTICAST_ALL %d/%s", all, st.name), func(r *Run) {
				s := r.raw("s", Near, experimental)
				s.By()
				var far []*Sock
				for i, bound := range [][4]byte{anyone, groupA, r.Top.Addrs[Far]} {
					k := r.raw(fmt.Sprintf("far%d", i), Far, experimental)
					k.Bind(sockapi.Inet4(bound, 0))
					k.Set(unix.SOL_IP, unix.IP_MULTICAST_ALL, all)
					st.make(r, k)
					far = append(far, k)
				}
				s.Sendto([]byte("one"), 0, sockapi.Inet4(groupA, 0))
				s.Set(unix.SOL_IP, unix.IP_MULTICAST_TTL, 9)
				s.Sendto(Data(3000), 0, sockapi.Inet4(groupA, 0))
				s.Sendto([]byte("other"), 0, sockapi.Inet4(groupB, 0))
				r.Sync()
				for _, k := range far {
					k.DrainIP()
				}
				s.DrainIP()
			})
		}
	}
	add("raw, with a header", func(r *Run) {
		a := r.raw("a", Far, experimental)
		a.Join(groupA)
		s := r.raw("s", Near, unix.IPPROTO_RAW)
		for _, src := range [][4]byte{anyone, r.Top.Addrs[Near], stranger} {
			s.Sendto(header(experimental, src, groupA, "no route"), 0, sockapi.Inet4(groupA, 0))
		}
		s.By()
		for _, src := range [][4]byte{anyone, r.Top.Addrs[Near]} {
			s.Sendto(header(experimental, src, groupA, "one"), 0, sockapi.Inet4(groupA, 0))
		}
		s.Set(unix.SOL_IP, unix.IP_MULTICAST_LOOP, 0)
		s.Sendto(header(experimental, anyone, groupA, "two"), 0, sockapi.Inet4(groupA, 0))
		r.Sync()
		a.DrainIP()
	})
	add("raw, hearing UDP's", func(r *Run) {
		s, a := r.sender(), r.listener("a", anyone)
		a.Join(groupA)
		k, other := r.raw("k", Far, unix.IPPROTO_UDP), r.raw("other", Far, unix.IPPROTO_UDP)
		other.Set(unix.SOL_IP, unix.IP_MULTICAST_ALL, 0)
		own := r.raw("own", Near, unix.IPPROTO_UDP)
		s.Sendto([]byte("one"), 0, groupPort(groupA))
		s.Sendto([]byte("nobody"), 0, groupPort(groupB))
		r.Sync()
		k.DrainIP()
		other.DrainIP()
		own.DrainIP()
		a.hear()
	})
	add("raw, connected", func(r *Run) {
		s := r.raw("s", Near, experimental)
		s.Connect(sockapi.Inet4(groupA, 0))
		s.By()
		s.Connect(sockapi.Inet4(groupA, 0))
		s.Names()
		s.Send([]byte("x"), 0)
		k := r.raw("k", Far, experimental)
		k.Join(groupA)
		k.Connect(r.Near(0))
		s.Send([]byte("y"), 0)
		r.Sync()
		k.DrainIP()
	})
	add("seen on the wire", func(r *Run) {
		if r.Top.Name == Loopback.Name {
			return
		}
		p := r.packet("p", Near, unix.SOCK_RAW, unix.ETH_P_ALL)
		s := r.sender()
		for _, g := range [][4]byte{groupA, groupLocal, {239, 129, 2, 3}} {
			s.Sendto([]byte("seen by all"), 0, groupPort(g))
		}
		s.Set(unix.SOL_IP, unix.IP_MULTICAST_TTL, 0)
		s.Join(groupB)
		s.Sendto([]byte("not seen by all"), 0, groupPort(groupB))
		r.Sync()
		p.DrainFrames(false, "seen by all")
	})
	return cases
}
