package igmp

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"
)

func FuzzParse(f *testing.F) {
	for _, s := range wire {
		f.Add(unhex(f, s))
	}
	f.Add(queryV3(0xff, g1, 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, sealed(b)} {
			m, c := Parse(b)
			if (m == nil) != (c != CauseNone) {
				t.Fatal(c)
			}
			if m != nil {
				read(m)
			}
		}
	})
}

// sealed returns a copy with the right checksum.
func sealed(b []byte) []byte {
	b = append([]byte(nil), b...)
	if len(b) >= 4 {
		seal(b)
	}
	return b
}

// read calls every getter.
func read(m Message) {
	_, _, _, _, _, _ = m.Group(), m.QueryVersion(), m.MaxResponse(), m.Suppress(), m.Robustness(), m.QueryInterval()
	if m.Type() == Query {
		for i := range m.NumSources() {
			m.Source(i)
		}
	}
	if m.Type() == ReportV3 {
		records(m)
	}
}

// ops is a stream of choices read from fuzz data; it gives zeros at the end.
type ops struct{ b []byte }

func (o *ops) next() byte {
	if len(o.b) == 0 {
		return 0
	}
	c := o.b[0]
	o.b = o.b[1:]
	return c
}

// group picks one of few groups, so that things meet, and now and then no group.
func (o *ops) group() ipv4.Addr {
	switch c := o.next(); {
	case c < 0xe0:
		return ipv4.Addr{239, 6, 0, c & 7}
	case c < 0xe8:
		return ipv4.Addr{224, 0, 0, c & 3}
	case c < 0xf0:
		return ipv4.Addr{}
	default:
		return ipv4.Addr{c, c, 0, 1}
	}
}

// filter picks a filter of few sources.
func (o *ops) filter() Filter {
	c := o.next()
	f := Filter{Mode: Mode(c & 1)}
	for i := range 7 {
		if c>>(i+1)&1 != 0 {
			f.Sources = append(f.Sources, src(i))
		}
	}
	return f
}

// query builds a query of any version.
func (o *ops) query() []byte {
	kind, code, group := o.next(), o.next(), o.group()
	if kind&3 == 0 {
		return short(Query, code*(kind>>2&1), group)
	}
	var sources []int
	for i := range int(kind >> 4) {
		sources = append(sources, i+int(code))
	}
	q := queryV3(code, group, sources...)
	q[8], q[9] = o.next(), o.next()
	return seal(q)
}

// step is a length of time: mostly small, sometimes long, seldom backwards.
func (o *ops) step() int64 {
	switch c := int64(o.next()); {
	case c < 0x80:
		return c * ms
	case c < 0xe0:
		return (c - 0x80) * sec / 10
	case c < 0xff:
		return (c - 0xe0) * 20 * sec
	}
	return -sec
}

// FuzzHost does what the data says, and looks at the host after every step.
func FuzzHost(f *testing.F) {
	f.Add([]byte{})
	for seed := range uint64(20) {
		f.Add(randomBytes(seed, 400))
	}
	f.Fuzz(func(t *testing.T, data []byte) { runOps(t, &ops{data}) })
}

func randomBytes(seed uint64, n int) []byte {
	rng, b := rand.New(rand.NewPCG(seed, 9)), make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// runOps is the body of FuzzHost.
func runOps(t *testing.T, o *ops) {
	cfg, setup := DefaultConfig(), o.next()
	cfg.Version, cfg.LinkLocalReports, cfg.AnyTTL = int(setup&3), setup&4 != 0, setup&8 != 0
	cfg.RequireRouterAlert, cfg.Robustness = setup&16 != 0, 1+int(setup>>5&3)
	cfg.MaxLeaving, cfg.MaxDeadSources, cfg.MaxQuerySources, cfg.MaxQueue, cfg.MTU = 3, 5, 20, 2000, 68
	h := New(cfg, rand.New(rand.NewPCG(uint64(setup), 3)).Uint64)
	filters := map[[5]byte]Filter{} // by group and socket
	now := int64(0)
	for len(o.b) > 0 {
		now = max(0, now+o.step())
		switch c := o.next(); c % 12 {
		case 0, 1, 2, 3:
			g := o.group()
			k := [5]byte{g[0], g[1], g[2], g[3], c >> 6}
			old, ok := filters[k]
			if !ok {
				old = NotMember
			}
			filters[k] = o.filter()
			h.Update(now, g, old, filters[k])
		case 4, 5, 6:
			p := from(routeIP, AllSystems, o.query())
			if c&0x80 != 0 {
				p.Dst = o.group()
			}
			h.Input(now, p)
		case 7:
			dst, n := o.group(), int(o.next())
			h.Input(now, Packet{routeIP, dst, c >> 7, c&64 != 0, sealed(o.b[:min(n, len(o.b))]), c&32 != 0})
		case 8:
			g := o.group()
			h.Input(now, from(peerIP, g, short(ReportV2, 0, g)))
		case 9:
			switch o.next() & 7 {
			case 0:
				h.LinkDown(now)
			case 1:
				h.LeaveAll(now)
			case 2:
				h.SetAddress(now, ipv4.Addr{10, 0, 0, c})
			case 3:
				h.SetMTU(int(c) * 10)
			default:
				h.LinkUp(now)
			}
		case 10:
			h.Groups()
			h.Status()
		default:
			fetchAll(t, h)
		}
		settleDown(t, h, now)
		checkInvariants(t, h)
		checkBounds(t, h)
	}
	checkCounts(t, h, filters)
}

// fetchAll fetches the messages, and parses them.
func fetchAll(t *testing.T, h *Host) {
	buf := make([]byte, 4096)
	for {
		m, ok := h.Next(buf)
		if !ok {
			return
		}
		show(t, m)
	}
}

// settleDown runs the timers that are due, and checks that this comes to an end.
func settleDown(t *testing.T, h *Host, now int64) {
	for range 100 {
		if h.Deadline() > max(now, h.now) {
			return
		}
		h.Advance(now)
	}
	t.Fatalf("deadline %d stays before %d", h.Deadline(), now)
}

// checkBounds checks that nothing has grown beyond its limit.
func checkBounds(t *testing.T, h *Host) {
	s := h.Stats()
	if s.Leaving > h.cfg.MaxLeaving || s.DeadSources > h.cfg.MaxDeadSources ||
		s.QuerySources > h.cfg.MaxQuerySources || s.QueueBytes > h.cfg.MaxQueue+4096 {
		t.Fatalf("out of bounds: %+v", s)
	}
}

// checkCounts compares the counts with the filters that there are.
func checkCounts(t *testing.T, h *Host, filters map[[5]byte]Filter) {
	users := map[ipv4.Addr]int{}
	for k, f := range filters {
		if g := ipv4.Addr(k[:4]); f.isMember() && g.IsMulticast() {
			users[g]++
		}
	}
	for g, n := range users {
		if h.Lookup(g) == nil || h.Lookup(g).users != n {
			t.Fatalf("%v: want %d users", g, n)
		}
	}
	if h.Len() != len(users) {
		t.Fatalf("%d groups, want %d", h.Len(), len(users))
	}
}

// The same with long random runs, so that every go test goes deep.
func TestRandomOps(t *testing.T) {
	for seed := range uint64(80) {
		runOps(t, &ops{randomBytes(seed+1000, 6000)})
	}
}

// Numbers beyond reason do no harm.
func TestExtremes(t *testing.T) {
	h := New(Config{Robustness: 1 << 40, UnsolicitedV2: 1 << 62, UnsolicitedV3: -5, ReportDelay: 1 << 62,
		MTU: 1 << 40, Version: -7, MaxQueue: 1 << 50}, func() uint64 { return 1<<64 - 1 })
	h.SetMTU(-1)
	h.Update(1<<63-1, g1, NotMember, ex())
	h.Update(1<<63-1, g1, ex(), ex(1))
	h.Advance(1<<63 - 1)
	if d := h.Deadline(); d < 0 {
		t.Errorf("deadline %d", d)
	}
	// Filters that were never there take nothing from others.
	h = New(Config{}, func() uint64 { return 7 })
	h.Update(0, g1, in(1, 2), NotMember)
	h.Update(0, g1, NotMember, ex(1))
	h.Update(0, g1, in(1, 2), ex(1))
	h.Update(0, g1, ex(3), NotMember)
	h.Update(int64(time.Hour), g1, ex(1), NotMember)
	h.Update(int64(time.Hour), g1, ex(1), NotMember)
	if h.Len() != 0 {
		t.Error("a group stays")
	}
}
