package oracle

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// ipOptions are IP options worth sending: what they are, and the bytes.
func ipOptions() map[string][]byte {
	route := func(typ byte, pointer byte, hops int) []byte {
		return append([]byte{typ, byte(3 + 4*hops), pointer}, make([]byte, 4*hops)...)
	}
	stamp := func(pointer, flags byte, n int) []byte {
		return append([]byte{68, byte(4 + n), pointer, flags}, make([]byte, n)...)
	}
	dirty := route(7, 4, 3)
	for i := range dirty[3:] {
		dirty[3+i] = 0xee
	}
	prespec := stamp(5, 3, 16)
	copy(prespec[4:], []byte{10, 9, 0, 1})
	copy(prespec[12:], []byte{10, 9, 0, 2})
	foreign := stamp(5, 3, 8)
	copy(foreign[4:], []byte{192, 0, 2, 1})
	return map[string][]byte{
		"none":                             {},
		"no-ops":                           {1, 1, 1, 1},
		"two no-ops":                       {1, 1},
		"end, and more":                    {1, 0, 7, 9},
		"alert":                            {148, 4, 0, 0},
		"alert of another value":           {148, 4, 0, 1},
		"alert, short":                     {148, 3, 0, 0},
		"unknown":                          {99, 4, 1, 2},
		"record route":                     route(7, 4, 3),
		"record route, dirty":              dirty,
		"record route, full":               route(7, 8, 1),
		"record route of one":              route(7, 4, 1),
		"record route of none":             route(7, 4, 0),
		"record route of nine":             route(7, 4, 9),
		"record route, half a slot":        {7, 9, 4, 0, 0, 0, 0, 0, 0},
		"record route, pointer to a piece": {7, 9, 8, 0, 0, 0, 0, 0, 0},
		"record route, low pointer":        route(7, 3, 1),
		"record route, high pointer":       route(7, 200, 1),
		"record route, length 1":           {7, 1, 4, 0},
		"record route, twice":              append(route(7, 4, 1), route(7, 4, 1)...),
		"times":                            stamp(5, 0, 16),
		"times, one":                       stamp(5, 0, 4),
		"times, full":                      stamp(9, 0, 4),
		"times, full, overflow 15":         stamp(9, 0xf0, 4),
		"times, addresses":                 stamp(5, 1, 24),
		"times, addresses, one":            stamp(5, 1, 8),
		"times, addresses, half":           stamp(5, 1, 4),
		"times, addresses, two and a half": stamp(5, 1, 20),
		"times, prespecified":              prespec,
		"times, prespecified, foreign":     foreign,
		"times, flag 2":                    stamp(5, 2, 16),
		"times, low pointer":               stamp(4, 0, 4),
		"times, short":                     {68, 3, 5, 0},
		"route and times":                  append(append(route(7, 4, 2), 1), stamp(5, 1, 16)...),
		"route, then end, then route":      append(append(route(7, 4, 2), 0), route(7, 4, 2)...),
		"loose route":                      {131, 7, 4, 10, 9, 0, 2, 0},
		"strict route":                     {137, 7, 4, 10, 9, 0, 2},
		"loose route of two":               {131, 11, 4, 10, 9, 0, 2, 192, 0, 2, 1},
		"loose route, pointer behind":      {131, 7, 8, 10, 9, 0, 2},
		"loose route of none":              {131, 3, 4},
		"loose route, half a hop":          {131, 9, 4, 10, 9, 0, 2, 1, 2},
		"both routes":                      {131, 7, 4, 10, 9, 0, 2, 137, 7, 4, 10, 9, 0, 2},
		"40 bytes":                         bytes.Repeat([]byte{1}, 40),
		"41 bytes":                         append(route(7, 4, 9), 1, 1),
		"bad beyond 40 bytes":              append(append(route(7, 4, 9), 1), 7, 1),
	}
}

// ipOptionCases send IP options, by IP_OPTIONS and by IP_RETOPTS, and look at what
// arrives.
func ipOptionCases() (cases []Case) {
	for name, o := range ipOptions() {
		cases = append(cases, Case{Name: "ip options/set/" + name, Tops: []Topology{Wire, Own}, Run: func(r *Run) {
			a, b := r.Pair()
			b.Set(unix.SOL_IP, unix.IP_RECVOPTS, 1)
			b.Set(unix.SOL_IP, unix.IP_RETOPTS, 1)
			a.SetBytes(unix.SOL_IP, unix.IP_OPTIONS, o)
			a.Get(unix.SOL_IP, unix.IP_OPTIONS, 40)
			a.Send([]byte("x"), 0)
			r.SyncAnswers()
			a.Error() // it may be a parameter problem
			a.Sendto(Data(3000), 0, r.Far(7002))
			r.SyncAnswers()
			b.Recvmsg(200, unix.MSG_DONTWAIT, 10)
			b.Recvmsg(200, unix.MSG_DONTWAIT, 4000)
			a.Error()
		}})
		cases = append(cases, Case{Name: "ip options/sent/" + name, Tops: []Topology{Wire, Own}, Run: func(r *Run) {
			a, b := r.Pair()
			b.Set(unix.SOL_IP, unix.IP_RECVOPTS, 1)
			b.Set(unix.SOL_IP, unix.IP_RETOPTS, 1)
			a.SetBytes(unix.SOL_IP, unix.IP_OPTIONS, []byte{148, 4, 0, 0})
			a.Sendmsg([][]byte{[]byte("x")}, Cmsg(unix.SOL_IP, unix.IP_RETOPTS, o), 0, sockapi.Sockaddr{})
			r.SyncAnswers()
			a.Error()
			a.Sendmsg([][]byte{[]byte("y")}, Cmsg(unix.SOL_IP, unix.IP_RETOPTS, o), 0, r.Far(7002))
			r.SyncAnswers()
			a.Error()
			a.Send([]byte("z"), 0)
			r.SyncAnswers()
			for range 3 {
				b.Recvmsg(200, unix.MSG_DONTWAIT, 10)
			}
			a.Error()
		}})
	}
	for _, room := range []int{0, 16, 20, 27, 32} {
		cases = append(cases, Case{Name: fmt.Sprintf("ip options/room of %d", room), Run: func(r *Run) {
			a, b := r.Pair()
			b.Set(unix.SOL_IP, unix.IP_RETOPTS, 1)
			a.SetBytes(unix.SOL_IP, unix.IP_OPTIONS, []byte{7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
			a.Send([]byte("x"), 0)
			r.SyncAnswers()
			b.Recvmsg(room, unix.MSG_DONTWAIT, 10)
		}})
	}
	cases = append(cases, Case{Name: "ip options/sent back", Run: func(r *Run) {
		a, b := r.Pair()
		a.Set(unix.SOL_IP, unix.IP_RECVOPTS, 1)
		b.Set(unix.SOL_IP, unix.IP_RETOPTS, 1)
		a.SetBytes(unix.SOL_IP, unix.IP_OPTIONS, []byte{7, 23, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		a.Send([]byte("x"), 0)
		r.SyncAnswers()
		m := message(200, 10)
		if b.s != nil {
			n, err := b.s.Recvmsg(&m, unix.MSG_DONTWAIT)
			r.Logf("%d %s", n, errnoName(err))
		}
		b.Sendmsg([][]byte{[]byte("y")}, m.Control[:m.ControlLen], 0, sockapi.Sockaddr{})
		r.SyncAnswers()
		a.Recvmsg(200, unix.MSG_DONTWAIT, 10)
	}})
	cases = append(cases, Case{Name: "ip options/of a ping", Tops: []Topology{Wire, Own}, Run: func(r *Run) {
		a := r.Ping("a")
		a.Bind(sockapi.Inet4([4]byte{}, 77))
		a.Set(unix.SOL_IP, unix.IP_RECVOPTS, 1)
		a.Set(unix.SOL_IP, unix.IP_RETOPTS, 1)
		for _, name := range []string{"record route", "record route, dirty", "times", "times, addresses", "times, full", "times, addresses, two and a half", "no-ops"} {
			a.Sendmsg([][]byte{{8, 0, 0, 0, 0, 0, 0, 1}}, Cmsg(unix.SOL_IP, unix.IP_RETOPTS, ipOptions()[name]), 0, r.Far(0))
			r.SyncAnswers()
			a.Recvmsg(200, unix.MSG_DONTWAIT, 10)
		}
	}})
	return cases
}
