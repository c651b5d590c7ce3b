package oracle

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// Flags of SO_TIMESTAMPING that x/sys/unix has no names for.
const sofOptRxFilter = 1 << 17

// stampCases are of time stamps: how their options change one another, and what
// comes of them.
func stampCases() (cases []Case) {
	add := func(name string, run func(r *Run)) { cases = append(cases, Case{Name: "stamp/" + name, Run: run}) }
	options := []int{unix.SO_TIMESTAMP, unix.SO_TIMESTAMPNS, unix.SO_TIMESTAMP_NEW, unix.SO_TIMESTAMPNS_NEW,
		unix.SO_TIMESTAMPING, unix.SO_TIMESTAMPING_NEW}
	const soft = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	value := func(o int) int {
		if o == unix.SO_TIMESTAMPING || o == unix.SO_TIMESTAMPING_NEW {
			return soft
		}
		return 1
	}
	for _, first := range options {
		for _, second := range options {
			add(fmt.Sprintf("%s, then %s", OptionName(unix.SOL_SOCKET, first), OptionName(unix.SOL_SOCKET, second)), func(r *Run) {
				a, b := r.Pair()
				for _, o := range []struct{ name, v int }{{first, value(first)}, {second, value(second)}, {first, 0}, {second, 0}} {
					a.Set(unix.SOL_SOCKET, o.name, o.v)
					for _, name := range options {
						a.Get(unix.SOL_SOCKET, name, 8)
					}
					b.Send([]byte("x"), 0)
					r.Sync()
					a.Recvmsg(200, 0, 10)
				}
			})
		}
	}
	for _, flags := range []int{0, unix.SOF_TIMESTAMPING_RX_SOFTWARE, unix.SOF_TIMESTAMPING_SOFTWARE, soft,
		unix.SOF_TIMESTAMPING_SOFTWARE | sofOptRxFilter, soft | sofOptRxFilter,
		unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE,
		soft | unix.SOF_TIMESTAMPING_OPT_PKTINFO} {
		add(fmt.Sprintf("received/SO_TIMESTAMPING %#x", flags), func(r *Run) {
			a, b := r.Pair()
			a.Set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags)
			b.Send([]byte("x"), 0)
			r.Sync()
			a.Recvmsg(200, 0, 10)
		})
	}
	for _, bindPHC := range []uint32{0, 1, 1 << 31} {
		for _, flags := range []uint32{soft, soft | unix.SOF_TIMESTAMPING_BIND_PHC} {
			for _, device := range []bool{false, true} {
				add(fmt.Sprintf("struct/clock %d, flags %#x, bound %t", bindPHC, flags, device), func(r *Run) {
					a := r.UDP("a")
					if device {
						a.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(r.Device(Near)))
					}
					v := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, flags), bindPHC)
					a.SetBytes(unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, v)
					a.Get(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, 8)
					a.Get(unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, 16)
				})
			}
		}
	}
	return append(cases, sentStampCases()...)
}

// sentStampCases read the time stamps of what was sent from the error queue.
func sentStampCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "stamp/sent/" + name, Tops: []Topology{Wire}, Run: run})
	}
	const sent = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_TSONLY
	for _, name := range []int{unix.SO_TIMESTAMPING, unix.SO_TIMESTAMPING_NEW} {
		for _, flags := range []int{0, unix.SOF_TIMESTAMPING_OPT_ID, unix.SOF_TIMESTAMPING_TX_SCHED,
			unix.SOF_TIMESTAMPING_TX_SCHED | unix.SOF_TIMESTAMPING_OPT_ID} {
			add(fmt.Sprintf("%s %#x", OptionName(unix.SOL_SOCKET, name), flags), func(r *Run) {
				a, _ := r.Pair()
				a.Set(unix.SOL_SOCKET, name, sent|flags)
				a.Send([]byte("one"), 0)
				a.Sendto([]byte("two"), 0, r.Far(7002))
				r.Sync()
				a.Poll()
				for range 5 {
					a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
				}
				a.Poll()
			})
		}
		add(fmt.Sprintf("by a control message of %s", OptionName(unix.SOL_SOCKET, name)), func(r *Run) {
			a, _ := r.Pair()
			a.Set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING,
				unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_OPT_TSONLY|unix.SOF_TIMESTAMPING_OPT_ID)
			c := CmsgInt(unix.SOL_SOCKET, name, unix.SOF_TIMESTAMPING_TX_SOFTWARE)
			a.Sendmsg([][]byte{[]byte("one")}, c, 0, sockapi.Sockaddr{})
			a.Sendmsg([][]byte{[]byte("two")}, nil, 0, sockapi.Sockaddr{})
			a.Sendmsg([][]byte{[]byte("three")}, c, 0, sockapi.Sockaddr{})
			r.Sync()
			for range 3 {
				a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
			}
		})
	}
	for _, id := range []int{0, unix.SOF_TIMESTAMPING_OPT_ID} {
		for name, c := range map[string][]byte{"one": CmsgInt(unix.SOL_SOCKET, scmTSOptID, 77),
			"short": Cmsg(unix.SOL_SOCKET, scmTSOptID, []byte{7, 0}), "long": Cmsg(unix.SOL_SOCKET, scmTSOptID, make([]byte, 8))} {
			add(fmt.Sprintf("a number of its own, %s, OPT_ID %#x", name, id), func(r *Run) {
				a, _ := r.Pair()
				a.Set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, sent|id)
				a.Send([]byte("zero"), 0)
				a.Sendmsg([][]byte{[]byte("mine")}, c, 0, sockapi.Sockaddr{})
				a.Send([]byte("one"), 0)
				r.Sync()
				for range 4 {
					a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
				}
			})
		}
	}
	add("what is not sent has no number", func(r *Run) {
		a, _ := r.Pair()
		a.Set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, sent|unix.SOF_TIMESTAMPING_OPT_ID)
		a.Set(unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		a.Send([]byte("zero"), 0)
		a.Send(Data(1473), 0)
		a.Send(Data(65508), 0)
		a.Send([]byte("one"), 0)
		r.Sync()
		for range 3 {
			a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
		}
	})
	for _, size := range []int{0, 3, 1472, 1473, 3000} {
		for _, segment := range []int{0, 1000} {
			add(fmt.Sprintf("with its frame/%d bytes, UDP_SEGMENT %d", size, segment), func(r *Run) {
				a, _ := r.Pair()
				a.Set(unix.SOL_UDP, unix.UDP_SEGMENT, segment)
				a.Set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, sent&^unix.SOF_TIMESTAMPING_OPT_TSONLY|unix.SOF_TIMESTAMPING_OPT_ID)
				a.Send(Data(size), 0)
				a.Send([]byte("next"), 0)
				r.Sync()
				// To the IP header's total length: then comes an identification. Of
				// segments Linux has them all in one frame here.
				room := 14 + 4
				if segment > 0 {
					room = 14
				}
				for range 3 {
					a.Recvmsg(200, unix.MSG_ERRQUEUE|unix.MSG_TRUNC, room)
				}
			})
		}
	}
	add("of a ping socket", func(r *Run) {
		a := r.Ping("a")
		a.Bind(sockapi.Inet4([4]byte{}, 77))
		a.Set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, sent|unix.SOF_TIMESTAMPING_OPT_ID)
		a.Sendto([]byte{8, 0, 0, 0, 0, 0, 0, 1}, 0, r.Far(0))
		a.Sendto([]byte{8, 0, 0, 0, 0, 0, 0, 1}, 0, r.Far(0))
		r.Sync()
		for range 3 {
			a.Recvmsg(200, unix.MSG_ERRQUEUE, 10)
		}
	})
	for _, included := range []int{0, 1} {
		add(fmt.Sprintf("of a raw socket, IP_HDRINCL %d", included), func(r *Run) {
			a := r.Open("a", Near, unix.AF_INET, unix.SOCK_RAW, 253)
			a.Set(unix.SOL_IP, unix.IP_HDRINCL, included)
			a.Set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, sent|unix.SOF_TIMESTAMPING_OPT_ID)
			p := make([]byte, 24)
			p[0], p[8], p[9] = 0x45, 64, 253
			copy(p[16:], r.Top.Addrs[Far][:])
			a.Sendto(p, 0, r.Far(0))
			a.Sendto(p, 0, r.Far(0))
			r.Sync()
			for range 3 {
				a.Recvmsg(200, unix.MSG_ERRQUEUE, 0)
			}
		})
	}
	return cases
}
