package oracle

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// A sending is a call that sends; to is zero for the peer.
type sending struct {
	name string
	call func(k *Sock, p []byte, flags int, to sockapi.Sockaddr)
}

var sendings = []sending{
	{"sendto", func(k *Sock, p []byte, flags int, to sockapi.Sockaddr) { k.Sendto(p, flags, to) }},
	{"sendmsg", func(k *Sock, p []byte, flags int, to sockapi.Sockaddr) {
		k.Sendmsg([][]byte{p[:len(p)/2], p[len(p)/2:]}, nil, flags, to)
	}},
	{"sendmmsg", func(k *Sock, p []byte, flags int, to sockapi.Sockaddr) { k.Sendmmsg(flags, to, p, p) }},
}

var sendFlags = []int{0, unix.MSG_DONTWAIT, unix.MSG_OOB, unix.MSG_NOSIGNAL, unix.MSG_CONFIRM, unix.MSG_DONTROUTE, unix.MSG_EOR,
	unix.MSG_PEEK, unix.MSG_TRUNC, unix.MSG_CTRUNC, unix.MSG_WAITALL, unix.MSG_ERRQUEUE, unix.MSG_FASTOPEN,
	unix.MSG_CONFIRM | unix.MSG_DONTWAIT, unix.MSG_OOB | unix.MSG_DONTROUTE, unix.MSG_BATCH, 1 << 21}

// sendStates are what a sending call may find: the near socket, and where it
// sends to.
var sendStates = []struct {
	name string
	make func(r *Run) (a *Sock, to sockapi.Sockaddr)
}{
	{"no destination", func(r *Run) (*Sock, sockapi.Sockaddr) { return r.UDP("a"), sockapi.Sockaddr{} }},
	{"explicit", func(r *Run) (*Sock, sockapi.Sockaddr) { return r.UDP("a"), r.Far(7002) }},
	{"connected", func(r *Run) (*Sock, sockapi.Sockaddr) {
		a := r.UDP("a")
		a.Connect(r.Far(7002))
		return a, sockapi.Sockaddr{}
	}},
	{"connected and explicit", func(r *Run) (*Sock, sockapi.Sockaddr) {
		a := r.UDP("a")
		a.Connect(r.Far(7003))
		return a, r.Far(7002)
	}},
	{"shut for writing", func(r *Run) (*Sock, sockapi.Sockaddr) {
		a := r.UDP("a")
		a.Connect(r.Far(7002))
		a.Shutdown(unix.SHUT_WR)
		return a, sockapi.Sockaddr{}
	}},
	{"shut for writing, without a peer", func(r *Run) (*Sock, sockapi.Sockaddr) {
		a := r.UDP("a")
		a.Shutdown(unix.SHUT_WR)
		return a, r.Far(7002)
	}},
	{"shut for reading", func(r *Run) (*Sock, sockapi.Sockaddr) {
		a := r.UDP("a")
		a.Connect(r.Far(7002))
		a.Shutdown(unix.SHUT_RD)
		return a, sockapi.Sockaddr{}
	}},
	{"error", func(r *Run) (*Sock, sockapi.Sockaddr) {
		a := r.UDP("a")
		a.Connect(r.Far(7009))
		a.Send([]byte("x"), 0)
		r.Sync()
		return a, r.Far(7002)
	}},
}

func sendCases() (cases []Case) {
	for _, c := range sendings {
		for _, s := range sendStates {
			for _, f := range sendFlags {
				cases = append(cases, Case{Name: fmt.Sprintf("%s/%s/%s", c.name, s.name, flagNames(f)), Run: func(r *Run) {
					b := r.FarUDP("b")
					b.Bind(r.Far(7002))
					a, to := s.make(r)
					c.call(a, []byte("hello"), f, to)
					a.Names()
					c.call(a, nil, f, to)
					r.Sync()
					b.Drain()
					a.Error()
				}})
			}
		}
		for _, size := range []int{1, 1471, 1472, 1473, 1480, 2952, 2953, 4000, 20000, 65506, 65507, 65508, 65535, 65536, 100000} {
			for mode, m := range map[string]int{"DONT": unix.IP_PMTUDISC_DONT, "WANT": unix.IP_PMTUDISC_WANT, "DO": unix.IP_PMTUDISC_DO,
				"PROBE": unix.IP_PMTUDISC_PROBE, "INTERFACE": unix.IP_PMTUDISC_INTERFACE, "OMIT": unix.IP_PMTUDISC_OMIT} {
				cases = append(cases, Case{Name: fmt.Sprintf("%s/size %d/%s", c.name, size, mode), Run: func(r *Run) {
					b := r.FarUDP("b")
					b.Bind(r.Far(7002))
					a := r.UDP("a")
					a.Set(unix.SOL_IP, unix.IP_MTU_DISCOVER, m)
					c.call(a, Data(size), 0, r.Far(7002))
					r.Sync()
					b.Drain()
					a.Connect(r.Far(7002))
					c.call(a, Data(size), 0, sockapi.Sockaddr{})
					r.Sync()
					b.Drain()
					a.GetInt(unix.SOL_IP, unix.IP_MTU)
					a.Error()
				}})
			}
		}
	}
	return append(cases, moreCases()...)
}

// moreCases are of MSG_MORE, sendmmsg and the like.
func moreCases() []Case {
	return []Case{
		{Name: "send/more/joined", Run: func(r *Run) {
			a, b := r.Pair()
			a.Send([]byte("one "), unix.MSG_MORE)
			a.Send([]byte("two "), unix.MSG_MORE)
			r.Sync()
			b.Recv(100, unix.MSG_DONTWAIT)
			a.Send([]byte("three"), 0)
			r.Sync()
			b.Drain()
		}},
		{Name: "send/more/ended by an empty one", Run: func(r *Run) {
			a, b := r.Pair()
			a.Send([]byte("one"), unix.MSG_MORE)
			a.Send(nil, 0)
			r.Sync()
			b.Drain()
			a.Send(nil, unix.MSG_MORE)
			a.Send(nil, 0)
			r.Sync()
			b.Drain()
		}},
		{Name: "send/more/too long", Run: func(r *Run) {
			a, b := r.Pair()
			a.Send(Data(40000), unix.MSG_MORE)
			a.Send(Data(40000), unix.MSG_MORE)
			a.Send(Data(10), 0)
			r.Sync()
			b.Drain()
		}},
		{Name: "send/more/another destination", Run: func(r *Run) {
			a, b, c := r.UDP("a"), r.FarUDP("b"), r.FarUDP("c")
			b.Bind(r.Far(7002))
			c.Bind(r.Far(7003))
			a.Sendto([]byte("one "), unix.MSG_MORE, r.Far(7002))
			a.Sendto([]byte("two"), 0, r.Far(7003))
			r.Sync()
			b.Drain()
			c.Drain()
		}},
		{Name: "send/more/sendmmsg", Run: func(r *Run) {
			a, b := r.Pair()
			a.Sendmmsg(unix.MSG_MORE, sockapi.Sockaddr{}, []byte("a"), []byte("b"))
			a.Sendmmsg(0, sockapi.Sockaddr{}, []byte("c"), []byte("d"))
			r.Sync()
			b.Drain()
		}},
		{Name: "send/cork", Run: func(r *Run) {
			a, b := r.Pair()
			a.Set(unix.SOL_UDP, unix.UDP_CORK, 1)
			a.Send([]byte("one "), 0)
			a.Send([]byte("two"), 0)
			r.Sync()
			b.Recv(100, unix.MSG_DONTWAIT)
			a.Set(unix.SOL_UDP, unix.UDP_CORK, 0)
			r.Sync()
			b.Drain()
			a.Send([]byte("three"), 0)
			r.Sync()
			b.Drain()
		}},
		{Name: "send/segment", Run: func(r *Run) {
			a, b := r.Pair()
			a.Set(unix.SOL_UDP, unix.UDP_SEGMENT, 100)
			a.Send(Data(250), 0)
			a.Send(Data(100), 0)
			a.Send(Data(99), 0)
			a.Send(nil, 0)
			r.Sync()
			b.Drain()
			a.Set(unix.SOL_UDP, unix.UDP_SEGMENT, 0)
			a.Send(Data(250), 0)
			r.Sync()
			b.Drain()
		}},
		{Name: "send/segment too many", Run: func(r *Run) {
			a, b := r.Pair()
			a.Set(unix.SOL_UDP, unix.UDP_SEGMENT, 10)
			a.Send(Data(1280), 0)
			a.Send(Data(1281), 0)
			r.Sync()
			b.Drain()
			b.Drain()
			a.Set(unix.SOL_UDP, unix.UDP_SEGMENT, 1473)
			a.Send(Data(3000), 0)
			a.Set(unix.SOL_UDP, unix.UDP_SEGMENT, 1472)
			a.Send(Data(65507), 0)
			a.Send(Data(65508), 0)
			r.Sync()
			b.Drain()
		}},
		{Name: "send/segment by control message", Run: func(r *Run) {
			a, b := r.Pair()
			a.Sendmsg([][]byte{Data(25)}, Cmsg(unix.SOL_UDP, unix.UDP_SEGMENT, []byte{10, 0}), 0, sockapi.Sockaddr{})
			a.Sendmsg([][]byte{Data(25)}, CmsgInt(unix.SOL_UDP, unix.UDP_SEGMENT, 10), 0, sockapi.Sockaddr{})
			r.Sync()
			b.Drain()
		}},
		{Name: "send/sendmmsg with one that is too long", Run: func(r *Run) {
			a, b := r.Pair()
			a.Sendmmsg(0, sockapi.Sockaddr{}, Data(1), Data(2), Data(70000), Data(4))
			a.Sendmmsg(0, sockapi.Sockaddr{}, Data(70000), Data(4))
			a.Sendmmsg(0, sockapi.Sockaddr{})
			r.Sync()
			b.Drain()
		}},
		{Name: "send/MSG_PROBE", Run: func(r *Run) {
			a, b := r.Pair()
			a.Send([]byte("probe"), unix.MSG_PROXY)
			r.Sync()
			b.Drain()
		}},
		{Name: "send/sendmmsg refused", Tops: []Topology{Loopback}, Run: func(r *Run) {
			a := r.UDP("a")
			a.Connect(r.Far(7002))
			a.Sendmmsg(0, sockapi.Sockaddr{}, Data(1), Data(2), Data(3))
			r.Sync()
			a.Error()
		}},
		{Name: "send/oneself", Run: func(r *Run) {
			a := r.UDP("a")
			a.Bind(r.Near(7001))
			a.Sendto([]byte("me"), 0, r.Near(7001))
			r.Sync()
			a.Drain()
		}},
		{Name: "send/no check", Run: func(r *Run) {
			a, b := r.Pair()
			a.Set(unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
			a.Send([]byte("unchecked"), 0)
			a.Send(Data(3000), 0)
			r.Sync()
			b.Drain()
		}},
	}
}
