package oracle

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// receiveOptions ask for control messages.
var receiveOptions = []struct{ level, name, value int }{
	{unix.SOL_IP, unix.IP_RECVTTL, 1},
	{unix.SOL_IP, unix.IP_RECVTOS, 1},
	{unix.SOL_IP, unix.IP_PKTINFO, 1},
	{unix.SOL_IP, unix.IP_RECVORIGDSTADDR, 1},
	{unix.SOL_IP, unix.IP_RECVOPTS, 1},
	{unix.SOL_IP, unix.IP_RECVFRAGSIZE, 1},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP, 1},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE},
	{unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1},
	{unix.SOL_UDP, unix.UDP_GRO, 1},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP_NEW, 1},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1},
	{unix.SOL_IP, unix.IP_RETOPTS, 1},
	{unix.SOL_SOCKET, unix.SO_RCVMARK, 1},
	{unix.SOL_SOCKET, soRcvPriority, 1},
}

// controlCases receive and send control messages.
func controlCases() (cases []Case) {
	add := func(name string, run func(r *Run)) { cases = append(cases, Case{Name: "control/" + name, Run: run}) }
	for i, o := range receiveOptions {
		name := OptionName(o.level, o.name)
		add("received/"+name+"/alone", func(r *Run) {
			a, b := r.Pair()
			a.Set(o.level, o.name, o.value)
			b.Send([]byte("one"), 0)
			b.Send(nil, 0)
			b.Send(Data(3000), 0)
			r.Sync()
			a.Recvmsg(200, unix.MSG_PEEK, 100)
			a.Recvmsg(200, 0, 100)
			a.Recvmsg(200, 0, 100)
			a.Recvmsg(200, 0, 100)
		})
		for _, room := range []int{0, 1, 15, 16, 17, 19, 20, 23, 24, 28, 31, 32, 40, 63, 64} {
			add(fmt.Sprintf("received/%s/room of %d", name, room), func(r *Run) {
				a, b := r.Pair()
				a.Set(o.level, o.name, o.value)
				b.Send([]byte("one"), 0)
				r.Sync()
				a.Recvmsg(room, 0, 100)
			})
		}
		for _, p := range receiveOptions[i+1:] {
			add("received/"+OptionName(p.level, p.name)+"/and "+name, func(r *Run) {
				a, b := r.Pair()
				a.Set(p.level, p.name, p.value)
				a.Set(o.level, o.name, o.value)
				b.Send([]byte("one"), 0)
				b.Send([]byte("two"), 0)
				r.Sync()
				a.Recvmsg(200, 0, 100)
				a.Recvmsg(40, 0, 100)
			})
		}
		add("received/"+name+"/after shutdown", func(r *Run) {
			a, _ := r.Pair()
			a.Set(o.level, o.name, o.value)
			a.Shutdown(unix.SHUT_RD)
			a.Recvmsg(200, 0, 100)
		})
		add("late/"+name, func(r *Run) {
			a, b := r.Pair()
			a.Set(o.level, o.name, o.value)
			b.Send([]byte("one"), 0)
			r.Sync()
			a.Set(o.level, o.name, 0)
			a.Recvmsg(200, 0, 100)
			b.Send([]byte("two"), 0)
			r.Sync()
			a.Set(o.level, o.name, o.value)
			a.Recvmsg(200, 0, 100)
		})
	}
	add("received/all", func(r *Run) {
		a, b := r.Pair()
		for _, o := range receiveOptions[:6] {
			a.Set(o.level, o.name, o.value)
		}
		b.Set(unix.SOL_IP, unix.IP_TOS, 0x28)
		b.Set(unix.SOL_IP, unix.IP_TTL, 33)
		b.Send([]byte("one"), 0)
		r.Sync()
		a.Recvmsg(400, 0, 100)
	})
	cases = append(cases, tagCases()...)
	return append(cases, sentControlCases()...)
}

// tagCases receive the marks and priorities that datagrams were sent with.
func tagCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "control/tags/" + name, Tops: []Topology{Wire, Loopback, Own}, Run: run})
	}
	for name, prepare := range map[string]func(b *Sock) []byte{
		"none":        func(*Sock) []byte { return nil },
		"SO_MARK":     func(b *Sock) []byte { b.Set(unix.SOL_SOCKET, unix.SO_MARK, 77); return nil },
		"SO_PRIORITY": func(b *Sock) []byte { b.Set(unix.SOL_SOCKET, unix.SO_PRIORITY, 5); return nil },
		"IP_TOS":      func(b *Sock) []byte { b.Set(unix.SOL_IP, unix.IP_TOS, 0xb8); return nil },
		"IP_TOS, SO_PRIORITY": func(b *Sock) []byte {
			b.Set(unix.SOL_IP, unix.IP_TOS, 0xb8)
			b.Set(unix.SOL_SOCKET, unix.SO_PRIORITY, 1)
			return nil
		},
		"SO_PRIORITY, IP_TOS": func(b *Sock) []byte {
			b.Set(unix.SOL_SOCKET, unix.SO_PRIORITY, 1)
			b.Set(unix.SOL_IP, unix.IP_TOS, 0xb8)
			return nil
		},
		"message of a mark": func(b *Sock) []byte {
			b.Set(unix.SOL_SOCKET, unix.SO_MARK, 77)
			return CmsgInt(unix.SOL_SOCKET, unix.SO_MARK, 5)
		},
		"message of no mark": func(b *Sock) []byte {
			b.Set(unix.SOL_SOCKET, unix.SO_MARK, 77)
			return CmsgInt(unix.SOL_SOCKET, unix.SO_MARK, 0)
		},
		"message of priority": func(b *Sock) []byte { return CmsgInt(unix.SOL_SOCKET, unix.SO_PRIORITY, 3) },
		"message of IP_TOS": func(b *Sock) []byte {
			b.Set(unix.SOL_SOCKET, unix.SO_PRIORITY, 1)
			return CmsgInt(unix.SOL_IP, unix.IP_TOS, 8)
		},
		"IP_TOS, then priority": func(b *Sock) []byte {
			return append(CmsgInt(unix.SOL_IP, unix.IP_TOS, 8), CmsgInt(unix.SOL_SOCKET, unix.SO_PRIORITY, 3)...)
		},
		"priority, then IP_TOS": func(b *Sock) []byte {
			return append(CmsgInt(unix.SOL_SOCKET, unix.SO_PRIORITY, 3), CmsgInt(unix.SOL_IP, unix.IP_TOS, 8)...)
		},
		"UDP_SEGMENT": func(b *Sock) []byte {
			b.Set(unix.SOL_SOCKET, unix.SO_MARK, 77)
			b.Set(unix.SOL_UDP, unix.UDP_SEGMENT, 2)
			return nil
		},
	} {
		add(name, func(r *Run) {
			a, b := r.Pair()
			a.Set(unix.SOL_SOCKET, unix.SO_RCVMARK, 1)
			a.Set(unix.SOL_SOCKET, soRcvPriority, 1)
			c := prepare(b)
			for _, size := range []int{5, 3000} {
				if name == "UDP_SEGMENT" && size > 5 {
					break
				}
				b.Sendmsg([][]byte{Data(size)}, c, 0, sockapi.Sockaddr{})
				r.Sync()
				for range 4 {
					a.Recvmsg(200, unix.MSG_DONTWAIT, 4000)
				}
			}
		})
	}
	for name, open := range map[string]func(r *Run) *Sock{
		"raw":    func(r *Run) *Sock { return r.Open("k", Far, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP) },
		"packet": func(r *Run) *Sock { return r.packet("k", Far, unix.SOCK_DGRAM, unix.ETH_P_IP) },
		"all":    func(r *Run) *Sock { return r.packet("k", Far, unix.SOCK_DGRAM, unix.ETH_P_ALL) },
	} {
		add("by "+name, func(r *Run) {
			a, _ := r.Pair()
			a.Set(unix.SOL_SOCKET, unix.SO_MARK, 77)
			a.Set(unix.SOL_SOCKET, unix.SO_PRIORITY, 5)
			k := open(r)
			k.Set(unix.SOL_SOCKET, unix.SO_RCVMARK, 1)
			k.Set(unix.SOL_SOCKET, soRcvPriority, 1)
			a.Send([]byte("x"), 0)
			k.Recvmsg(200, 0, 0)
			if r.Index() == loIndex && name == "all" {
				k.Recvmsg(200, 0, 0) // it left, and came
			}
		})
	}
	return cases
}

// pktinfo returns struct in_pktinfo.
func pktinfo(index int, src, dst [4]byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(index))
	return append(append(b, src[:]...), dst[:]...)
}

// sentControlCases send with control messages, good and bad.
func sentControlCases() (cases []Case) {
	send := func(name string, control func(r *Run) []byte) {
		cases = append(cases, Case{Name: "control/sent/" + name, Tops: []Topology{Wire, Loopback, Own}, Run: func(r *Run) {
			a, b := r.UDP("a"), r.FarUDP("b")
			a.Bind(sockapi.Inet4([4]byte{}, 7001))
			b.Bind(r.Far(7002))
			for _, o := range []int{unix.IP_RECVTTL, unix.IP_RECVTOS, unix.IP_PKTINFO} {
				b.Set(unix.SOL_IP, o, 1)
			}
			c := control(r)
			a.Sendmsg([][]byte{[]byte("hello")}, c, 0, r.Far(7002))
			r.Sync()
			b.Recvmsg(200, unix.MSG_DONTWAIT, 100)
			a.Connect(r.Far(7002))
			a.Sendmsg([][]byte{[]byte("again")}, c, 0, sockapi.Sockaddr{})
			r.Sync()
			b.Recvmsg(200, unix.MSG_DONTWAIT, 100)
			a.Recvmsg(200, unix.MSG_ERRQUEUE, 0) // what is in it has an identification
		}})
	}
	for _, typ := range []int{unix.IP_TTL, unix.IP_TOS} {
		for _, v := range []int{-1, 0, 1, 2, 3, 64, 127, 128, 255, 256} {
			send(fmt.Sprintf("%s %d", CmsgName(unix.SOL_IP, typ), v), func(*Run) []byte { return CmsgInt(unix.SOL_IP, typ, v) })
		}
		for n := range 6 {
			send(fmt.Sprintf("%s of %d bytes", CmsgName(unix.SOL_IP, typ), n), func(*Run) []byte {
				return Cmsg(unix.SOL_IP, typ, []byte{9, 0, 0, 0, 0}[:n])
			})
		}
	}
	for name, f := range map[string]func(r *Run) []byte{
		"index":          func(r *Run) []byte { return pktinfo(r.Index(), [4]byte{}, [4]byte{}) },
		"index 99":       func(*Run) []byte { return pktinfo(99, [4]byte{}, [4]byte{}) },
		"negative index": func(*Run) []byte { return pktinfo(-1, [4]byte{}, [4]byte{}) },
		"source":         func(r *Run) []byte { return pktinfo(0, r.Top.Addrs[Near], [4]byte{}) },
		"foreign source": func(*Run) []byte { return pktinfo(0, [4]byte{192, 0, 2, 1}, [4]byte{}) },
		"other source":   func(*Run) []byte { return pktinfo(0, [4]byte{127, 0, 0, 1}, [4]byte{}) },
		"both":           func(r *Run) []byte { return pktinfo(r.Index(), r.Top.Addrs[Near], [4]byte{}) },
		"destination":    func(r *Run) []byte { return pktinfo(0, [4]byte{}, [4]byte{192, 0, 2, 9}) },
		"group":          func(*Run) []byte { return pktinfo(0, [4]byte{224, 0, 0, 1}, [4]byte{}) },
		"zero":           func(*Run) []byte { return pktinfo(0, [4]byte{}, [4]byte{}) },
		"short":          func(*Run) []byte { return pktinfo(0, [4]byte{}, [4]byte{})[:11] },
		"long":           func(*Run) []byte { return append(pktinfo(0, [4]byte{}, [4]byte{}), 0, 0, 0, 0) },
	} {
		send("IP_PKTINFO, "+name, func(r *Run) []byte { return Cmsg(unix.SOL_IP, unix.IP_PKTINFO, f(r)) })
	}
	for name, c := range map[string][]byte{
		"SO_MARK":              CmsgInt(unix.SOL_SOCKET, unix.SO_MARK, 5),
		"SO_PRIORITY":          CmsgInt(unix.SOL_SOCKET, unix.SO_PRIORITY, 5),
		"SO_PRIORITY, short":   Cmsg(unix.SOL_SOCKET, unix.SO_PRIORITY, []byte{5}),
		"SCM_RIGHTS":           CmsgInt(unix.SOL_SOCKET, unix.SCM_RIGHTS, 0),
		"SCM_CREDENTIALS":      Cmsg(unix.SOL_SOCKET, unix.SCM_CREDENTIALS, make([]byte, 12)),
		"SCM_TXTIME":           Cmsg(unix.SOL_SOCKET, unix.SCM_TXTIME, make([]byte, 8)),
		"SO_TIMESTAMPING":      CmsgInt(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_TX_SOFTWARE),
		"SO_TIMESTAMPING, rx":  CmsgInt(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_RX_SOFTWARE),
		"SOL_SOCKET unknown":   CmsgInt(unix.SOL_SOCKET, 200, 5),
		"SOL_IP unknown":       CmsgInt(unix.SOL_IP, 200, 5),
		"SOL_TCP":              CmsgInt(unix.SOL_TCP, 1, 5),
		"SOL_UDP unknown":      CmsgInt(unix.SOL_UDP, 1, 5),
		"UDP_SEGMENT 0":        Cmsg(unix.SOL_UDP, unix.UDP_SEGMENT, []byte{0, 0}),
		"UDP_SEGMENT 3":        Cmsg(unix.SOL_UDP, unix.UDP_SEGMENT, []byte{3, 0}),
		"UDP_SEGMENT, long":    CmsgInt(unix.SOL_UDP, unix.UDP_SEGMENT, 3),
		"UDP_GRO":              Cmsg(unix.SOL_UDP, unix.UDP_GRO, []byte{3, 0}),
		"IP_RETOPTS, empty":    Cmsg(unix.SOL_IP, unix.IP_RETOPTS, nil),
		"IP_RETOPTS, no-ops":   Cmsg(unix.SOL_IP, unix.IP_RETOPTS, []byte{1, 1, 1, 1}),
		"IP_RETOPTS, bad":      Cmsg(unix.SOL_IP, unix.IP_RETOPTS, []byte{7, 1, 4, 0}),
		"IP_RETOPTS, too long": Cmsg(unix.SOL_IP, unix.IP_RETOPTS, make([]byte, 41)),
		"IP_PROTOCOL":          CmsgInt(unix.SOL_IP, ipProtocol, 17),
		"IPV6 level":           CmsgInt(unix.SOL_IPV6, unix.IPV6_HOPLIMIT, 3),
		"too short for a head": make([]byte, 8),
		"length 0":             make([]byte, 24),
		"length 15":            append([]byte{15}, make([]byte, 23)...),
		"longer than there is": append([]byte{200}, make([]byte, 23)...),
		"two":                  append(CmsgInt(unix.SOL_IP, unix.IP_TTL, 7), CmsgInt(unix.SOL_IP, unix.IP_TOS, 4)...),
		"the same twice":       append(CmsgInt(unix.SOL_IP, unix.IP_TTL, 7), CmsgInt(unix.SOL_IP, unix.IP_TTL, 8)...),
		"a bad second":         append(CmsgInt(unix.SOL_IP, unix.IP_TTL, 7), CmsgInt(unix.SOL_IP, unix.IP_TTL, 0)...),
		"trailing bytes":       append(CmsgInt(unix.SOL_IP, unix.IP_TTL, 7), 1, 2, 3, 4),
	} {
		send(name, func(*Run) []byte { return c })
	}
	return cases
}
