package oracle

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// optionCases are what every option is asked: its default, each value worth
// setting, each size of value and buffer, and the wrong level.
func optionCases() (cases []Case) {
	add := func(o *Option, what string, run func(r *Run)) {
		cases = append(cases, Case{Name: "option/" + o.Name + "/" + what, Tops: []Topology{Loopback}, Run: run})
	}
	for i := range Options {
		o := &Options[i]
		get := func(k *Sock, size int) {
			switch {
			case o.varies:
				k.GetAs(o.Level, o.Number, size, func(v []byte) string { return fmt.Sprint(len(v)) })
			case o.kind == timeval:
				k.GetAs(o.Level, o.Number, size, roughly)
			default:
				k.Get(o.Level, o.Number, size)
			}
		}
		add(o, "default", func(r *Run) {
			for _, k := range []*Sock{r.UDP("udp"), r.Ping("ping")} {
				get(k, 4)
			}
		})
		add(o, "default of a connected socket", func(r *Run) {
			a, _ := r.Pair()
			get(a, 16)
		})
		add(o, "get into sizes", func(r *Run) {
			k := r.UDP("a")
			for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 32, 64} {
				get(k, n)
			}
		})
		add(o, "set by sizes", func(r *Run) {
			k := r.UDP("a")
			value := []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
			for _, n := range []int{0, 1, 2, 3, 4, 5, 8, 12, 15, 16, 17, 24} {
				k.SetBytes(o.Level, o.Number, value[:n])
				get(k, 4)
			}
		})
		add(o, "by one byte", func(r *Run) {
			k := r.UDP("a")
			for _, v := range []byte{0, 1, 2, 127, 128, 255} {
				k.SetBytes(o.Level, o.Number, []byte{v})
				get(k, 4)
				get(k, 1)
			}
		})
		add(o, "closed", func(r *Run) {
			k := r.UDP("a")
			k.Close()
			get(k, 4)
			k.Set(o.Level, o.Number, 1)
		})
		add(o, "of a ping socket", func(r *Run) {
			k := r.Ping("a")
			for _, v := range []int{0, 1, 2} {
				k.Set(o.Level, o.Number, v)
				get(k, 4)
			}
		})
		for _, v := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(kindValues[o.kind], o.values)))) {
			add(o, fmt.Sprintf("set %d", v), func(r *Run) {
				k := r.UDP("a")
				k.Set(o.Level, o.Number, v)
				get(k, 4)
				k.Set(o.Level, o.Number, 1)
				k.Set(o.Level, o.Number, v)
				get(k, 4)
				get(k, 1)
			})
		}
	}
	return append(cases, levelCases()...)
}

// levelCases ask for options at levels that have none for such sockets.
func levelCases() (cases []Case) {
	for _, level := range []int{-1, unix.SOL_TCP, unix.SOL_IPV6, unix.SOL_RAW, unix.SOL_ICMPV6, unix.SOL_PACKET,
		unix.SOL_NETLINK, unix.SOL_VSOCK, 2, 132, 1 << 30} {
		cases = append(cases, Case{Name: fmt.Sprintf("option/level %d", level), Tops: []Topology{Loopback}, Run: func(r *Run) {
			for _, k := range []*Sock{r.UDP("udp"), r.Ping("ping")} {
				for name := range 60 {
					k.Set(level, name, 1)
					k.Get(level, name, 4)
				}
			}
		}})
	}
	for _, level := range []int{unix.SOL_SOCKET, unix.SOL_IP, unix.SOL_UDP} {
		for _, name := range []int{-1, 0, 53 + level, 88, 90, 120, 250, 1000, 1 << 20} {
			cases = append(cases, Case{Name: fmt.Sprintf("option/unknown %s %d", levels[level], name), Tops: []Topology{Loopback}, Run: func(r *Run) {
				k := r.UDP("a")
				k.Set(level, name, 1)
				k.SetBytes(level, name, nil)
				k.SetBytes(level, name, make([]byte, 16))
				k.Get(level, name, 0)
				k.Get(level, name, 4)
				k.Get(level, name, 16)
			}})
		}
	}
	return append(cases, timevalCases()...)
}

// timevalCases set time-outs of all kinds of values. They are compared as
// multiples of 20 ms, which every kernel's ticks divide.
func timevalCases() (cases []Case) {
	for _, name := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO, unix.SO_RCVTIMEO_NEW, unix.SO_SNDTIMEO_NEW} {
		o := OptionName(unix.SOL_SOCKET, name)
		for _, v := range [][2]int64{{0, 0}, {0, 1}, {0, 19999}, {0, 20000}, {0, 20001}, {0, 500000}, {1, 0},
			{1, 999999}, {0, 1000000}, {0, -1}, {-1, 0}, {-1, 5}, {1<<63 - 1, 0}, {1<<63 - 1, 999999}, {-1 << 63, 0}} {
			cases = append(cases, Case{Name: fmt.Sprintf("option/%s/%d.%06d s", o, v[0], v[1]), Tops: []Topology{Loopback}, Run: func(r *Run) {
				k := r.UDP("a")
				k.SetBytes(unix.SOL_SOCKET, name, timevalOf(v))
				k.GetAs(unix.SOL_SOCKET, name, 16, roughly)
			}})
		}
	}
	for what, v := range map[string][2]int64{"to the microsecond": {0, 4001}, "longer than the clock": {1 << 40, 0}} {
		cases = append(cases, Case{Name: "time-out/" + what, Tops: []Topology{Loopback}, Run: func(r *Run) {
			k := r.UDP("a")
			k.SetBytes(unix.SOL_SOCKET, unix.SO_RCVTIMEO, timevalOf(v))
			k.Get(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 16)
		}})
	}
	return cases
}

func timevalOf(v [2]int64) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(v[0]))
	return binary.NativeEndian.AppendUint64(b, uint64(v[1]))
}

// roughly writes a time-out down, rounded up to 20 ms.
func roughly(v []byte) string {
	if len(v) != 16 {
		return fmt.Sprintf("%x", v)
	}
	us := 1e6*int64(binary.NativeEndian.Uint64(v)) + int64(binary.NativeEndian.Uint64(v[8:]))
	return fmt.Sprintf("%d ms", (us+19999)/20000*20)
}
