package oracle

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// addresses are what sockets are bound to, connected with and send to.
var addresses = []struct {
	name string
	ip   [4]byte
}{
	{"any", [4]byte{}},
	{"loopback", [4]byte{127, 0, 0, 1}},
	{"another loopback", [4]byte{127, 1, 2, 3}},
	{"loopback network", [4]byte{127, 0, 0, 0}},
	{"loopback broadcast", [4]byte{127, 255, 255, 255}},
	{"near", [4]byte{10, 9, 0, 1}},
	{"far", [4]byte{10, 9, 0, 2}},
	{"subnet", [4]byte{10, 9, 0, 0}},
	{"directed broadcast", [4]byte{10, 9, 0, 255}},
	{"limited broadcast", [4]byte{255, 255, 255, 255}},
	{"all hosts", [4]byte{224, 0, 0, 1}},
	{"a group", [4]byte{239, 1, 2, 3}},
	{"class E", [4]byte{240, 0, 0, 1}},
	{"zero network", [4]byte{0, 0, 0, 1}},
	{"without a route", [4]byte{192, 0, 2, 1}},
}

// addressCases bind, connect and send to all kinds of addresses.
func addressCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: name, Tops: []Topology{Wire}, Run: run})
	}
	for _, a := range addresses {
		add("bind/udp/"+a.name, func(r *Run) {
			k := r.UDP("a")
			k.Bind(sockapi.Inet4(a.ip, 7001))
			k.Names()
			k.Bind(sockapi.Inet4(a.ip, 7002))
			k.Names()
		})
		add("bind/udp, port 0/"+a.name, func(r *Run) {
			k := r.UDP("a")
			k.Bind(sockapi.Inet4(a.ip, 0))
			k.Names()
			k.Bind(r.Near(7001))
			k.Names()
		})
		add("bind/ping/"+a.name, func(r *Run) {
			k := r.Ping("a")
			k.Bind(sockapi.Inet4(a.ip, 71))
			k.Names()
			k.Bind(sockapi.Inet4(a.ip, 72))
			k.Names()
		})
		add("bind/then connect to far/"+a.name, func(r *Run) {
			k := r.UDP("a")
			k.Bind(sockapi.Inet4(a.ip, 7001))
			k.Connect(r.Far(7002))
			k.Names()
			k.Send([]byte("x"), 0)
			k.Connect(sockapi.Sockaddr{})
			k.Names()
			k.Connect(sockapi.Inet4([4]byte{127, 0, 0, 1}, 7002))
			k.Names()
			k.Connect(sockapi.Sockaddr{})
			k.Names()
		})
		add("bind/then send to far/"+a.name, func(r *Run) {
			k, b := r.UDP("a"), r.FarUDP("b")
			b.Bind(r.Far(7002))
			k.Bind(sockapi.Inet4(a.ip, 7001))
			k.Sendto([]byte("x"), 0, r.Far(7002))
			r.SyncAnswers()
			b.Recvfrom(10, unix.MSG_DONTWAIT)
			k.Sendto([]byte("y"), 0, sockapi.Inet4([4]byte{127, 0, 0, 1}, 7002))
		})
		for _, broadcast := range []int{0, 1} {
			with := []string{"", " with SO_BROADCAST"}[broadcast]
			add("connect/udp/"+a.name+with, func(r *Run) {
				k := r.UDP("a")
				k.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, broadcast)
				k.Connect(sockapi.Inet4(a.ip, 7002))
				k.Names()
				k.GetInt(unix.SOL_IP, unix.IP_MTU)
				k.Connect(sockapi.Sockaddr{})
				k.Names()
			})
			add("connect/bound/"+a.name+with, func(r *Run) {
				k := r.UDP("a")
				k.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, broadcast)
				k.Bind(r.Near(7001))
				k.Connect(sockapi.Inet4(a.ip, 7002))
				k.Names()
				k.Connect(sockapi.Sockaddr{})
				k.Names()
			})
			add("connect/ping/"+a.name+with, func(r *Run) {
				k := r.Ping("a")
				k.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, broadcast)
				k.Connect(sockapi.Inet4(a.ip, 0))
				k.Names()
			})
			add("sendto/udp/"+a.name+with, func(r *Run) {
				k := r.UDP("a")
				k.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, broadcast)
				k.Sendto([]byte("x"), 0, sockapi.Inet4(a.ip, 7002))
				k.Names()
				k.Sendto([]byte("x"), unix.MSG_DONTROUTE, sockapi.Inet4(a.ip, 7002))
				k.Sendmsg([][]byte{[]byte("x")}, nil, 0, sockapi.Inet4(a.ip, 7002))
				k.Sendmmsg(0, sockapi.Inet4(a.ip, 7002), []byte("x"), []byte("y"))
			})
			add("sendto/bound/"+a.name+with, func(r *Run) {
				k := r.UDP("a")
				k.Bind(r.Near(7001))
				k.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, broadcast)
				k.Sendto([]byte("x"), 0, sockapi.Inet4(a.ip, 7002))
			})
			add("sendto/ping/"+a.name+with, func(r *Run) {
				k := r.Ping("a")
				k.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, broadcast)
				k.Sendto(echo("x"), 0, sockapi.Inet4(a.ip, 0))
				k.Names()
			})
		}
		add("sendto/port 0/"+a.name, func(r *Run) {
			k := r.UDP("a")
			k.Sendto([]byte("x"), 0, sockapi.Inet4(a.ip, 0))
			k.Names()
		})
		add("connect/port 0/"+a.name, func(r *Run) {
			k := r.UDP("a")
			k.Connect(sockapi.Inet4(a.ip, 0))
			k.Names()
			k.Send([]byte("x"), 0)
		})
	}
	cases = append(cases, familyCases()...)
	cases = append(cases, reconnectCases()...)
	return append(cases, reuseCases()...)
}

// familyCases use addresses of other families.
func familyCases() (cases []Case) {
	for name, a := range map[string]sockapi.Sockaddr{
		"AF_UNSPEC with an address": unspecified([4]byte{10, 9, 0, 1}),
		"AF_UNSPEC with zeros":      unspecified([4]byte{}),
		"AF_INET6":                  sockapi.RawSockaddr(unix.AF_INET6, make([]byte, 26)),
		"AF_UNIX":                   sockapi.Unix("/tmp/none"),
		"AF_PACKET":                 sockapi.LinkLayer(1, 0x800, [6]byte{}),
		"AF_NETLINK":                sockapi.Netlink(0, 0),
		"AF_INET, short":            sockapi.RawSockaddr(unix.AF_APPLETALK, []byte{1, 2}),
		"family 99":                 sockapi.RawSockaddr(99, make([]byte, 14)),
	} {
		for _, kind := range []string{"udp", "ping"} {
			cases = append(cases, Case{Name: "family/" + kind + "/" + name, Run: func(r *Run) {
				open := r.UDP
				if kind == "ping" {
					open = r.Ping
				}
				open("b").Bind(a)
				open("c").Connect(a)
				open("s").Sendto(echo("x"), 0, a)
				open("m").Sendmsg([][]byte{echo("x")}, nil, 0, a)
				open("n").Sendmmsg(0, a, echo("x"), echo("y"))
			}})
		}
	}
	return cases
}

// unspecified returns an address of AF_UNSPEC with all that AF_INET's has.
func unspecified(ip [4]byte) sockapi.Sockaddr {
	a := sockapi.Inet4(ip, 7001)
	a.Family = unix.AF_UNSPEC
	return a
}

// echo returns an echo request with a payload, for ping sockets and others.
func echo(payload string) []byte { return append([]byte{8, 0, 0, 0, 0, 0, 0, 1}, payload...) }

func reconnectCases() []Case {
	return []Case{
		{Name: "connect/again elsewhere", Run: func(r *Run) {
			a := r.UDP("a")
			b, c := r.FarUDP("b"), r.FarUDP("c")
			b.Bind(r.Far(7002))
			c.Bind(r.Far(7003))
			a.Connect(r.Far(7002))
			a.Names()
			a.Send([]byte("to b"), 0)
			a.Connect(r.Far(7003))
			a.Names()
			a.Send([]byte("to c"), 0)
			r.SyncAnswers()
			b.Recvfrom(10, unix.MSG_DONTWAIT)
			c.Recvfrom(10, unix.MSG_DONTWAIT)
			b.Sendto([]byte("from b"), 0, a.Addr())
			c.Sendto([]byte("from c"), 0, a.Addr())
			r.SyncAnswers()
			a.Drain()
		}},
		{Name: "connect/what is queued stays", Run: func(r *Run) {
			a, b, c := r.UDP("a"), r.FarUDP("b"), r.FarUDP("c")
			a.Bind(r.Near(7001))
			b.Bind(r.Far(7002))
			c.Bind(r.Far(7003))
			b.Sendto([]byte("b before"), 0, r.Near(7001))
			c.Sendto([]byte("c before"), 0, r.Near(7001))
			r.SyncAnswers()
			a.Connect(r.Far(7002))
			b.Sendto([]byte("b after"), 0, r.Near(7001))
			c.Sendto([]byte("c after"), 0, r.Near(7001))
			r.SyncAnswers()
			a.Drain()
			c.Error()
		}},
		{Name: "connect/to oneself", Run: func(r *Run) {
			a := r.UDP("a")
			a.Bind(r.Near(7001))
			a.Connect(r.Near(7001))
			a.Names()
			a.Send([]byte("me"), 0)
			r.SyncAnswers()
			a.Recvfrom(10, unix.MSG_DONTWAIT)
		}},
		{Name: "connect/disconnect an unconnected one", Run: func(r *Run) {
			a := r.UDP("a")
			a.Connect(sockapi.Sockaddr{})
			a.Names()
			a.Bind(r.Near(7001))
			a.Connect(sockapi.Sockaddr{})
			a.Names()
			a.Connect(r.Far(7002))
			a.Connect(sockapi.Sockaddr{})
			a.Connect(sockapi.Sockaddr{})
			a.Names()
			a.Send([]byte("x"), 0)
		}},
		{Name: "connect/a port of the system's is given up", Run: func(r *Run) {
			a := r.UDP("a")
			a.Connect(r.Far(7002))
			a.Names()
			a.Connect(sockapi.Sockaddr{})
			a.Names()
			a.Bind(r.Near(7001))
			a.Names()
			a.Connect(r.Far(7002))
			a.Connect(sockapi.Sockaddr{})
			a.Names()
		}},
		{Name: "connect/a port chosen by a send stays", Run: func(r *Run) {
			a := r.UDP("a")
			a.Sendto([]byte("x"), 0, r.Far(7002))
			a.Names()
			a.Connect(r.Far(7002))
			a.Names()
			a.Connect(sockapi.Sockaddr{})
			a.Names()
			a.Bind(r.Near(7003))
			a.Names()
		}},
		{Name: "connect/a failed connect leaves the old one", Run: func(r *Run) {
			a := r.UDP("a")
			a.Connect(r.Far(7002))
			a.Connect(sockapi.Inet4([4]byte{192, 0, 2, 1}, 7))
			a.Names()
			a.Connect(sockapi.Inet4([4]byte{255, 255, 255, 255}, 7))
			a.Names()
			a.Connect(sockapi.RawSockaddr(99, make([]byte, 14)))
			a.Names()
		}},
		{Name: "connect/several to one server", Run: func(r *Run) {
			srv, k1, k2 := r.FarUDP("server"), r.FarUDP("to a"), r.FarUDP("to b")
			a, b, c := r.UDP("a"), r.UDP("b"), r.UDP("c")
			for i, k := range []*Sock{srv, k1, k2} {
				k.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
				k.Bind(r.Far(7002))
				if i > 0 {
					k.Connect(r.Near(7000 + uint16(i)*10))
				}
			}
			a.Bind(r.Near(7010))
			b.Bind(r.Near(7020))
			c.Bind(r.Near(7030))
			for _, k := range []*Sock{a, b, c} {
				k.Sendto([]byte(k.Name), 0, r.Far(7002))
			}
			r.SyncAnswers()
			srv.Drain()
			k1.Drain()
			k2.Drain()
		}},
	}
}

// reuseCases bind two sockets each to addresses that may exclude one another,
// with all the options that may permit it, and see who gets what.
func reuseCases() (cases []Case) {
	places := []struct {
		name string
		ip   func(r *Run) [4]byte
	}{
		{"any", func(*Run) [4]byte { return [4]byte{} }},
		{"own", func(r *Run) [4]byte { return r.Top.Addrs[Near] }},
		{"lo2", func(*Run) [4]byte { return [4]byte{127, 0, 0, 2} }},
	}
	reuse := []struct {
		name       string
		addr, port int
	}{{"none", 0, 0}, {"addr", 1, 0}, {"port", 0, 1}, {"both", 1, 1}}
	for _, p1 := range places {
		for _, p2 := range places {
			for _, r1 := range reuse {
				for _, r2 := range reuse {
					name := fmt.Sprintf("reuse/%s %s, %s %s", p1.name, r1.name, p2.name, r2.name)
					cases = append(cases, Case{Name: name, Tops: []Topology{Loopback}, Run: func(r *Run) {
						a, b, c := r.UDP("a"), r.UDP("b"), r.FarUDP("c")
						a.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, r1.addr)
						a.Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, r1.port)
						b.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, r2.addr)
						b.Set(unix.SOL_SOCKET, unix.SO_REUSEPORT, r2.port)
						a.Bind(sockapi.Inet4(p1.ip(r), 7001))
						b.Bind(sockapi.Inet4(p2.ip(r), 7001))
						if r1.port == 1 && r2.port == 1 && p1.name == p2.name {
							return // whose hash it is, is no rule
						}
						c.Sendto([]byte("to own"), 0, r.Near(7001))
						c.Sendto([]byte("to lo2"), 0, sockapi.Inet4([4]byte{127, 0, 0, 2}, 7001))
						r.SyncAnswers()
						a.Drain()
						b.Drain()
					}})
				}
			}
		}
	}
	for _, order := range []string{"ab", "ba"} {
		cases = append(cases, Case{Name: "reuse/after close " + order, Run: func(r *Run) {
			a, b := r.UDP("a"), r.UDP("b")
			first, second := a, b
			if strings.HasPrefix(order, "b") {
				first, second = b, a
			}
			first.Bind(r.Near(7001))
			second.Bind(r.Near(7001))
			first.Close()
			second.Bind(r.Near(7001))
			second.Names()
		}})
	}
	return cases
}
