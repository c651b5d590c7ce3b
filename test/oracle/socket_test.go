package oracle

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// socketCases open sockets of all kinds.
func socketCases() (cases []Case) {
	add := func(domain, typ, proto int) {
		name := fmt.Sprintf("socket/%s %s/%d", domainName(domain), typeName(typ), proto)
		cases = append(cases, Case{Name: name, Tops: []Topology{Loopback}, Run: func(r *Run) {
			k := r.Open("a", Near, domain, typ, proto)
			k.GetInt(unix.SOL_SOCKET, unix.SO_DOMAIN)
			k.GetInt(unix.SOL_SOCKET, unix.SO_TYPE)
			k.GetInt(unix.SOL_SOCKET, unix.SO_PROTOCOL)
			k.Names()
		}})
	}
	for _, proto := range []int{-1, 0, unix.IPPROTO_ICMP, unix.IPPROTO_IGMP, unix.IPPROTO_TCP, unix.IPPROTO_UDP,
		unix.IPPROTO_UDPLITE, unix.IPPROTO_RAW, 256, 300} {
		add(unix.AF_INET, unix.SOCK_DGRAM, proto)
		add(unix.AF_INET, unix.SOCK_RAW, proto)
	}
	for _, typ := range []int{0, unix.SOCK_RDM, unix.SOCK_SEQPACKET, unix.SOCK_DCCP, 7, 8, 15,
		unix.SOCK_DGRAM | unix.SOCK_NONBLOCK, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, unix.SOCK_DGRAM | 0x10, unix.SOCK_DGRAM | 0x100000} {
		add(unix.AF_INET, typ, 0)
		add(unix.AF_INET, typ, unix.IPPROTO_UDP)
	}
	for _, proto := range []int{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		add(unix.AF_INET, unix.SOCK_STREAM, proto)
	}
	for _, domain := range []int{-1, 99, unix.AF_PACKET} {
		add(domain, unix.SOCK_DGRAM, 0)
		add(domain, unix.SOCK_RAW, 0)
		add(domain, unix.SOCK_STREAM, 0)
		add(domain, 9, 0)
	}
	cases = append(cases,
		Case{Name: "socket/pair", Tops: []Topology{Loopback}, Run: func(r *Run) {
			for _, v := range [][3]int{{unix.AF_INET, unix.SOCK_DGRAM, 0}, {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
				{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_TCP}, {99, unix.SOCK_DGRAM, 0}, {unix.AF_INET, 9, 0}} {
				_, err := r.World.Socketpair(Near, v[0], v[1], v[2])
				r.Logf("socketpair(%v) = %s", v, errnoName(err))
			}
		}},
		Case{Name: "socket/listen and accept", Tops: []Topology{Loopback}, Run: func(r *Run) {
			for _, k := range []*Sock{r.UDP("udp"), r.Ping("ping")} {
				k.Listen(1)
				k.Listen(-1)
				k.Accept(0)
				k.Accept(unix.SOCK_NONBLOCK)
				k.Accept(1 << 20)
				k.Accept(1)
				k.Close()
				k.Listen(1)
				k.Accept(0)
			}
		}},
		Case{Name: "socket/closed", Tops: []Topology{Loopback}, Run: func(r *Run) {
			for _, k := range []*Sock{r.UDP("udp"), r.Ping("ping")} {
				k.Close()
				k.Close()
				k.Bind(r.Near(7001))
				k.Connect(r.Far(7002))
				k.Names()
				k.Shutdown(unix.SHUT_RD)
				k.Nonblock(true)
				k.Send([]byte("x"), 0)
				k.Sendto([]byte("x"), 0, r.Far(7002))
				k.Sendmsg([][]byte{[]byte("x")}, nil, 0, r.Far(7002))
				k.Sendmmsg(0, r.Far(7002), []byte("x"))
				k.Recv(10, 0)
				k.Recvfrom(10, unix.MSG_DONTWAIT)
				k.Recvmsg(0, 0, 10)
				k.Recvmmsg(2, 10, 0, -1)
				k.Error()
			}
		}},
		Case{Name: "socket/nonblocking from the start", Run: func(r *Run) {
			k := r.Open("a", Near, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
			k.Bind(r.Near(7001))
			k.Recv(10, 0)
			k.Recvmsg(0, 0, 10)
			k.Recvmmsg(2, 10, 0, -1)
			k.Sendto([]byte("hello"), 0, r.Near(7001))
			r.Sync()
			k.Recv(10, 0)
			k.Recv(10, 0)
		}},
		Case{Name: "socket/nonblocking set and cleared", Run: func(r *Run) {
			a, b := r.Pair()
			a.Nonblock(true)
			a.Recv(10, 0)
			b.Send([]byte("hello"), 0)
			r.Sync()
			a.Recv(10, 0)
			a.Recv(10, unix.MSG_WAITALL)
			a.Nonblock(false)
			b.Send([]byte("again"), 0)
			a.Recv(10, 0)
		}},
	)
	return cases
}
