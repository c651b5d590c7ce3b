package oracle

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// effectCases are of what options and states do to datagrams on the way.
func effectCases() (cases []Case) {
	add := func(name string, run func(r *Run)) { cases = append(cases, Case{Name: "effect/" + name, Run: run}) }
	for _, v := range []int{0, 1, 64, 65, 255} {
		if v <= 64 {
			add(fmt.Sprintf("a minimum TTL of %d", v), func(r *Run) {
				a, b := r.Pair()
				b.Set(unix.SOL_IP, unix.IP_MINTTL, v)
				a.Send([]byte("x"), 0)
				r.SyncAnswers()
				b.Recv(10, unix.MSG_DONTWAIT)
			})
		}
	}
	add("IP_MINTTL", func(r *Run) {
		a, b := r.Pair()
		b.Set(unix.SOL_IP, unix.IP_MINTTL, 65)
		a.Send([]byte("x"), 0)
		r.SyncAnswers()
		b.Recv(10, unix.MSG_DONTWAIT)
	})
	add("IP_MTU without a cached route", func(r *Run) {
		a, _ := r.Pair()
		a.Set(unix.SOL_SOCKET, unix.SO_DONTROUTE, 1)
		a.GetInt(unix.SOL_IP, unix.IP_MTU)
	})
	add("segments refused", func(r *Run) {
		a := r.UDP("a")
		a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		a.Set(unix.SOL_UDP, unix.UDP_SEGMENT, 500)
		a.Sendto(Data(1473), 0, r.Far(7002))
		r.SyncAnswers()
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 2000)
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 2000)
	})
	add("a failed connect of a connected socket", func(r *Run) {
		a := r.UDP("a")
		a.Connect(r.Far(7002))
		a.Connect(sockapi.Inet4([4]byte{192, 0, 2, 1}, 7))
		for range 3 {
			a.Send([]byte("x"), 0)
			r.SyncAnswers()
			a.Error()
		}
	})
	cases = append(cases, Case{Name: "effect/bound to a broadcast, connected, sending elsewhere", Tops: []Topology{Loopback}, Run: func(r *Run) {
		a := r.UDP("a")
		a.Bind(sockapi.Inet4([4]byte{10, 9, 0, 255}, 7001))
		a.Connect(sockapi.Inet4([4]byte{127, 0, 0, 1}, 7002))
		a.Sendto([]byte("x"), 0, sockapi.Inet4([4]byte{10, 9, 0, 255}, 7002))
	}})
	for _, s := range []struct{ level, name, v int }{{unix.SOL_IP, unix.IP_TTL, 9}, {unix.SOL_IP, unix.IP_TOS, 0xb8}, {unix.SOL_IP, unix.IP_TOS, 3},
		{unix.SOL_SOCKET, unix.SO_PRIORITY, 6}, {unix.SOL_SOCKET, unix.SO_NO_CHECK, 1}, {unix.SOL_IP, unix.IP_MTU_DISCOVER, 0}} {
		add(fmt.Sprintf("seen by the peer/%s %d", OptionName(s.level, s.name), s.v), func(r *Run) {
			a, b := r.Pair()
			b.Set(unix.SOL_IP, unix.IP_RECVTTL, 1)
			b.Set(unix.SOL_IP, unix.IP_RECVTOS, 1)
			a.Set(s.level, s.name, s.v)
			a.Send([]byte("x"), 0)
			a.Send(Data(3000), 0)
			r.SyncAnswers()
			b.Recvmsg(100, unix.MSG_DONTWAIT, 10)
			b.Recvmsg(100, unix.MSG_DONTWAIT, 5000)
		})
	}
	for _, tos := range []int{0, 2, 4, 8, 16, 24, 28, 0x28, 0xb8, 0xe0} {
		add(fmt.Sprintf("priority/of IP_TOS %d", tos), func(r *Run) {
			a := r.UDP("a")
			a.Set(unix.SOL_IP, unix.IP_TOS, tos)
			a.GetInt(unix.SOL_SOCKET, unix.SO_PRIORITY)
		})
	}
	cases = append(cases, bufferCases()...)
	cases = append(cases, shutdownCases()...)
	cases = append(cases, broadcastCases()...)
	cases = append(cases, pingCases()...)
	return append(cases, readyCases()...)
}

// bufferCases fill a receive buffer, and see how much it holds and what it tells.
// What a datagram weighs is the kernel's own business: the numbers are those of
// Linux 6.18 on 64-bit machines.
func bufferCases() (cases []Case) {
	for _, buffer := range []int{0, 4096, 50000} {
		for _, size := range []int{0, 1, 100, 500, 1000, 1472, 4000, 65507} {
			cases = append(cases, Case{Name: fmt.Sprintf("buffer/%d, datagrams of %d", buffer, size), Run: func(r *Run) {
				a, b := r.Pair()
				b.Set(unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
				const enough = 150
				for i := range enough {
					a.s.Send(Data(size), 0)
					if size > 1472 || i%32 == 0 {
						r.SyncAnswers() // the wire's queue is not what is to overflow
					}
				}
				r.SyncAnswers()
				n := 0
				for ; n < enough; n++ {
					if _, err := b.s.Recv(nil, unix.MSG_DONTWAIT); err != nil {
						break
					}
				}
				r.Logf("%d fit", n)
			}})
		}
	}
	return append(cases, Case{Name: "full/a buffer is told by SO_RXQ_OVFL", Run: func(r *Run) {
		a, b := r.Pair()
		b.Set(unix.SOL_SOCKET, unix.SO_RCVBUF, 0)
		b.Set(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
		for range 20 {
			a.s.Send([]byte("x"), 0)
		}
		r.SyncAnswers()
		b.Poll()
		b.Recvmsg(100, unix.MSG_DONTWAIT, 10)
		for range 20 {
			b.s.Recv(nil, unix.MSG_DONTWAIT)
		}
		a.Send([]byte("y"), 0)
		r.SyncAnswers()
		m := message(100, 10)
		b.s.Recvmsg(&m, unix.MSG_DONTWAIT)
		r.Logf("tells of drops: %t", m.ControlLen > 0)
		b.Error()
	}})
}

func shutdownCases() (cases []Case) {
	hows := []struct {
		name string
		how  int
	}{{"RD", unix.SHUT_RD}, {"WR", unix.SHUT_WR}, {"RDWR", unix.SHUT_RDWR}, {"3", 3}, {"-1", -1}}
	for _, first := range hows {
		for _, second := range hows {
			for _, connected := range []bool{true, false} {
				name := fmt.Sprintf("shutdown/%s then %s, connected %t", first.name, second.name, connected)
				cases = append(cases, Case{Name: name, Run: func(r *Run) {
					a, b := r.Pair()
					if !connected {
						a.Connect(sockapi.Sockaddr{})
					}
					b.Send([]byte("before"), 0)
					r.SyncAnswers()
					a.Shutdown(first.how)
					a.Poll()
					b.Send([]byte("between"), 0)
					r.SyncAnswers()
					a.Shutdown(second.how)
					a.Poll()
					b.Send([]byte("after"), 0)
					a.Sendto([]byte("from a"), 0, r.Far(7002))
					r.SyncAnswers()
					a.Recv(10, unix.MSG_DONTWAIT)
					a.Recv(10, unix.MSG_DONTWAIT)
					a.Recv(10, unix.MSG_DONTWAIT)
					b.Drain()
					a.Connect(r.Far(7002))
					a.Poll()
					a.Send([]byte("again"), 0)
				}})
			}
		}
	}
	return cases
}

// broadcastCases send to many at once.
func broadcastCases() (cases []Case) {
	for name, to := range map[string][4]byte{"limited": {255, 255, 255, 255}, "directed": {10, 9, 0, 255}, "loopback's": {127, 255, 255, 255}} {
		for _, device := range []bool{false, true} {
			for _, bound := range []bool{false, true} {
				cases = append(cases, Case{Name: fmt.Sprintf("broadcast/%s, to a device %t/bound %t", name, device, bound), Tops: []Topology{Wire}, Run: func(r *Run) {
					a := r.UDP("a")
					a.Set(unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
					if device {
						a.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("near0"))
					}
					if bound {
						a.Bind(r.Near(7001))
					}
					// Who has it already: all addresses, the broadcast's, the host's own.
					for i, ip := range [][4]byte{{}, to, {10, 9, 0, 2}, {10, 9, 0, 255}, {255, 255, 255, 255}} {
						k := r.FarUDP(fmt.Sprintf("far%d", i))
						k.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
						k.Set(unix.SOL_IP, unix.IP_PKTINFO, 1)
						k.Bind(sockapi.Inet4(ip, 7002))
					}
					n := r.UDP("near")
					n.Bind(sockapi.Inet4([4]byte{}, 7002))
					a.Sendto([]byte("all"), 0, sockapi.Inet4(to, 7002))
					a.Sendto(Data(3000), 0, sockapi.Inet4(to, 7002))
					a.Sendto(nil, 0, sockapi.Inet4(to, 7002))
					r.SyncAnswers()
					for _, k := range r.socks[1:] {
						for range 4 {
							k.Recvmsg(100, unix.MSG_DONTWAIT, 4000)
						}
					}
					a.Error()
				}})
			}
		}
	}
	return cases
}

// pingCases are of ping sockets.
func pingCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "ping/" + name, Tops: []Topology{Wire, Loopback, Own}, Run: run})
	}
	request := func(typ, code byte, ident uint16, payload int) []byte {
		b := []byte{typ, code, 0xab, 0xcd, 0, 0, 0, 7}
		binary.BigEndian.PutUint16(b[4:], ident)
		return append(b, Data(payload)...)
	}
	for _, n := range []int{0, 1, 56, 1472, 1473, 5000, 65499} {
		add(fmt.Sprintf("echo of %d bytes", n), func(r *Run) {
			a := r.Ping("a")
			a.Bind(sockapi.Inet4([4]byte{}, 77))
			a.Set(unix.SOL_IP, unix.IP_RECVTTL, 1)
			a.Sendto(request(8, 0, 1234, n), 0, r.Far(0))
			r.SyncAnswers()
			a.Poll()
			a.Inq()
			a.Recvmsg(100, unix.MSG_DONTWAIT, 70000)
			a.Recvmsg(100, unix.MSG_DONTWAIT, 70000)
		})
	}
	for _, n := range []int{65500, 65507, 65508, 65515, 65516, 65535, 65536} {
		add(fmt.Sprintf("too long, %d bytes", n), func(r *Run) {
			a := r.Ping("a")
			a.Bind(sockapi.Inet4([4]byte{}, 77))
			a.Sendto(request(8, 0, 1, n-8), 0, r.Far(0))
		})
	}
	for typ := range byte(20) {
		add(fmt.Sprintf("type %d", typ), func(r *Run) {
			a := r.Ping("a")
			a.Bind(sockapi.Inet4([4]byte{}, 77))
			a.Sendto(request(typ, 0, 0, 8), 0, r.Far(0))
			a.Sendto(request(typ, 1, 0, 8), 0, r.Far(0))
			r.SyncAnswers()
			a.Recv(100, unix.MSG_DONTWAIT)
		})
	}
	for n := range 9 {
		add(fmt.Sprintf("short, %d bytes", n), func(r *Run) {
			a := r.Ping("a")
			a.Bind(sockapi.Inet4([4]byte{}, 77))
			a.Sendto(request(8, 0, 0, 0)[:min(n, 8)], 0, r.Far(0))
			a.Send(request(8, 0, 0, 0)[:min(n, 8)], 0)
		})
	}
	add("connected", func(r *Run) {
		a := r.Ping("a")
		a.Bind(sockapi.Inet4([4]byte{}, 77))
		a.Connect(r.Far(5))
		a.Names()
		a.Send(request(8, 0, 0, 8), 0)
		r.SyncAnswers()
		a.Recvfrom(100, unix.MSG_DONTWAIT)
		a.Connect(sockapi.Sockaddr{})
		a.Names()
		a.Send(request(8, 0, 0, 8), 0)
	})
	add("two of an ident", func(r *Run) {
		a, b := r.Ping("a"), r.Ping("b")
		a.Bind(sockapi.Inet4([4]byte{}, 77))
		b.Bind(sockapi.Inet4([4]byte{}, 77))
		a.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
		b.Set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
		c := r.Ping("c")
		c.Bind(sockapi.Inet4([4]byte{}, 77))
		c.Names()
	})
	for _, f := range []int{unix.MSG_PEEK, unix.MSG_TRUNC, unix.MSG_OOB, unix.MSG_WAITALL, unix.MSG_ERRQUEUE} {
		add("receiving with "+flagNames(f), func(r *Run) {
			a := r.Ping("a")
			a.Bind(sockapi.Inet4([4]byte{}, 77))
			a.Sendto(request(8, 0, 0, 20), 0, r.Far(0))
			r.SyncAnswers()
			a.Recvfrom(10, f|unix.MSG_DONTWAIT)
			a.Recvmsg(100, f|unix.MSG_DONTWAIT, 10)
			a.Recvmsg(100, unix.MSG_DONTWAIT, 100)
		})
		add("sending with "+flagNames(f), func(r *Run) {
			a := r.Ping("a")
			a.Bind(sockapi.Inet4([4]byte{}, 77))
			a.Sendto(request(8, 0, 0, 20), f, r.Far(0))
			r.SyncAnswers()
			a.Recvfrom(100, unix.MSG_DONTWAIT)
		})
	}
	for _, o := range receiveOptions {
		add("control/"+OptionName(o.level, o.name), func(r *Run) {
			a := r.Ping("a")
			a.Bind(sockapi.Inet4([4]byte{}, 77))
			a.Set(o.level, o.name, o.value)
			a.Sendto(request(8, 0, 0, 20), 0, r.Far(0))
			r.SyncAnswers()
			a.Recvmsg(200, unix.MSG_DONTWAIT, 100)
		})
	}
	add("shutdown", func(r *Run) {
		a := r.Ping("a")
		a.Shutdown(unix.SHUT_RD)
		a.Recv(10, unix.MSG_DONTWAIT)
		a.Connect(r.Far(0))
		a.Shutdown(unix.SHUT_RDWR)
		a.Recv(10, 0)
		a.Send(request(8, 0, 0, 8), 0)
		a.Poll()
	})
	return cases
}

// readyCases ask for readiness.
func readyCases() (cases []Case) {
	for _, s := range recvStates {
		cases = append(cases, Case{Name: "ready/" + s.name, Run: func(r *Run) {
			a := s.make(r)
			a.Poll()
			a.Inq()
			a.Outq()
			a.Recv(100, unix.MSG_DONTWAIT)
			a.Poll()
			a.Inq()
			a.Error()
			a.Poll()
			a.Drain()
			a.Poll()
			a.Inq()
		}})
	}
	for _, recvErr := range []int{0, 1} {
		for _, connected := range []bool{true, false} {
			cases = append(cases, Case{Name: fmt.Sprintf("ready/refused, IP_RECVERR %d, connected %t", recvErr, connected), Run: func(r *Run) {
				a := r.UDP("a")
				a.Set(unix.SOL_IP, unix.IP_RECVERR, recvErr)
				to := r.Far(7002)
				if connected {
					a.Connect(to)
					to = sockapi.Sockaddr{}
				}
				a.Sendto([]byte("x"), 0, to)
				r.SyncAnswers()
				a.Poll()
				a.Error()
				a.Poll()
				a.Recvmsg(100, unix.MSG_ERRQUEUE, 10)
				a.Poll()
			}})
			cases = append(cases, Case{Name: fmt.Sprintf("ready/SO_SELECT_ERR_QUEUE/IP_RECVERR %d, connected %t", recvErr, connected), Run: func(r *Run) {
				a := r.UDP("a")
				a.Set(unix.SOL_IP, unix.IP_RECVERR, recvErr)
				a.Set(unix.SOL_SOCKET, unix.SO_SELECT_ERR_QUEUE, 1)
				to := r.Far(7002)
				if connected {
					a.Connect(to)
					to = sockapi.Sockaddr{}
				}
				a.Sendto([]byte("x"), 0, to)
				r.SyncAnswers()
				a.Poll()
			}})
		}
	}
	return cases
}
