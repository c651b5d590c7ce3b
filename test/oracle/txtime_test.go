package oracle

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// txTimeCases schedule datagrams. Linux' devices in the judge's world have no
// queueing discipline that would keep one until its time: it sends all of them at
// once. So a script cannot see when a datagram comes, but that it does.
func txTimeCases() (cases []Case) {
	add := func(name string, run func(r *Run)) { cases = append(cases, Case{Name: "txtime/" + name, Run: run}) }
	for _, clock := range []int{-1, 0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 1 << 20} {
		for _, flags := range []int{0, 1, 2, 3, 4, -1} {
			add(fmt.Sprintf("clock %d, flags %d", clock, flags), func(r *Run) {
				for _, k := range []*Sock{r.UDP("a"), r.Ping("b"), r.packet("c", Near, unix.SOCK_RAW, 0)} {
					k.SetBytes(unix.SOL_SOCKET, unix.SO_TXTIME, append(Int(clock), Int(flags)...))
					for _, n := range []int{4, 8, 12} {
						k.Get(unix.SOL_SOCKET, unix.SO_TXTIME, n)
					}
					k.SetBytes(unix.SOL_SOCKET, unix.SO_TXTIME, append(Int(1), Int(0)...))
					k.SetBytes(unix.SOL_SOCKET, unix.SO_TXTIME, append(Int(clock), Int(flags)...))
					k.Get(unix.SOL_SOCKET, unix.SO_TXTIME, 8)
				}
			})
		}
	}
	for _, n := range []int{0, 1, 4, 7, 8, 9, 16} {
		add(fmt.Sprintf("a message of %d bytes", n), func(r *Run) {
			a, b := r.Pair()
			for range 2 {
				a.Sendmsg([][]byte{[]byte("x")}, Cmsg(unix.SOL_SOCKET, unix.SCM_TXTIME, make([]byte, n)), 0, sockapi.Sockaddr{})
				r.Sync()
				b.Recvmsg(0, unix.MSG_DONTWAIT, 10)
				a.SetBytes(unix.SOL_SOCKET, unix.SO_TXTIME, append(Int(unix.CLOCK_MONOTONIC), Int(3)...))
			}
		})
	}
	send := func(name string, clock, flags int, from time.Duration) {
		add(name, func(r *Run) {
			a, b := r.Pair()
			a.SetBytes(unix.SOL_SOCKET, unix.SO_TXTIME, append(Int(clock), Int(flags)...))
			for _, size := range []int{3, 3000} {
				var now unix.Timespec
				unix.ClockGettime(int32(clock), &now)
				at := binary.NativeEndian.AppendUint64(nil, uint64(now.Nano()+int64(from)))
				a.Sendmsg([][]byte{Data(size)}, Cmsg(unix.SOL_SOCKET, unix.SCM_TXTIME, at), 0, sockapi.Sockaddr{})
				b.Recvmsg(0, 0, 5000)
			}
			a.Error()
			a.Recvmsg(100, unix.MSG_ERRQUEUE, 100)
		})
	}
	for name, clock := range map[string]int{"monotonic": unix.CLOCK_MONOTONIC, "real time": unix.CLOCK_REALTIME, "atomic": unix.CLOCK_TAI} {
		send("soon, "+name, clock, 2, 30*time.Millisecond)
		send("a deadline, "+name, clock, 3, time.Minute)
	}
	add("in the past", func(r *Run) {
		a, b := r.Pair()
		a.SetBytes(unix.SOL_SOCKET, unix.SO_TXTIME, append(Int(unix.CLOCK_MONOTONIC), Int(2)...))
		a.Sendmsg([][]byte{[]byte("x")}, Cmsg(unix.SOL_SOCKET, unix.SCM_TXTIME, []byte{1, 0, 0, 0, 0, 0, 0, 0}), 0, sockapi.Sockaddr{})
		r.Sync()
		b.Recvmsg(0, unix.MSG_DONTWAIT, 10)
	})
	return cases
}
