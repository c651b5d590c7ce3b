package oracle

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// A reception is a call that receives, with a buffer of size bytes.
type reception struct {
	name string
	call func(k *Sock, size, flags int)
}

var receptions = []reception{
	{"recv", func(k *Sock, size, flags int) { k.Recv(size, flags) }},
	{"recvfrom", func(k *Sock, size, flags int) { k.Recvfrom(size, flags) }},
	{"recvmsg", func(k *Sock, size, flags int) { k.Recvmsg(0, flags, size/2, size-size/2) }},
	{"recvmmsg", func(k *Sock, size, flags int) { k.Recvmmsg(2, size, flags, -1) }},
}

// recvFlags are flags of receiving calls, alone and together.
var recvFlags = []int{0, unix.MSG_PEEK, unix.MSG_TRUNC, unix.MSG_PEEK | unix.MSG_TRUNC, unix.MSG_OOB, unix.MSG_WAITALL,
	unix.MSG_ERRQUEUE, unix.MSG_WAITFORONE, unix.MSG_DONTROUTE, unix.MSG_CTRUNC, unix.MSG_CONFIRM, unix.MSG_MORE, unix.MSG_EOR,
	unix.MSG_NOSIGNAL, unix.MSG_CMSG_CLOEXEC, unix.MSG_ZEROCOPY, unix.MSG_FASTOPEN, unix.MSG_ERRQUEUE | unix.MSG_PEEK,
	unix.MSG_OOB | unix.MSG_PEEK, unix.MSG_OOB | unix.MSG_ERRQUEUE, 1 << 21}

// recvStates are what a receiving call may find.
var recvStates = []struct {
	name string
	make func(r *Run) *Sock
}{
	{"unbound", func(r *Run) *Sock { return r.UDP("a") }},
	{"empty", func(r *Run) *Sock { a, _ := r.Pair(); return a }},
	{"one", func(r *Run) *Sock { return queued(r, Data(10)) }},
	{"several", func(r *Run) *Sock { return queued(r, Data(10), Data(3), Data(1400), Data(12)) }},
	{"zero-length", func(r *Run) *Sock { return queued(r, nil, Data(5), nil) }},
	{"error", func(r *Run) *Sock {
		a := r.UDP("a")
		a.Connect(r.Far(7002))
		a.Send([]byte("x"), 0)
		r.Sync()
		return a
	}},
	{"error and data", func(r *Run) *Sock {
		a, b := r.Pair()
		b.Send([]byte("before"), 0)
		r.Sync()
		b.Close()
		a.Send([]byte("x"), 0)
		r.Sync()
		return a
	}},
	{"shut for reading", func(r *Run) *Sock {
		a, _ := r.Pair()
		a.Shutdown(unix.SHUT_RD)
		return a
	}},
	{"shut for reading with data", func(r *Run) *Sock {
		a := queued(r, Data(10), Data(3))
		a.Shutdown(unix.SHUT_RD)
		return a
	}},
	{"shut for writing", func(r *Run) *Sock {
		a := queued(r, Data(10))
		a.Shutdown(unix.SHUT_WR)
		return a
	}},
}

// queued returns a connected socket with datagrams queued.
func queued(r *Run, datagrams ...[]byte) *Sock {
	a, b := r.Pair()
	b.quietly(func() {
		for _, p := range datagrams {
			b.s.Send(p, 0)
		}
	})
	r.Sync()
	return a
}

// recvCases receive by every call, with every flag, in every state.
func recvCases() (cases []Case) {
	for _, c := range receptions {
		for _, s := range recvStates {
			for _, f := range recvFlags {
				name := fmt.Sprintf("%s/%s/%s", c.name, s.name, flagNames(f))
				cases = append(cases, Case{Name: name, Tops: []Topology{Loopback}, Run: func(r *Run) {
					a := s.make(r)
					for _, size := range []int{4, 10, 0, 100, 2000} {
						c.call(a, size, f|unix.MSG_DONTWAIT)
					}
					a.Error()
				}})
			}
			cases = append(cases, Case{Name: fmt.Sprintf("%s/%s/over the wire", c.name, s.name), Tops: []Topology{Wire, Own}, Run: func(r *Run) {
				a := s.make(r)
				for _, size := range []int{4, 10, 0, 100, 2000} {
					c.call(a, size, unix.MSG_DONTWAIT)
				}
				a.Error()
			}})
		}
	}
	cases = append(cases, waitingCases()...)
	return append(cases, scatterCases()...)
}

// waitingCases wait: for data, for the end of a time-out, for a shutdown, for an
// error, for close.
func waitingCases() (cases []Case) {
	for _, c := range receptions {
		add := func(name string, run func(r *Run)) {
			cases = append(cases, Case{Name: c.name + "/waits/" + name, Run: run})
		}
		later := func(k *Sock, flags int) *Waiter {
			var log []string
			return k.Later(c.name, func(s *sockapi.Socket) string {
				shadow := &Run{World: k.r.World, Top: k.r.Top, ports: k.r.ports}
				c.call(&Sock{Name: "waiter", r: shadow, s: s}, 10, flags)
				log = shadow.lines
				return fmt.Sprint(log)
			})
		}
		add("for data", func(r *Run) {
			a, b := r.Pair()
			w := later(a, unix.MSG_WAITFORONE)
			b.Send([]byte("hello"), 0)
			w.Join()
		})
		add("for an empty datagram", func(r *Run) {
			a, b := r.Pair()
			w := later(a, unix.MSG_WAITFORONE)
			b.Send(nil, 0)
			w.Join()
		})
		add("peeking", func(r *Run) {
			a, b := r.Pair()
			w := later(a, unix.MSG_WAITFORONE|unix.MSG_PEEK)
			b.Send([]byte("hello"), 0)
			w.Join()
			a.Drain()
		})
		add("until shutdown for reading", func(r *Run) {
			a, _ := r.Pair()
			w := later(a, unix.MSG_WAITFORONE)
			a.Shutdown(unix.SHUT_RD)
			w.Join()
		})
		add("until shutdown of both", func(r *Run) {
			a, _ := r.Pair()
			w := later(a, unix.MSG_WAITFORONE)
			a.Shutdown(unix.SHUT_RDWR)
			w.Join()
		})
		add("until shutdown of an unconnected one", func(r *Run) {
			a := r.UDP("a")
			a.Bind(r.Near(7001))
			w := later(a, unix.MSG_WAITFORONE)
			a.Shutdown(unix.SHUT_RD)
			w.Join()
			a.Recv(10, unix.MSG_DONTWAIT)
		})
		add("until close", func(r *Run) {
			a, _ := r.Pair()
			w := later(a, 0)
			a.Close()
			w.Join()
		})
		add("until an error", func(r *Run) {
			a := r.UDP("a")
			a.Connect(r.Far(7002))
			w := later(a, 0)
			a.Send([]byte("x"), 0)
			r.Sync()
			w.Join()
			a.Error()
		})
		add("until a time-out", func(r *Run) {
			a, _ := r.Pair()
			a.SetBytes(unix.SOL_SOCKET, unix.SO_RCVTIMEO, timevalOf([2]int64{0, 20000}))
			began := time.Now()
			c.call(a, 10, 0)
			r.Logf("waited long enough: %t", time.Since(began) >= 20*time.Millisecond)
			c.call(a, 10, unix.MSG_PEEK)
			a.SetBytes(unix.SOL_SOCKET, unix.SO_RCVTIMEO, timevalOf([2]int64{-1, 0}))
			c.call(a, 10, 0)
		})
		if c.name == "recvmmsg" {
			continue // may have both, and leave the other waiting
		}
		add("two of them", func(r *Run) {
			a, b := r.Pair()
			v, w := later(a, unix.MSG_WAITFORONE), later(a, unix.MSG_WAITFORONE)
			b.Send([]byte("same"), 0)
			b.Send([]byte("same"), 0)
			v.Join()
			w.Join()
		})
	}
	return cases
}

// scatterCases scatter and gather, and receive several at once.
func scatterCases() []Case {
	return []Case{
		{Name: "recvmsg/scatter", Run: func(r *Run) {
			a := queued(r, Data(10), Data(10), Data(10), Data(10), Data(10), nil)
			a.Recvmsg(0, 0, 1, 2, 3, 4)
			a.Recvmsg(0, 0, 0, 5, 0, 5)
			a.Recvmsg(0, 0, 3, 3)
			a.Recvmsg(0, unix.MSG_TRUNC, 3, 3)
			a.Recvmsg(0, 0)
			a.Recvmsg(0, 0, 20, 20)
		}},
		{Name: "recvmsg/no buffers", Run: func(r *Run) {
			a := queued(r, Data(10), Data(4))
			a.Recvmsg(0, unix.MSG_PEEK)
			a.Recvmsg(0, unix.MSG_TRUNC)
			a.Recvmsg(64, 0)
		}},
		{Name: "recvmsg/1025 buffers", Run: func(r *Run) {
			a := queued(r, Data(10))
			a.Recvmsg(0, 0, make([]int, 1025)...)
			a.Recvmsg(0, unix.MSG_DONTWAIT, make([]int, 1024)...)
			a.Recvmsg(0, unix.MSG_DONTWAIT, 10)
		}},
		{Name: "sendmsg/1025 buffers", Run: func(r *Run) {
			a, b := r.Pair()
			a.Sendmsg(make([][]byte, 1025), nil, 0, sockapi.Sockaddr{})
			a.Sendmsg(make([][]byte, 1024), nil, 0, sockapi.Sockaddr{})
			r.Sync()
			b.Drain()
		}},
		{Name: "sendmsg/gather", Run: func(r *Run) {
			a, b := r.Pair()
			a.Sendmsg([][]byte{Data(3), nil, Data(1), Data(1000)}, nil, 0, sockapi.Sockaddr{})
			a.Sendmsg(nil, nil, 0, sockapi.Sockaddr{})
			a.Sendmsg([][]byte{nil, nil}, nil, 0, sockapi.Sockaddr{})
			a.Sendmsg([][]byte{Data(30000), Data(30000), Data(30000)}, nil, 0, sockapi.Sockaddr{})
			r.Sync()
			b.Drain()
		}},
		{Name: "recvmmsg/more than there are", Run: func(r *Run) {
			a := queued(r, Data(1), Data(2), Data(3))
			a.Recvmmsg(10, 10, unix.MSG_DONTWAIT, -1)
			a.Recvmmsg(10, 10, unix.MSG_DONTWAIT, -1)
		}},
		{Name: "recvmmsg/fewer than there are", Run: func(r *Run) {
			a := queued(r, Data(1), Data(2), Data(3))
			a.Recvmmsg(2, 10, 0, -1)
			a.Recvmmsg(2, 10, unix.MSG_WAITFORONE, -1)
			a.Recvmmsg(2, 10, unix.MSG_DONTWAIT, -1)
		}},
		{Name: "recvmmsg/none", Run: func(r *Run) {
			a := queued(r, Data(1))
			a.Recvmmsg(0, 10, unix.MSG_DONTWAIT, -1)
			a.Recvmmsg(0, 10, 0, 0)
			a.Recvmmsg(0, 10, unix.MSG_OOB, 0)
		}},
		{Name: "recvmmsg/time-out of 0", Run: func(r *Run) {
			a := queued(r, Data(1), Data(2), Data(3))
			a.Recvmmsg(3, 10, 0, 0)
			a.Recvmmsg(3, 10, 0, 0)
			a.Recvmmsg(3, 10, unix.MSG_DONTWAIT, 0)
			a.Recvmmsg(3, 10, unix.MSG_DONTWAIT, 0)
		}},
		{Name: "recvmmsg/an hour", Run: func(r *Run) {
			a := queued(r, Data(1), Data(2))
			a.Recvmmsg(2, 10, 0, time.Hour)
			a.Recvmmsg(2, 10, unix.MSG_DONTWAIT, time.Hour)
		}},
		{Name: "recvmmsg/an error after the first", Run: func(r *Run) {
			a, b := r.Pair()
			b.Send(Data(3), 0)
			r.Sync()
			b.Close()
			a.Send(Data(1), 0)
			r.Sync()
			a.Recvmmsg(4, 10, unix.MSG_DONTWAIT, -1)
			a.Recvmmsg(4, 10, unix.MSG_DONTWAIT, -1)
			a.Recvmmsg(4, 10, unix.MSG_DONTWAIT, -1)
			a.Error()
		}},
		{Name: "recvmmsg/shut down after the first", Run: func(r *Run) {
			a := queued(r, Data(1))
			a.Shutdown(unix.SHUT_RD)
			a.Recvmmsg(3, 10, 0, -1)
		}},
		{Name: "recvmmsg/peek", Run: func(r *Run) {
			a := queued(r, Data(1), Data(2))
			a.Recvmmsg(3, 10, unix.MSG_PEEK|unix.MSG_DONTWAIT, -1)
			a.Drain()
		}},
		{Name: "recvmmsg/truncated", Run: func(r *Run) {
			a := queued(r, Data(1), Data(20), Data(2))
			a.Recvmmsg(3, 10, unix.MSG_DONTWAIT, -1)
		}},
		{Name: "recvmmsg/more than 1024", Run: func(r *Run) {
			a := queued(r, Data(1), Data(20), Data(2))
			a.Recvmmsg(1030, 10, unix.MSG_DONTWAIT, -1)
		}},
	}
}
