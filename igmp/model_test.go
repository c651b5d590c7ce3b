package igmp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/outband/outband/ipv4"
)

// A world is many sockets on a host, what they want, and a router on the host's link.
type world struct {
	*sim
	r       *router
	rng     *rand.Rand
	filters map[ipv4.Addr][]Filter // of each socket
	lost    map[ipv4.Addr]int      // changes lost in a row, by group
	lose    bool
}

const (
	modelGroups, modelSockets, modelSources = 4, 5, 8
)

func modelGroup(i int) ipv4.Addr { return ipv4.Addr{239, 5, 0, byte(i)} }

func newWorld(t *testing.T, seed uint64, rv int, lose bool) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), lost: map[ipv4.Addr]int{}, filters: map[ipv4.Addr][]Filter{}, lose: lose}
	cfg := DefaultConfig()
	cfg.Robustness, cfg.MTU = rv, 300
	w.sim = &sim{tb: t, now: 1000 * sec}
	w.Host = New(cfg, w.rng.Uint64)
	w.SetAddress(w.now, ourIP)
	w.r = newRouter(rv, w.now)
	for i := range modelGroups {
		w.filters[modelGroup(i)] = slices.Repeat([]Filter{NotMember}, modelSockets)
	}
	return w
}

// randomFilter returns a filter of a few sources.
func (w *world) randomFilter() Filter {
	if w.rng.IntN(4) == 0 {
		return NotMember
	}
	f := Filter{Mode: Mode(w.rng.IntN(2))}
	for i := range modelSources {
		if w.rng.IntN(3) == 0 {
			f.Sources = append(f.Sources, src(i))
		}
	}
	return f
}

// change replaces a random filter.
func (w *world) change() {
	g, i := modelGroup(w.rng.IntN(modelGroups)), w.rng.IntN(modelSockets)
	f := w.randomFilter()
	w.Update(w.now, g, w.filters[g][i], f)
	w.filters[g][i] = f
}

// wanted says what the group's filters are together, naively: one after the other,
// as RFC 3376 section 3.2 has it.
func (w *world) wanted(g, s ipv4.Addr) (mode Mode, accepts bool) {
	mode = Include
	for _, f := range w.filters[g] {
		if f.Mode == Exclude {
			mode = Exclude
		}
		if f.isMember() && slices.Contains(f.Sources, s) == (f.Mode == Include) {
			accepts = true
		}
	}
	return mode, accepts
}

// check compares the host with the model, and the router too if settled.
func (w *world) check(settled bool) {
	w.tb.Helper()
	checkInvariants(w.tb, w.Host)
	for i := range modelGroups {
		addr := modelGroup(i)
		g := w.Lookup(addr)
		users := 0
		for _, f := range w.filters[addr] {
			users += members(f)
		}
		if (g != nil) != (users > 0) || g != nil && g.users != users {
			w.tb.Fatalf("%v: %d users", addr, users)
		}
		for n := range modelSources + 1 { // the last is named by none
			mode, accepts := w.wanted(addr, src(n))
			if g != nil && (g.Mode() != mode || g.Accepts(src(n)) != accepts) {
				w.tb.Fatalf("%v, source %d: %v %v, want %v %v", addr, n, g.Mode(), g.Accepts(src(n)), mode, accepts)
			}
			if settled && w.r.forwards(addr, src(n).Uint32()) != accepts {
				w.tb.Fatalf("%v, source %d: the router has %+v, want %v %v, filters %v",
					addr, n, w.r.groups[addr], mode, accepts, w.filters[addr])
			}
		}
		mode, _ := w.wanted(addr, ipv4.Addr{})
		if rg := w.r.groups[addr]; settled && (rg != nil && rg.mode != mode || rg == nil && users > 0) {
			w.tb.Fatalf("%v: the router has %+v", addr, rg)
		}
	}
}

// until runs host and router until a time.
func (w *world) until(end int64) {
	for {
		next := min(w.Deadline(), w.r.deadline())
		if next > end {
			w.now = end
			return
		}
		w.now = max(w.now, next)
		w.Advance(w.now)
		w.deliver()
		for _, q := range w.r.advance(w.now) {
			dst := AllSystems
			if !q.group.IsUnspecified() {
				dst = q.group
			}
			w.Input(w.now, from(routeIP, dst, q.message(w.r.rv)))
		}
	}
}

// deliver brings the host's reports to the router. Of changes of one group, up to
// robustness-1 in a row are lost; of responses none.
func (w *world) deliver() {
	buf := make([]byte, 1500)
	fate := map[ipv4.Addr]bool{} // by group: a change may be in several records, and reports
	for {
		t, ok := w.Next(buf)
		if !ok {
			return
		}
		if len(t.Message) > 300-24 {
			w.tb.Fatalf("a report of %d bytes", len(t.Message))
		}
		m, c := Parse(t.Message)
		if c != CauseNone {
			w.tb.Fatal(c)
		}
		r := m.FirstRecord()
		for i := range m.NumRecords() {
			if i > 0 {
				r = r.Next()
			}
			if r.Type() >= ToInclude && w.loses(r.Group(), fate) {
				continue
			}
			list := map[uint32]bool{}
			for i := range r.NumSources() {
				list[r.Source(i).Uint32()] = true
			}
			w.r.record(w.now, r.Type(), r.Group(), list)
		}
	}
}

// loses decides if a change is lost.
func (w *world) loses(g ipv4.Addr, fate map[ipv4.Addr]bool) bool {
	lost, known := fate[g]
	if !known {
		lost = w.lose && w.lost[g] < w.r.rv-1 && w.rng.IntN(3) > 0
		fate[g] = lost
		w.lost[g]++
		if !lost {
			w.lost[g] = 0
		}
	}
	return lost
}

// Random changes of many sockets, against a naive merge of their filters, and against
// what a router makes of the reports, of which robustness-1 in a row may be lost.
func TestModel(t *testing.T) {
	for _, lose := range []bool{false, true} {
		for _, rv := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("robustness %d, loss %v", rv, lose), func(t *testing.T) {
				for seed := range uint64(15) {
					w := newWorld(t, seed, rv, lose)
					for range 25 {
						for range 1 + w.rng.IntN(12) {
							w.change()
							w.check(false)
							if w.rng.IntN(2) == 0 {
								w.until(w.now + w.rng.Int64N(2*sec))
							}
						}
						// Time for all repetitions, and for the last member queries.
						w.until(w.now + int64(rv)*(2*sec) + 5*sec)
						w.check(true)
						w.until(w.now + w.rng.Int64N(400*sec))
						w.check(true)
					}
				}
			})
		}
	}
}

// The same while the link fails and comes back, with the old state gone from the router.
func TestModelLink(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed, 2, true)
		for range 10 {
			for range 5 {
				w.change()
			}
			w.until(w.now + w.rng.Int64N(sec))
			w.LinkDown(w.now)
			w.r.groups, w.r.queries = map[ipv4.Addr]*routed{}, nil
			for range 5 {
				w.change()
				w.check(false)
			}
			w.LinkUp(w.now)
			clear(w.lost)
			w.until(w.now + 10*sec)
			w.check(true)
		}
	}
}
