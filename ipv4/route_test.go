package ipv4

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// via is a short way to write a route.
func via(p string, iface int, gateway string, metric uint32) Route {
	r := Route{Prefix: prefix(p), Iface: iface, Metric: metric}
	if gateway != "" {
		r.Gateway = ip4(gateway)
	}
	return r
}

func typed(p string, iface int, t RouteType) Route {
	return Route{Prefix: prefix(p), Iface: iface, Type: t}
}

func tableOf(t testing.TB, routes ...Route) *RouteTable {
	t.Helper()
	var table RouteTable
	for _, r := range routes {
		if err := table.Insert(r); err != nil {
			t.Fatalf("Insert(%v): %v", r, err)
		}
	}
	return &table
}

func TestLookup(t *testing.T) {
	table := tableOf(t,
		via("0.0.0.0/0", 1, "10.0.0.254", 100),
		via("0.0.0.0/0", 2, "10.1.0.254", 200),
		via("10.0.0.0/24", 1, "", 0),
		via("10.1.0.0/16", 2, "", 0),
		via("10.1.0.0/16", 3, "", 50),
		via("10.1.128.0/17", 3, "", 0),
		via("10.1.128.7/32", 2, "", 0),
		typed("10.0.0.1/32", 1, Local),
		typed("10.0.0.255/32", 1, Broadcast),
		typed("192.168.0.0/16", 0, Blackhole),
		typed("127.0.0.0/8", 4, Local),
	)
	for _, tt := range []struct {
		name, dst string
		iface     int
		want      string
	}{
		{"default", "8.8.8.8", 0, "default via 10.0.0.254 dev 1 metric 100"},
		{"default by the other interface", "8.8.8.8", 2, "default via 10.1.0.254 dev 2 metric 200"},
		{"no default there", "8.8.8.8", 3, ""},
		{"subnet", "10.0.0.2", 0, "10.0.0.0/24 dev 1"},
		{"own", "10.0.0.1", 0, "local 10.0.0.1/32 dev 1"},
		{"own, by another interface", "10.0.0.1", 2, "default via 10.1.0.254 dev 2 metric 200"},
		{"broadcast", "10.0.0.255", 0, "broadcast 10.0.0.255/32 dev 1"},
		{"least metric", "10.1.0.1", 0, "10.1.0.0/16 dev 2"},
		{"metric by interface", "10.1.0.1", 3, "10.1.0.0/16 dev 3 metric 50"},
		{"longer prefix", "10.1.200.1", 0, "10.1.128.0/17 dev 3"},
		{"back to the shorter", "10.1.200.1", 2, "10.1.0.0/16 dev 2"},
		{"host route", "10.1.128.7", 0, "10.1.128.7/32 dev 2"},
		{"beside the host route", "10.1.128.7", 3, "10.1.128.0/17 dev 3"},
		{"blackhole", "192.168.3.4", 0, "blackhole 192.168.0.0/16"},
		{"blackhole of any interface", "192.168.3.4", 2, "blackhole 192.168.0.0/16"},
		{"loopback", "127.1.2.3", 0, "local 127.0.0.0/8 dev 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, ok := table.Lookup(ip4(tt.dst), tt.iface)
			equal(t, "found", ok, tt.want != "")
			if ok {
				equal(t, "route", r.String(), tt.want)
			}
		})
	}
	var empty RouteTable
	if _, ok := empty.Lookup(near, 0); ok {
		t.Error("a route in an empty table")
	}
	equal(t, "All of an empty table", len(empty.All()), 0)
}

func TestInsertErrors(t *testing.T) {
	table := tableOf(t, via("10.0.0.0/24", 1, "", 0), via("0.0.0.0/0", 1, "10.0.0.254", 0))
	for _, tt := range []struct {
		name string
		r    Route
		want error
	}{
		{"again", via("10.0.0.0/24", 1, "", 0), unix.EEXIST},
		{"again, another source", Route{Prefix: prefix("10.0.0.0/24"), Iface: 1, Source: near}, unix.EEXIST},
		{"another metric", via("10.0.0.0/24", 1, "", 1), nil},
		{"another interface", via("10.0.0.0/24", 2, "", 0), nil},
		{"another gateway", via("0.0.0.0/0", 1, "10.0.0.253", 0), nil},
		{"another type", typed("10.0.0.0/24", 0, Unreachable), nil},
		{"host bits", via("10.0.0.1/24", 1, "", 0), unix.EINVAL},
		{"no prefix", Route{Iface: 1}, unix.EINVAL},
		{"IPv6", via("fe80::/64", 1, "", 0), unix.EINVAL},
		{"no interface", via("10.9.0.0/24", 0, "", 0), unix.ENODEV},
		{"gateway is a group", via("10.9.0.0/24", 1, "224.0.0.1", 0), unix.EINVAL},
		{"gateway is loopback", via("10.9.0.0/24", 1, "127.0.0.1", 0), unix.EINVAL},
		{"gateway is broadcast", via("10.9.0.0/24", 1, "255.255.255.255", 0), unix.EINVAL},
		{"local with gateway", Route{Prefix: prefix("10.9.0.1/32"), Type: Local, Iface: 1, Gateway: far}, unix.EINVAL},
		{"unknown type", typed("10.9.0.0/24", 1, Prohibit+1), unix.EINVAL},
		{"negative MTU", Route{Prefix: prefix("10.9.0.0/24"), Iface: 1, MTU: -1}, unix.EINVAL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := table.Insert(tt.r); !errors.Is(err, tt.want) {
				t.Errorf("Insert(%v) = %v, want %v", tt.r, err, tt.want)
			}
			if !errors.Is(tt.want, unix.EEXIST) {
				if err := table.Clone().Replace(tt.r); !errors.Is(err, tt.want) {
					t.Errorf("Replace(%v) = %v, want %v", tt.r, err, tt.want)
				}
			}
		})
	}
	equal(t, "Len", table.Len(), 6)
}

// listed returns the table as lines.
func listed(table *RouteTable) (lines []string) {
	for _, r := range table.All() {
		lines = append(lines, r.String())
	}
	return lines
}

func wantList(t *testing.T, table *RouteTable, want ...string) {
	t.Helper()
	if got := listed(table); !slices.Equal(got, want) {
		t.Errorf("routes are %q, want %q", got, want)
	}
	equal(t, "Len", table.Len(), len(want))
}

func TestOrderReplaceDelete(t *testing.T) {
	table := tableOf(t,
		via("10.0.0.0/8", 1, "", 20),
		via("10.0.0.0/8", 2, "", 10),
		via("10.0.0.0/8", 3, "", 10),
		typed("10.0.0.0/8", 1, Local),
		via("0.0.0.0/0", 1, "10.0.0.9", 0),
	)
	wantList(t, table, "default via 10.0.0.9 dev 1", "local 10.0.0.0/8 dev 1",
		"10.0.0.0/8 dev 2 metric 10", "10.0.0.0/8 dev 3 metric 10", "10.0.0.0/8 dev 1 metric 20")
	replace := func(r Route) {
		if err := table.Replace(r); err != nil {
			t.Errorf("Replace(%v): %v", r, err)
		}
	}
	replace(via("0.0.0.0/0", 2, "10.0.0.8", 0))
	replace(Route{Prefix: prefix("10.0.0.0/8"), Iface: 3, Metric: 10, MTU: 1400})
	replace(Route{Prefix: prefix("10.0.0.0/8"), Metric: 10, Type: Unreachable})
	replace(via("10.0.0.0/8", 1, "", 30))
	wantList(t, table, "default via 10.0.0.8 dev 2", "local 10.0.0.0/8 dev 1", "unreachable 10.0.0.0/8 metric 10",
		"10.0.0.0/8 dev 3 metric 10 mtu 1400", "10.0.0.0/8 dev 1 metric 20", "10.0.0.0/8 dev 1 metric 30")

	for _, tt := range []struct {
		name string
		r    Route
		want error
	}{
		{"any unicast", via("10.0.0.0/8", 0, "", 0), nil},
		{"by interface", via("10.0.0.0/8", 3, "", 0), unix.ESRCH},
		{"by metric", via("10.0.0.0/8", 0, "", 30), nil},
		{"by metric, gone", via("10.0.0.0/8", 0, "", 30), unix.ESRCH},
		{"by type", typed("10.0.0.0/8", 0, Unreachable), nil},
		{"by gateway, another", via("0.0.0.0/0", 0, "10.0.0.7", 0), unix.ESRCH},
		{"by gateway", via("0.0.0.0/0", 0, "10.0.0.8", 0), nil},
		{"another prefix", via("10.0.0.0/9", 1, "", 0), unix.ESRCH},
		{"far from all", via("11.0.0.0/16", 1, "", 0), unix.ESRCH},
		{"no prefix", Route{}, unix.EINVAL},
	} {
		if err := table.Delete(tt.r); !errors.Is(err, tt.want) {
			t.Errorf("%s: Delete = %v, want %v", tt.name, err, tt.want)
		}
	}
	wantList(t, table, "local 10.0.0.0/8 dev 1", "10.0.0.0/8 dev 1 metric 20")
}

// What is ours comes before what is not, whatever their metrics (Linux' table local).
func TestOursFirst(t *testing.T) {
	ours := typed("10.0.0.0/8", 1, Local)
	ours.Metric = 5
	table := tableOf(t, via("10.0.0.0/8", 2, "", 0), ours)
	wantList(t, table, "local 10.0.0.0/8 dev 1 metric 5", "10.0.0.0/8 dev 2")
}

func TestCloneIsApart(t *testing.T) {
	a := tableOf(t, via("10.0.0.0/24", 1, "", 0))
	b := a.Clone()
	if err := errors.Join(a.Insert(via("10.0.1.0/24", 1, "", 0)), b.Delete(via("10.0.0.0/24", 1, "", 0))); err != nil {
		t.Fatal(err)
	}
	wantList(t, a, "10.0.0.0/24 dev 1", "10.0.1.0/24 dev 1")
	wantList(t, b)
}

func TestTableCheckSource(t *testing.T) {
	table := tableOf(t, via("10.0.0.0/24", 1, "", 0), typed("10.0.0.1/32", 1, Local), typed("10.0.0.255/32", 1, Broadcast))
	equal(t, "peer", table.CheckSource(ip4("10.0.0.2")), CauseNone)
	equal(t, "own", table.CheckSource(ip4("10.0.0.1")), CauseSourceOwn)
	equal(t, "broadcast", table.CheckSource(ip4("10.0.0.255")), CauseSourceBroadcast)
	equal(t, "no route", table.CheckSource(ip4("1.2.3.4")), CauseNone)
}

// TestBeside has several ways to one network, and others that are none of them.
func TestBeside(t *testing.T) {
	table := tableOf(t, via("0.0.0.0/0", 1, "10.0.0.254", 5), via("0.0.0.0/0", 2, "10.1.0.254", 5), via("0.0.0.0/0", 3, "10.2.0.254", 5),
		via("0.0.0.0/0", 4, "10.3.0.254", 6), typed("0.0.0.0/0", 5, Local), via("10.0.0.0/8", 1, "10.0.0.254", 5))
	for _, tt := range []struct {
		name string
		r    Route
		want []int // interfaces
	}{
		{"three ways", via("0.0.0.0/0", 2, "10.1.0.254", 5), []int{1, 2, 3}},
		{"another metric", via("0.0.0.0/0", 4, "10.3.0.254", 6), []int{4}},
		{"another type", typed("0.0.0.0/0", 5, Local), []int{5}},
		{"another prefix", via("10.0.0.0/8", 1, "10.0.0.254", 5), []int{1}},
		{"no such route", via("11.0.0.0/8", 1, "10.0.0.254", 5), nil},
	} {
		var got []int
		for r := range table.Beside(tt.r) {
			got = append(got, r.Iface)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: by %v, want %v", tt.name, got, tt.want)
		}
	}
	for r := range table.Beside(via("0.0.0.0/0", 1, "10.0.0.254", 5)) {
		equal(t, "the first", r.Iface, 1)
		break
	}
}

func TestResolveGateway(t *testing.T) {
	table := tableOf(t, via("10.0.0.0/24", 1, "", 0), via("10.0.0.0/24", 2, "", 5), typed("10.0.0.1/32", 1, Local),
		via("172.16.0.0/12", 1, "10.0.0.9", 0), typed("192.168.0.0/16", 0, Prohibit))
	for _, tt := range []struct {
		name, gateway string
		iface, want   int
		err           error
	}{
		{"neighbour", "10.0.0.9", 0, 1, nil},
		{"by interface", "10.0.0.9", 2, 2, nil},
		{"no way", "8.8.8.8", 0, 0, unix.ENETUNREACH},
		{"prohibited", "192.168.0.1", 0, 0, unix.ENETUNREACH},
		{"own address", "10.0.0.1", 0, 0, unix.EINVAL},
		{"behind a gateway", "172.16.0.1", 0, 0, unix.ENETUNREACH},
	} {
		got, err := table.ResolveGateway(ip4(tt.gateway), tt.iface)
		equal(t, tt.name, got, tt.want)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
		}
	}
}

func TestRouteTypes(t *testing.T) {
	equal(t, "prohibit", Prohibit.Errno(), unix.EACCES)
	equal(t, "unreachable", Unreachable.Errno(), unix.EHOSTUNREACH)
	equal(t, "blackhole", Blackhole.Errno(), unix.EINVAL)
	equal(t, "unicast", Unicast.Errno(), 0)
	equal(t, "name", Multicast.String(), "multicast")
	equal(t, "no name", RouteType(99).String(), "unknown")
	equal(t, "the first without a name", (Prohibit + 1).String(), "unknown")
	r := Route{Prefix: prefix("0.0.0.0/0"), Gateway: far, Source: near, Iface: 3, Metric: 7, MTU: 1400}
	equal(t, "String", r.String(), "default via 10.0.0.2 dev 3 src 10.0.0.1 metric 7 mtu 1400")
	r = Route{Prefix: prefix("10.0.0.1/32"), Gateway: far, Iface: 3, OnLink: true}
	equal(t, "String", r.String(), "10.0.0.1/32 via 10.0.0.2 dev 3 onlink")
}

// naiveLookup is Lookup, by looking at every route.
func naiveLookup(routes []Route, dst Addr, iface int) (best Route, ok bool) {
	for _, r := range routes {
		if !r.Prefix.Contains(netip.AddrFrom4(dst)) || iface != 0 && r.Iface != 0 && r.Iface != iface {
			continue
		}
		if !ok || r.Prefix.Bits() > best.Prefix.Bits() ||
			r.Prefix.Bits() == best.Prefix.Bits() && compareRoutes(r, best) < 0 {
			best, ok = r, true
		}
	}
	return best, ok
}

// driveTable changes a table as the bytes say, and compares it with a slice.
func driveTable(t *testing.T, script []byte) {
	var table RouteTable
	var model []Route
	for ; len(script) >= 8; script = script[8:] {
		a := netip.AddrFrom4(Addr(script[:4]))
		p, _ := a.Prefix(int(script[4]) % 33)
		r := Route{Prefix: p, Iface: 1 + int(script[5]&3), Metric: uint32(script[6] & 1), Type: RouteType(script[6] >> 7)}
		i := slices.IndexFunc(model, r.same)
		switch script[7] & 3 {
		case 0, 1:
			if err := table.Insert(r); (err == nil) != (i < 0) {
				t.Fatalf("Insert(%v) = %v with %v there", r, err, model)
			} else if err == nil {
				model = append(model, r)
			}
		case 2:
			i := slices.IndexFunc(model, func(o Route) bool {
				return o.Prefix == r.Prefix && o.Type == r.Type && o.Iface == r.Iface && (r.Metric == 0 || o.Metric == r.Metric)
			})
			old := table.Clone()
			if err := table.Delete(r); (err == nil) != (i >= 0) {
				t.Fatalf("Delete(%v) = %v with %v there", r, err, model)
			} else if err == nil {
				model = table.All()
				equal(t, "the clone's length", len(old.All()), len(model)+1)
			}
		}
		dst := Addr(script[:4])
		dst[script[7]>>2&3] ^= script[6]
		for iface := range 5 {
			got, gotOK := table.Lookup(dst, iface)
			want, wantOK := naiveLookup(model, dst, iface)
			if gotOK != wantOK || got.Prefix != want.Prefix || got.Metric != want.Metric || got.Type != want.Type {
				t.Fatalf("Lookup(%v, %d) = %v %v, want %v %v", dst, iface, got, gotOK, want, wantOK)
			}
		}
	}
	equal(t, "Len", table.Len(), len(model))
	for _, r := range model {
		if err := table.Delete(r); err != nil {
			t.Fatalf("Delete(%v): %v", r, err)
		}
	}
	equal(t, "Len of the emptied table", table.Len(), 0)
	if table.root != nil && (len(table.root.kids) != 0 || len(table.root.entries) != 0) {
		t.Error("nodes are left in the empty table")
	}
}

func TestTableAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 8*100)
		for i := range script {
			script[i] = byte(rnd.Uint32())
			if i%8 < 3 {
				script[i] &= 3 // few networks, so that prefixes nest
			}
		}
		driveTable(t, script)
	}
}

func FuzzRouteTable(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 8, 1, 0, 0, 10, 0, 0, 1, 32, 1, 128, 0, 10, 0, 0, 0, 8, 1, 0, 2})
	f.Fuzz(driveTable)
}

// bigTable returns a table as an Internet router has it: n routes, most of 24
// bits, and addresses that are in it.
func bigTable(b testing.TB, n int) (*RouteTable, []Addr) {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	table := tableOf(b, via("0.0.0.0/0", 1, "10.0.0.254", 0))
	var dsts []Addr
	for table.Len() < n {
		var a Addr
		binary.BigEndian.PutUint32(a[:], rnd.Uint32())
		bits := []int{24, 24, 24, 24, 22, 20, 19, 16, 32}[rnd.IntN(9)]
		p, _ := netip.AddrFrom4(a).Prefix(bits)
		if table.Insert(Route{Prefix: p, Iface: 1, Gateway: far}) == nil {
			dsts = append(dsts, a)
		}
	}
	return table, dsts[:min(len(dsts), 4096)]
}

func TestLookupAllocs(t *testing.T) {
	table, dsts := bigTable(t, 1000)
	i := 0
	equal(t, "allocations", testing.AllocsPerRun(1000, func() {
		if _, ok := table.Lookup(dsts[i%len(dsts)], 1); !ok {
			t.Error("not found")
		}
		table.CheckSource(dsts[i%len(dsts)])
		i++
	}), 0)
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		b.Run(itoa(n), func(b *testing.B) {
			table, dsts := bigTable(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r, _ := table.Lookup(dsts[i%len(dsts)], 0)
				sink += r.Iface
				i++
			}
		})
	}
	b.Run("host", func(b *testing.B) {
		table := tableOf(b, via("0.0.0.0/0", 1, "10.0.0.254", 0))
		for _, r := range (Address{Prefix: prefix("10.0.0.1/24"), Iface: 1}).Routes() {
			if err := table.Insert(r); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			r, _ := table.Lookup(near, 0)
			sink += r.Iface
		}
	})
}

func BenchmarkInsert(b *testing.B) {
	table, dsts := bigTable(b, 100000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		c := table.Clone()
		r := Route{Prefix: netip.PrefixFrom(netip.AddrFrom4(dsts[i%len(dsts)]), 32), Iface: 1, Metric: 9}
		if err := c.Insert(r); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// LookupOnLink passes over what leads to gateways, and over types of no interface, to
// routes of shorter prefixes.
func TestLookupOnLink(t *testing.T) {
	link := func(p string, iface int) Route { return Route{Prefix: prefix(p), Iface: iface, Scope: ScopeLink} }
	table := tableOf(t, via("0.0.0.0/0", 1, "10.0.0.254", 100), link("10.0.0.0/8", 1), link("10.1.0.0/16", 2),
		via("10.1.2.0/24", 1, "10.0.0.254", 0), typed("10.1.3.0/24", 0, Blackhole))
	for _, tt := range []struct {
		dst   string
		iface int
		want  int // the interface; 0: none
	}{
		{"8.8.8.8", 0, 0}, {"8.8.8.8", 1, 0}, {"10.2.0.1", 0, 1}, {"10.1.2.3", 0, 2}, {"10.1.2.3", 1, 1}, {"10.1.3.1", 0, 2}, {"10.2.0.1", 2, 0},
	} {
		r, ok := table.LookupOnLink(ip4(tt.dst), tt.iface)
		if ok != (tt.want != 0) || r.Iface != tt.want {
			t.Errorf("%s by %d: %v %t, want interface %d", tt.dst, tt.iface, r, ok, tt.want)
		}
	}
}
