package oracle

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// errorCases bring ICMP errors about, and local ones, and look at how they are
// told.
func errorCases() (cases []Case) {
	tellers := []struct {
		name string
		call func(r *Run, a *Sock)
	}{
		{"send", func(r *Run, a *Sock) { a.Send([]byte("y"), 0) }},
		{"sendto", func(r *Run, a *Sock) { a.Sendto([]byte("y"), 0, r.Far(7002)) }},
		{"sendmmsg", func(r *Run, a *Sock) { a.Sendmmsg(0, sockapi.Sockaddr{}, []byte("y"), []byte("z")) }},
		{"recv", func(r *Run, a *Sock) { a.Recv(10, 0) }},
		{"recv, nonblocking", func(r *Run, a *Sock) { a.Recv(10, unix.MSG_DONTWAIT) }},
		{"recv, peeking", func(r *Run, a *Sock) { a.Recv(10, unix.MSG_PEEK) }},
		{"recvmsg", func(r *Run, a *Sock) { a.Recvmsg(100, 0, 10) }},
		{"recvmmsg", func(r *Run, a *Sock) { a.Recvmmsg(2, 10, 0, -1) }},
		{"error queue", func(r *Run, a *Sock) { a.Recvmsg(200, unix.MSG_ERRQUEUE, 10) }},
		{"SO_ERROR", func(r *Run, a *Sock) { a.Error() }},
		{"connect", func(r *Run, a *Sock) { a.Connect(r.Far(7003)) }},
		{"disconnect", func(r *Run, a *Sock) { a.Connect(sockapi.Sockaddr{}) }},
		{"shutdown", func(r *Run, a *Sock) { a.Shutdown(unix.SHUT_WR) }},
		{"getsockname", func(r *Run, a *Sock) { a.Names() }},
		{"bind", func(r *Run, a *Sock) { a.Bind(r.Near(7001)) }},
		{"getsockopt", func(r *Run, a *Sock) { a.GetInt(unix.SOL_IP, unix.IP_TTL) }},
	}
	for _, t := range tellers {
		for _, recvErr := range []int{0, 1} {
			for _, connected := range []bool{true, false} {
				name := fmt.Sprintf("error/refused/%s, IP_RECVERR %d, connected %t", t.name, recvErr, connected)
				if t.name == "recv" || t.name == "recvmsg" || t.name == "recvmmsg" || t.name == "recv, peeking" {
					if !connected && recvErr == 0 {
						continue // would wait: nobody is told
					}
				}
				cases = append(cases, Case{Name: name, Tops: []Topology{Wire, Loopback, Own}, Run: func(r *Run) {
					a := r.UDP("a")
					a.Set(unix.SOL_IP, unix.IP_RECVERR, recvErr)
					if connected {
						a.Connect(r.Far(7002))
						a.Send([]byte("x"), 0)
					} else {
						a.Sendto([]byte("x"), 0, r.Far(7002))
					}
					r.SyncAnswers()
					t.call(r, a)
					r.SyncAnswers()
					a.Error()
					a.Error()
					a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
					a.Recvmsg(200, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT, 0)
					a.Recv(10, unix.MSG_DONTWAIT)
				}})
			}
		}
	}
	cases = append(cases, queueCases()...)
	return cases
}

// queueCases read the error queue.
func queueCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "error queue/" + name, Run: run})
	}
	refused := func(r *Run, n int) *Sock {
		a := r.UDP("a")
		a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		for i := range n {
			a.Sendto(Data(3+i), 0, r.Far(uint16(7100+i)))
			r.SyncAnswers()
			a.Error()
		}
		return a
	}
	add("empty", func(r *Run) {
		a := r.UDP("a")
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
		a.Recvfrom(10, unix.MSG_ERRQUEUE)
		a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
	})
	add("several", func(r *Run) {
		a := refused(r, 4)
		for range 5 {
			a.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
			a.Error()
		}
	})
	add("by recvfrom", func(r *Run) {
		a := refused(r, 3)
		a.Recvfrom(100, unix.MSG_ERRQUEUE)
		a.Recvfrom(2, unix.MSG_ERRQUEUE)
		a.Recv(100, unix.MSG_ERRQUEUE|unix.MSG_TRUNC)
		a.Recv(100, unix.MSG_ERRQUEUE)
	})
	add("by recvmmsg", func(r *Run) {
		a := refused(r, 3)
		a.Recvmmsg(2, 100, unix.MSG_ERRQUEUE, -1)
		a.Recvmmsg(2, 100, unix.MSG_ERRQUEUE, -1)
		a.Recvmmsg(2, 100, unix.MSG_ERRQUEUE, -1)
	})
	add("peeking", func(r *Run) {
		a := refused(r, 2)
		a.Recvmsg(200, unix.MSG_ERRQUEUE|unix.MSG_PEEK, 100)
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
	})
	for _, room := range []int{0, 8, 16, 24, 40, 47, 48, 56, 64} {
		add(fmt.Sprintf("room of %d", room), func(r *Run) {
			a := refused(r, 1)
			a.Recvmsg(room, unix.MSG_ERRQUEUE, 100)
			a.Recvmsg(room, unix.MSG_ERRQUEUE, 100)
		})
	}
	for _, o := range []struct{ name, on int }{{unix.IP_RECVTTL, 1}, {unix.IP_RECVTOS, 1}, {unix.IP_PKTINFO, 1},
		{unix.IP_RECVORIGDSTADDR, 1}, {unix.IP_RECVOPTS, 1}, {unix.IP_RECVFRAGSIZE, 1}} {
		add("with "+OptionName(unix.SOL_IP, o.name), func(r *Run) {
			a := r.UDP("a")
			a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
			a.Set(unix.SOL_IP, o.name, o.on)
			a.Sendto([]byte("x"), 0, r.Far(7002))
			r.SyncAnswers()
			a.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
		})
	}
	add("of a long datagram, with IP_RECVORIGDSTADDR", func(r *Run) {
		a := r.UDP("a")
		a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		a.Set(unix.SOL_IP, unix.IP_RECVORIGDSTADDR, 1)
		a.Sendto(Data(1473), 0, r.Far(7002))
		a.Sendto(Data(3000), 0, r.Far(7002))
		r.SyncAnswers()
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
	})
	add("turned off", func(r *Run) {
		a := refused(r, 2)
		a.Set(unix.SOL_IP, unix.IP_RECVERR, 0)
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
		a.Error()
	})
	add("turned on twice", func(r *Run) {
		a := refused(r, 2)
		a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
	})
	add("data is not hidden", func(r *Run) {
		a, b := r.Pair()
		a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		b.Send([]byte("data"), 0)
		r.SyncAnswers()
		b.Close()
		a.Send([]byte("x"), 0)
		r.SyncAnswers()
		a.Recv(100, unix.MSG_DONTWAIT)
		a.Recv(100, unix.MSG_DONTWAIT)
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
		a.Recv(100, unix.MSG_DONTWAIT)
	})
	for _, size := range []int{1473, 65507, 65508} {
		for _, connected := range []bool{false, true} {
			cases = append(cases, Case{Name: fmt.Sprintf("error queue/local, %d bytes, connected %t", size, connected), Tops: []Topology{Wire}, Run: func(r *Run) {
				a := r.UDP("a")
				a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
				a.Set(unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
				to := r.Far(7002)
				if connected {
					a.Connect(to)
					to = sockapi.Sockaddr{}
				}
				a.Sendto(Data(size), 0, to)
				a.Error()
				a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
				a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
			}})
		}
	}
	add("long datagrams are cut", func(r *Run) {
		a := r.UDP("a")
		a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		a.Sendto(Data(1400), 0, r.Far(7002))
		r.SyncAnswers()
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 2000)
	})
	add("of a ping socket", func(r *Run) {
		a := r.Ping("a")
		a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		a.Recvmsg(200, unix.MSG_ERRQUEUE, 100)
		a.Error()
	})
	for i := range cases {
		cases[i].Tops = slices.Clone(cases[i].Tops)
	}
	return cases
}
