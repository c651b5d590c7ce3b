package udp

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

var (
	loc  = ipv4.Addr{10, 0, 0, 1}
	peer = ipv4.Addr{10, 0, 0, 2}
)

func newTable() *Table[int] { return NewTable[int](rand.New(rand.NewPCG(41, 42)).Uint64) }

func mustBind(t testing.TB, table *Table[int], b *Binding[int]) *Binding[int] {
	t.Helper()
	if e := table.Bind(b); e != 0 {
		t.Fatalf("Bind(%+v): %v", b, e)
	}
	return b
}

// addr returns the i-th address of 10.0.0.0/8.
func addr(i int) (a ipv4.Addr) {
	binary.BigEndian.PutUint32(a[:], 10<<24+uint32(i))
	return a
}

func TestMisuse(t *testing.T) {
	table := newTable()
	b := &Binding[int]{LocalPort: 7}
	if e := table.Connect(b, loc, peer, 9); e != unix.EINVAL {
		t.Errorf("Connect of an unbound binding: %v, want EINVAL", e)
	}
	if e := table.Disconnect(b, loc); e != unix.EINVAL {
		t.Errorf("Disconnect of an unbound binding: %v, want EINVAL", e)
	}
	if e := table.Rebind(b, 1); e != unix.EINVAL {
		t.Errorf("Rebind of an unbound binding: %v, want EINVAL", e)
	}
	table.Unbind(b)
	mustBind(t, table, b)
	if e := table.Bind(b); e != unix.EINVAL {
		t.Errorf("second Bind: %v, want EINVAL", e)
	}
	if e := table.Connect(b, loc, ipv4.Addr{}, 9); e != unix.EINVAL {
		t.Errorf("Connect to 0.0.0.0: %v, want EINVAL", e)
	}
	table.Publish(b) // it is
	table.Publish(&Binding[int]{ReusePort: true})
	found := 0
	table.Each(loc, 7, 0, func(*Binding[int]) { found++ })
	if found != 1 {
		t.Errorf("one binding is found %d times", found)
	}
	table.Unbind(b)
	table.Unbind(b)
	if table.Len() != 0 || b.Bound() {
		t.Errorf("Len %d, Bound %v after Unbind", table.Len(), b.Bound())
	}
	for _, r := range [][2]uint16{{0, 5}, {6, 5}} {
		if e := table.SetPortRange(r[0], r[1]); e != unix.EINVAL {
			t.Errorf("SetPortRange(%d, %d): %v, want EINVAL", r[0], r[1], e)
		}
	}
	if lo, hi := table.PortRange(); lo != 32768 || hi != 60999 {
		t.Errorf("PortRange = %d, %d", lo, hi)
	}
}

func TestConnectedLife(t *testing.T) {
	table := newTable()
	b := mustBind(t, table, &Binding[int]{Owner: 1})
	port := b.LocalPort
	lookup := func(src ipv4.Addr, sport uint16) bool {
		_, ok := table.Lookup(loc, port, src, sport, 1)
		return ok
	}
	if !lookup(peer, 9) || !lookup(addr(77), 1) {
		t.Fatal("an unconnected socket takes from anybody")
	}
	table.Connect(b, loc, peer, 9)
	if !b.Connected() || !lookup(peer, 9) || lookup(peer, 10) || lookup(addr(77), 9) {
		t.Error("a connected socket takes from its peer only")
	}
	if _, ok := table.Lookup(addr(3), port, peer, 9, 1); ok {
		t.Error("a connected socket has one address")
	}
	table.Connect(b, loc, peer, 0)
	if !lookup(peer, 9) || !lookup(peer, 10) || lookup(addr(77), 9) {
		t.Error("a peer's port 0 stands for all")
	}
	table.Disconnect(b, ipv4.Addr{})
	if b.Connected() || !lookup(addr(77), 1) || b.LocalPort != port {
		t.Error("a disconnected socket takes from anybody at its port")
	}
	table.Unbind(b)
	if lookup(peer, 9) {
		t.Error("found after Unbind")
	}
}

// Rebind of a connected binding has it take from the new device only.
func TestRebindConnected(t *testing.T) {
	table := newTable()
	b := mustBind(t, table, &Binding[int]{LocalPort: 53})
	table.Connect(b, loc, peer, 9)
	for _, device := range []int32{2, 3, 0} {
		if e := table.Rebind(b, device); e != 0 {
			t.Fatal(e)
		}
		for dev := int32(1); dev < 4; dev++ {
			if _, ok := table.Lookup(loc, 53, peer, 9, dev); ok != (device == 0 || device == dev) {
				t.Errorf("bound to %d, arrived on %d: %t", device, dev, ok)
			}
		}
	}
}

func TestReusePortSpreadsFlowsAndKeepsThem(t *testing.T) {
	table := newTable()
	const members, flows = 8, 16000
	var all []*Binding[int]
	for i := range members {
		all = append(all, mustBind(t, table, &Binding[int]{Owner: i, LocalPort: 53, ReusePort: true}))
	}
	var n [members]int
	for i := range flows {
		o, _ := table.Lookup(loc, 53, addr(i/16), uint16(1024+i%16), 1)
		n[o]++
	}
	for i, got := range n {
		if want := flows / members; got < want*85/100 || got > want*115/100 {
			t.Errorf("member %d has %d flows of %d, want about %d", i, got, flows, want)
		}
	}
	table.Connect(all[3], loc, peer, 9)
	for i := range flows {
		if o, _ := table.Lookup(loc, 53, addr(i), 1, 1); o == 3 {
			t.Fatal("a connected member has a stranger's datagram")
		}
	}
	if o, _ := table.Lookup(loc, 53, peer, 9, 1); o != 3 {
		t.Errorf("the peer's datagram goes to %d, want 3", o)
	}
	if e := table.Bind(&Binding[int]{LocalPort: 53, ReusePort: true, UID: 1}); e != unix.EADDRINUSE {
		t.Errorf("another user's Bind: %v, want EADDRINUSE", e)
	}
}

func TestEphemeralPortsAreSpread(t *testing.T) {
	table := newTable()
	table.SetPortRange(40000, 40999)
	var n [10]int
	for range 5000 {
		b := mustBind(t, table, &Binding[int]{})
		n[(b.LocalPort-40000)/100]++
		table.Unbind(b)
	}
	for i, got := range n {
		if got < 400 || got > 600 {
			t.Errorf("ports %d00 to %d99: %d of 5000, want about 500", 400+i, 400+i, got)
		}
	}
}

// A free port behind a run of ports in use is drawn no more often than others.
func TestEphemeralPortsAreSpreadOverTheFree(t *testing.T) {
	table := newTable()
	table.SetPortRange(40000, 40999)
	for port := range uint16(500) {
		if port%2 == 0 {
			mustBind(t, table, &Binding[int]{LocalPort: 40000 + port})
		} else {
			table.SetReserved(40000+port, true)
		}
	}
	n := map[uint16]int{}
	for range 1000 {
		b := mustBind(t, table, &Binding[int]{})
		n[b.LocalPort]++
		table.Unbind(b)
	}
	for port, got := range n {
		if port < 40500 || got > 20 {
			t.Errorf("port %d: %d of 1000, want about 2", port, got)
		}
	}
}

func TestEphemeralPortsRunOut(t *testing.T) {
	table := newTable()
	table.SetReserved(50000, true)
	seen := map[uint16]bool{}
	for range DefaultPortHigh - DefaultPortLow {
		b := mustBind(t, table, &Binding[int]{Local: loc})
		if seen[b.LocalPort] || b.LocalPort < DefaultPortLow || b.LocalPort > DefaultPortHigh || b.LocalPort == 50000 {
			t.Fatalf("port %d given out", b.LocalPort)
		}
		seen[b.LocalPort] = true
	}
	b := &Binding[int]{Local: loc}
	if e := table.Bind(b); e != unix.EADDRINUSE || b.LocalPort != 0 {
		t.Errorf("Bind beyond the last port: %v, port %d; want EADDRINUSE", e, b.LocalPort)
	}
	mustBind(t, table, &Binding[int]{Local: addr(5)}) // every port is free there
	mustBind(t, table, &Binding[int]{Local: loc, LocalPort: 50000})
	table.SetReserved(50000, false)
	if e := table.Bind(b); e != unix.EADDRINUSE {
		t.Errorf("Bind with the reserved port taken: %v, want EADDRINUSE", e)
	}
}

func TestEphemeralRangeToTheLastPort(t *testing.T) {
	for _, r := range [][2]uint16{{65535, 65535}, {65530, 65535}, {1, 3}, {63, 65}} {
		table := newTable()
		table.SetPortRange(r[0], r[1])
		for range r[1] - r[0] + 1 {
			if b := mustBind(t, table, &Binding[int]{}); b.LocalPort < r[0] || b.LocalPort > r[1] {
				t.Fatalf("port %d outside %v", b.LocalPort, r)
			}
		}
		if e := table.Bind(&Binding[int]{}); e != unix.EADDRINUSE {
			t.Errorf("range %v exhausted: %v, want EADDRINUSE", r, e)
		}
		// All ports are bound by sockets that let no other in: two that share
		// find one of each other's, whatever the search starts with.
		for b := range table.All() {
			table.Unbind(b)
			mustBind(t, table, &Binding[int]{LocalPort: b.LocalPort, ReuseAddr: true})
			mustBind(t, table, &Binding[int]{ReuseAddr: true})
			break
		}
	}
}

func TestIndexAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	x := index[int]{secret: secret{r.Uint64(), r.Uint64()}}
	m := map[key]*int{}
	x.delete(key{1, 2}) // none is there
	for i := range 200000 {
		k := key{r.Uint64N(40) << 32, uint32(r.IntN(20))}
		switch {
		case i/20000%2 == 0 && r.IntN(3) > 0 || r.IntN(4) == 0: // grows, shrinks, grows
			v := new(int)
			x.put(k, v)
			m[k] = v
		default:
			x.delete(k)
			delete(m, k)
		}
		if q := (key{r.Uint64N(40) << 32, uint32(r.IntN(20))}); x.get(q) != m[q] || x.get(k) != m[k] || x.n != len(m) {
			t.Fatalf("step %d: index and map differ", i)
		}
	}
}

// probes returns how many entries get looks at for all values, on average.
func (x *index[V]) probes() float64 {
	total := 0
	for _, e := range x.entries {
		if e.v != nil {
			_, far := x.place(e.key)
			total += 1 + far
		}
	}
	return float64(total) / float64(x.n)
}

// Keys in a row do not crowd, whatever the secret the index begins with.
func TestIndexLeavesBadSecrets(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct { // in this order, so that the secrets are the same each time
		name string
		nth  func(i int) key
	}{
		{"peers by address", func(i int) key { return peerKey(loc, 53, addr(i), 1000) }},
		{"peers by port", func(i int) key { return peerKey(loc, 53, peer, uint16(1024+i)) }},
		{"addresses of a port", func(i int) key { return localKey(addr(i), 53) }},
		{"ports of an address", func(i int) key { return localKey(loc, uint16(i)) }},
	} {
		name, nth := c.name, c.nth
		bad, kept := 0, 0
		for range 1000 {
			x := index[int]{secret: secret{rnd.Uint64(), rnd.Uint64()}}
			first := x.secret
			for i := range 1000 {
				x.put(nth(i), new(int))
			}
			for i := range 1000 {
				if x.get(nth(i)) == nil {
					t.Fatalf("%s: value %d is lost", name, i)
				}
			}
			if x.probes() > 8 {
				bad++
			}
			if x.secret == first {
				kept++
			}
		}
		if bad > 2 || kept < 900 {
			t.Errorf("%s: of 1000 secrets %d are bad to the end, and %d kept", name, bad, kept)
		}
	}
}

// An index that has shrunk keeps the smallest size, so that one that comes and goes
// allocates nothing.
func TestIndexKeepsTheSmallestSize(t *testing.T) {
	x := index[int]{secret: secret{1, 2}}
	for i := range 100 {
		x.put(key{uint64(i), 0}, new(int))
	}
	for i := range 100 {
		x.delete(key{uint64(i), 0})
	}
	if x.n != 0 || len(x.entries) != minIndex {
		t.Errorf("%d entries for %d values, want %d", len(x.entries), x.n, minIndex)
	}
}

func TestHundredThousandOnOnePort(t *testing.T) {
	const n = 100_000
	table := newTable()
	all := make([]*Binding[int], n)
	for i := range all {
		all[i] = mustBind(t, table, &Binding[int]{Owner: i, LocalPort: 53, ReuseAddr: true})
		table.Connect(all[i], loc, addr(i), 1000)
	}
	for i := 0; i < n; i += 997 {
		if o, ok := table.Lookup(loc, 53, addr(i), 1000, 1); !ok || o != i {
			t.Fatalf("Lookup of peer %d = %d, %v", i, o, ok)
		}
	}
	for _, b := range all {
		table.Unbind(b)
	}
	if table.Len() != 0 || len(table.peers.entries) > minIndex {
		t.Errorf("%d bindings, index of %d after the last Unbind", table.Len(), len(table.peers.entries))
	}
}

// worlds are what Lookup is measured in: each returns the i-th question.
var worlds = []struct {
	name string
	fill func(t testing.TB, table *Table[int], n int) func(i int) query
}{
	{"ports", func(t testing.TB, table *Table[int], n int) func(int) query {
		for i := range n {
			mustBind(t, table, &Binding[int]{Local: addr(i >> 15), LocalPort: uint16(1 + i&0x7fff)})
		}
		return func(i int) query { return query{addr(i >> 15), uint16(1 + i&0x7fff), peer, 9, 1} }
	}},
	{"wildcards", func(t testing.TB, table *Table[int], n int) func(int) query {
		n = min(n, 60000)
		for i := range n {
			mustBind(t, table, &Binding[int]{LocalPort: uint16(1 + i)})
		}
		return func(i int) query { return query{loc, uint16(1 + i%n), peer, 9, 1} }
	}},
	{"peersOfOnePort", func(t testing.TB, table *Table[int], n int) func(int) query {
		for i := range n {
			b := mustBind(t, table, &Binding[int]{Local: loc, LocalPort: 53, ReuseAddr: true})
			table.Connect(b, loc, addr(i), 1000)
		}
		return func(i int) query { return query{loc, 53, addr(i), 1000, 1} }
	}},
	{"addressesOfOnePort", func(t testing.TB, table *Table[int], n int) func(int) query {
		for i := range n {
			mustBind(t, table, &Binding[int]{Local: addr(i), LocalPort: 53})
		}
		return func(i int) query { return query{addr(i), 53, peer, 9, 1} }
	}},
	{"reuseportGroup", func(t testing.TB, table *Table[int], n int) func(int) query {
		for range n {
			mustBind(t, table, &Binding[int]{LocalPort: 53, ReusePort: true})
		}
		return func(i int) query { return query{loc, 53, addr(i), 9, 1} }
	}},
}

func TestLookupAllocatesNothing(t *testing.T) {
	for _, w := range worlds {
		t.Run(w.name, func(t *testing.T) {
			table := newTable()
			ask := w.fill(t, table, 1000)
			owners := make([]int, 0, 1000)
			i := 0
			if n := testing.AllocsPerRun(1000, func() {
				q := ask(i % 1000)
				i++
				if _, ok := table.Lookup(q.dst, q.dport, q.src, q.sport, q.dev); !ok {
					t.Fatal("not found")
				}
				owners = match(table, q.dst, q.dport, q.src, q.sport, q.dev, owners[:0])
			}); n != 0 {
				t.Errorf("%v allocations, want 0", n)
			}
		})
	}
}

// BenchmarkLookup asks for all bindings in turn, so that the large worlds show
// what the processor's caches do not hold; "hot" asks for one.
func BenchmarkLookup(b *testing.B) {
	for _, w := range worlds {
		for _, n := range []int{10, 100_000} {
			table := newTable()
			ask := w.fill(b, table, n)
			order := rand.New(rand.NewPCG(1, 2)).Perm(n)
			queries := make([]query, 1<<13)
			for i := range queries {
				queries[i] = ask(order[i%n])
			}
			run := func(b *testing.B, mask int) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					q := &queries[i&mask]
					if _, ok := table.Lookup(q.dst, q.dport, q.src, q.sport, q.dev); !ok {
						b.Fatal("not found")
					}
				}
			}
			b.Run(fmt.Sprintf("%s/%d", w.name, n), func(b *testing.B) { run(b, len(queries)-1) })
			b.Run(fmt.Sprintf("%s/%d/hot", w.name, n), func(b *testing.B) { run(b, 0) })
		}
	}
}

func BenchmarkLookupNoPort(b *testing.B) {
	table := newTable()
	for b.Loop() {
		if _, ok := table.Lookup(loc, 53, peer, 9, 1); ok {
			b.Fatal("found")
		}
	}
}

func BenchmarkBindEphemeral(b *testing.B) {
	for _, left := range []int{28000, 1} {
		b.Run(fmt.Sprintf("left=%d", left), func(b *testing.B) {
			table := newTable()
			for range DefaultPortHigh - DefaultPortLow + 1 - left {
				mustBind(b, table, &Binding[int]{})
			}
			x := &Binding[int]{}
			for b.Loop() {
				x.LocalPort = 0
				mustBind(b, table, x)
				table.Unbind(x)
			}
		})
	}
}

// match appends the owners of all bindings that a broadcast or multicast datagram is
// for: each that Each yields, if it has no other peer than the source.
func match[T any](t *Table[T], dst ipv4.Addr, dport uint16, src ipv4.Addr, sport uint16, dev int32, owners []T) []T {
	t.Each(dst, dport, dev, func(b *Binding[T]) {
		if !b.Connected() || b.Remote == src && (b.RemotePort == 0 || b.RemotePort == sport) {
			owners = append(owners, b.Owner)
		}
	})
	return owners
}
