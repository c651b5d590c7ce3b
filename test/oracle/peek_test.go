package oracle

import (
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// peekCases peek at offsets (SO_PEEK_OFF).
func peekCases() (cases []Case) {
	add := func(name string, run func(r *Run)) { cases = append(cases, Case{Name: "peek/" + name, Run: run}) }
	start := func(r *Run, off int, sizes ...int) (a, b *Sock) {
		a, b = r.Pair()
		a.Set(unix.SOL_SOCKET, unix.SO_PEEK_OFF, off)
		for _, n := range sizes {
			b.Send(Data(n), 0)
		}
		r.Sync()
		return a, b
	}
	const peek = unix.MSG_PEEK | unix.MSG_DONTWAIT
	offset := func(a *Sock) { a.GetInt(unix.SOL_SOCKET, unix.SO_PEEK_OFF) }
	for _, off := range []int{-2, -1, 0, 1, 9, 10, 11, 29, 30, 31, 1 << 30, 1<<31 - 1} {
		for _, flags := range []int{0, unix.MSG_TRUNC} {
			for _, size := range []int{4, 10, 100} {
				add(fmt.Sprintf("from %d, %d bytes, flags %s", off, size, flagNames(flags)), func(r *Run) {
					a, _ := start(r, off, 10, 20)
					for range 4 {
						a.Recvmsg(0, peek|flags, size)
						offset(a)
					}
					a.Poll()
					a.Inq()
					a.Recvmsg(0, unix.MSG_DONTWAIT|flags, size)
					offset(a)
					a.Recv(size, peek|flags)
					offset(a)
					a.Recv(size, unix.MSG_DONTWAIT|flags)
					offset(a)
					a.Recv(size, unix.MSG_DONTWAIT|flags)
				})
			}
		}
	}
	add("datagrams without bytes", func(r *Run) {
		a, _ := start(r, 0, 0, 3, 0, 0, 2)
		for range 8 {
			a.Recv(10, peek)
			offset(a)
		}
		for range 6 {
			a.Recv(10, unix.MSG_DONTWAIT)
			offset(a)
		}
	})
	add("turned on after a peek at nothing", func(r *Run) {
		a, _ := start(r, -1, 0, 3)
		a.Recv(10, peek)
		a.Set(unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0)
		a.Recv(10, peek)
		offset(a)
	})
	add("scattered", func(r *Run) {
		a, _ := start(r, 5, 10, 20)
		for range 4 {
			a.Recvmsg(0, peek, 2, 0, 1, 4)
			offset(a)
		}
	})
	add("by recvmmsg", func(r *Run) {
		a, _ := start(r, 2, 10, 20, 5)
		a.Recvmmsg(2, 7, peek, -1)
		offset(a)
		a.Recvmmsg(4, 7, peek, -1)
		offset(a)
		a.Recvmmsg(3, 7, unix.MSG_DONTWAIT, -1)
		offset(a)
	})
	add("shut down", func(r *Run) {
		a, _ := start(r, 10, 10)
		a.Shutdown(unix.SHUT_RD)
		a.Recv(10, peek)
		a.Recv(10, unix.MSG_PEEK)
		a.Recv(10, 0)
	})
	add("an error first", func(r *Run) {
		a := r.UDP("a")
		a.Connect(r.Far(7002))
		a.Set(unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0)
		a.Send([]byte("x"), 0)
		r.Sync()
		a.Recv(10, unix.MSG_PEEK)
		a.Recv(10, peek)
	})
	add("with a time-out", func(r *Run) {
		a, _ := start(r, 10, 10)
		a.quietly(func() {
			a.err("", func() error { return a.s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 20*time.Millisecond) })
		})
		a.Recv(10, unix.MSG_PEEK)
	})
	add("waits/for what is behind the offset", func(r *Run) {
		a, b := start(r, 12, 10)
		w := a.Later("recv(peeking)", func(s *sockapi.Socket) string {
			p := make([]byte, 10)
			n, err := s.Recv(p, unix.MSG_PEEK)
			return received(p, n, err)
		})
		b.Send(Data(2), 0)
		b.Send(Data(7), 0)
		w.Join()
		offset(a)
	})
	for seed := range uint64(20) {
		add(fmt.Sprintf("random/%d", seed), func(r *Run) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			a, b := start(r, rnd.IntN(3))
			for range 60 {
				switch rnd.IntN(8) {
				case 0, 1:
					b.Send(Data(rnd.IntN(20)*rnd.IntN(2)), 0)
					r.Sync()
				case 2, 3, 4:
					a.Recvmsg(0, peek|unix.MSG_TRUNC*rnd.IntN(2), rnd.IntN(25))
				case 5, 6:
					a.Recvmsg(0, unix.MSG_DONTWAIT|unix.MSG_TRUNC*rnd.IntN(2), rnd.IntN(25))
				case 7:
					a.Set(unix.SOL_SOCKET, unix.SO_PEEK_OFF, rnd.IntN(30)-1)
				}
				offset(a)
			}
		})
	}
	return cases
}
