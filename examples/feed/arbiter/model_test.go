package arbiter

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/outband/outband/examples/feed/mold"
)

// An arrival is a packet on its way.
type arrival struct {
	from        Side
	at          int64
	first, last uint64 // last < first: the end of session
}

// scene makes a session of n messages on two ways with losses, delays and
// duplicates, each packet cut as the side likes it.
func scene(r *rand.Rand, n uint64, loss float64) (all []arrival) {
	const gap = int64(100 * time.Microsecond) // between messages
	for _, from := range []Side{A, B} {
		for first := uint64(1); first <= n; {
			last := min(n, first+r.Uint64N(4))
			for copies := 1 + r.IntN(20)/19; copies > 0; copies-- {
				if r.Float64() >= loss {
					all = append(all, arrival{from, int64(last)*gap + r.Int64N(int64(3*time.Millisecond)), first, last})
				}
			}
			first = last + 1
		}
		all = append(all, arrival{from, int64(n)*gap + int64(4*time.Millisecond), n + 1, n})
	}
	slices.SortStableFunc(all, func(x, y arrival) int { return cmp.Compare(x.at, y.at) })
	return all
}

// expected is what an arbiter has to make of a scene: worked out with maps.
type expected struct {
	first   [2]uint64 // messages of which A, B came first
	both    uint64    // messages that both brought
	unique  [2]uint64
	missing []uint64 // on both sides
}

func expect(all []arrival, n uint64) (e expected) {
	for m := uint64(1); m <= n; m++ {
		at := [2]int64{-1, -1}
		for _, a := range all {
			if a.first <= m && m <= a.last && (at[a.from] < 0 || a.at < at[a.from]) {
				at[a.from] = a.at
			}
		}
		for side := range at {
			if at[side] >= 0 {
				e.unique[side]++
			}
		}
		switch {
		case at[0] < 0 && at[1] < 0:
			e.missing = append(e.missing, m)
		case at[1] < 0 || at[0] >= 0 && at[0] < at[1]:
			e.first[0]++
		default:
			e.first[1]++
		}
		if at[0] >= 0 && at[1] >= 0 {
			e.both++
		}
	}
	return e
}

// TestAgainstModel: what is lost on one side only is delivered, in order and once;
// what is lost on both is reported exactly; the statistics are those of the times.
func TestAgainstModel(t *testing.T) {
	const n = 1500
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := scene(r, n, []float64{0, 0.02, 0.3}[seed%3])
		want := expect(all, n)
		var missing []uint64
		next := uint64(1)
		a := New(Config{First: 1, Window: 512, Timeout: 10 * time.Millisecond,
			Deliver: func(sequence uint64, m []byte) {
				if sequence != next || string(m) != string(body(sequence)) {
					t.Fatalf("seed %d: %d came instead of %d", seed, sequence, next)
				}
				next++
			},
			Lost: func(g Range) {
				if g.First != next {
					t.Fatalf("seed %d: lost %v, next is %d", seed, g, next)
				}
				for ; next <= g.Last; next++ {
					missing = append(missing, next)
				}
			}})
		// Sides are read in turns, as from two sockets: up to 8 packets at once.
		var queues [2][]arrival
		drain := func(now int64) {
			for side, q := range queues {
				for _, p := range q {
					packet := heartbeat(p.first, true)
					if p.last >= p.first {
						packet = messages(p.first, p.last)
					}
					a.Packet(Side(side), p.at, now, packet)
				}
				queues[side] = nil
			}
			a.Tick(now)
		}
		for i, p := range all {
			queues[p.from] = append(queues[p.from], p)
			if i%8 == 7 || i == len(all)-1 {
				drain(p.at)
			}
		}
		a.Tick(a.Deadline())
		for !a.Done() {
			a.Tick(a.Deadline())
		}
		s := a.Stats()
		if !slices.Equal(missing, want.missing) || s.Lost != uint64(len(missing)) || s.Delivered+s.Lost != n || !a.Over() {
			t.Errorf("seed %d: lost %v\nwant %v", seed, missing, want.missing)
		}
		for i, side := range s.Sides[:2] {
			if side.First != want.first[i] || side.Messages != want.unique[i] || side.Missing != n-want.unique[i] {
				t.Errorf("seed %d: side %d: %d first of %d, want %d of %d", seed, i, side.First, side.Messages, want.first[i], want.unique[i])
			}
		}
		if got := s.Sides[A].Lead.Count + s.Sides[B].Lead.Count; got != want.both {
			t.Errorf("seed %d: %d leads, %d came twice", seed, got, want.both)
		}
	}
}

// FuzzArbiter makes packets of any bytes, and wants each message from the first on
// to be either delivered or lost, once and in order, whatever comes.
func FuzzArbiter(f *testing.F) {
	f.Add([]byte{0, 1, 2, 9, 2, 1, 30, 200, 3, 0, 4, 0})
	f.Add([]byte{5, 255, 0, 1, 7, 3, 1, 2})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 1000 {
			return
		}
		next := uint64(100)
		a := New(Config{First: next, Window: 16, RequestAfter: time.Millisecond,
			Deliver: func(sequence uint64, m []byte) {
				if sequence != next || string(m) != string(body(sequence)) {
					t.Fatalf("%d %q came instead of %d", sequence, m, next)
				}
				next++
			},
			Lost: func(g Range) {
				if g.First != next || g.Last < g.First {
					t.Fatalf("lost %v, next is %d", g, next)
				}
				next = g.Last + 1
			}})
		now := int64(0)
		for ; len(script) >= 2; script = script[2:] {
			op, x := script[0], uint64(script[1])
			from := Side(op >> 6 % 3)
			switch op & 7 {
			case 0:
				now += int64(x) * ms
				a.Tick(now)
			case 1:
				a.Packet(from, now, now, heartbeat(next+x, op&8 != 0))
			case 2:
				if x > 250 {
					x <<= 40
				}
				fallthrough
			case 3:
				a.Packet(from, now, now, messages(next+x, next+x+uint64(op>>3&7)))
			default:
				p := messages(max(1, next-min(next, x/8)), next+x%8)
				if op&8 != 0 {
					p.Session = mold.Session{}
				}
				a.Packet(from, now, now, p)
			}
			for _, g := range a.Requests(now, nil) {
				if g.First < a.next || g.Last >= a.high {
					t.Fatalf("asks for %v, missing is %d to %d", g, a.next, a.high)
				}
			}
			if a.started && (a.next != next && !a.pending || a.high-a.next > a.window || a.missing > int(a.window)) {
				t.Fatalf("next %d, told %d, high %d, %d missing", a.next, next, a.high, a.missing)
			}
		}
		for a.Deadline() != 1<<63-1 {
			now = max(now, a.Deadline())
			a.Requests(now, nil)
			a.Tick(now)
		}
		if s := a.Stats(); s.Delivered+s.Lost != next-100 || a.missing != 0 {
			t.Fatalf("%d delivered, %d lost, next %d", s.Delivered, s.Lost, next)
		}
	})
}
