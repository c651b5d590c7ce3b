package arbiter

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/examples/feed/mold"
)

var day = mold.NewSession("DAY")

// body is what message n says.
func body(n uint64) []byte { return fmt.Appendf(nil, "message %d", n) }

// messages returns a packet of the messages first to last.
func messages(first, last uint64) mold.Packet {
	b := mold.AppendHeader(nil, day, first, false)
	for n := first; n <= last; n++ {
		b, _ = mold.AppendMessage(b, body(n), 1<<20)
	}
	return parsed(b)
}

func parsed(b []byte) mold.Packet {
	p, err := mold.Parse(b)
	if err != nil {
		panic(err)
	}
	return p
}

func heartbeat(next uint64, end bool) mold.Packet {
	return parsed(mold.AppendHeader(nil, day, next, end))
}

// A log writes what an arbiter says: numbers delivered, ranges lost.
type log struct {
	t     testing.TB
	words []string
}

func (l *log) deliver(sequence uint64, m []byte) {
	if string(m) != string(body(sequence)) {
		l.t.Errorf("message %d is %q", sequence, m)
	}
	l.words = append(l.words, fmt.Sprint(sequence))
}

func (l *log) lost(r Range) { l.words = append(l.words, fmt.Sprintf("lost:%d-%d", r.First, r.Last)) }

func (l *log) take() string {
	s := strings.Join(l.words, " ")
	l.words = nil
	return s
}

const ms = int64(time.Millisecond)

func TestSequences(t *testing.T) {
	// A step is a side and its packet: "A1-3", a heartbeat "A=5", an end "A.5",
	// or a time in ms to Tick at: "@60".
	tests := []struct {
		name  string
		steps string
		want  string
	}{
		{"one side", "A1-3 A4-4", "1 2 3 4"},
		{"both sides", "A1-3 B1-3 B4-5 A4-5", "1 2 3 4 5"},
		{"the other fills in", "A1-1 B1-1 A3-4 B2-2 B3-4", "1 2 3 4"},
		{"packets cut differently", "A1-2 B1-4 A3-5", "1 2 3 4 5"},
		{"reordered on one side", "A2-2 A1-1 A3-3", "1 2 3"},
		{"missing on both, in time", "A1-1 B1-1 A3-3 @49 B2-2", "1 2 3"},
		{"missing on both", "A1-1 A3-3 B3-3 @49 @50", "1 lost:2-2 3"},
		{"two gaps, two times", "A1-1 A3-3 @10 A6-6 @50 @59 @60", "1 lost:2-2 3 lost:4-5 6"},
		{"half of a gap comes", "A1-1 A6-6 B3-4 @50", "1 lost:2-2 3 4 lost:5-5 6"},
		{"a heartbeat tells of the last", "A1-2 B=4 @50 B4-4", "1 2 lost:3-3 4"},
		{"a heartbeat of the side behind", "A1-4 B=2 @50", "1 2 3 4"},
		{"the end tells of the last", "A1-2 B.4 @50", "1 2 lost:3-3"},
		{"late", "A1-1 A3-3 @50 B2-2 A4-4", "1 lost:2-2 3 4"},
		{"recovered", "A1-1 A3-3 R2-2", "1 2 3"},
		{"beyond the window", "A1-1 A10-10 @50", "1 lost:2-9 10"},
		{"window overflows, the rest comes", "A1-1 A11-11 B4-5 B9-10 B6-8", "1 lost:2-3 4 5 6 7 8 9 10 11"},
		{"overflow delivers what is held", "A1-1 A3-3 A5-5 A13-13 B6-12", "1 lost:2-2 3 lost:4-4 5 6 7 8 9 10 11 12 13"},
		{"a leap", "A1-1 A5-5 A1000000-1000000 @100", "1 lost:2-4 5 lost:6-999999 1000000"},
		{"from before the beginning", "A=1 A1-1", "1"},
		{"twice the same", "A1-3 A1-3 A1-3 B2-2", "1 2 3"},
		{"long ago", "A1-30 A1-1 A2-2 B30-30", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30"},
		{"the highest number", "A18446744073709551612-18446744073709551612 A18446744073709551614-18446744073709551614 @50",
			"lost:1-18446744073709551611 18446744073709551612 lost:18446744073709551613-18446744073709551613 18446744073709551614"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &log{t: t}
			a := New(Config{First: 1, Window: 8, Deliver: l.deliver, Lost: l.lost})
			var now int64
			for step := range strings.FieldsSeq(tt.steps) {
				var x, y uint64
				if step[0] == '@' {
					fmt.Sscanf(step, "@%d", &now)
					now *= ms
					if (a.Deadline() <= now) != (wouldTick(a, now)) {
						t.Errorf("%s: the deadline is %d", step, a.Deadline())
					}
					a.Tick(now)
					continue
				}
				from := map[byte]Side{'A': A, 'B': B, 'R': Recovery}[step[0]]
				var p mold.Packet
				switch step[1] {
				case '=', '.':
					fmt.Sscanf(step[2:], "%d", &x)
					p = heartbeat(x, step[1] == '.')
				default:
					fmt.Sscanf(step[1:], "%d-%d", &x, &y)
					p = messages(x, y)
				}
				a.Packet(from, now, now, p)
			}
			a.Tick(now) // reports what is given up already
			if got := l.take(); got != tt.want {
				t.Errorf("%s\ngot  %s\nwant %s", tt.steps, got, tt.want)
			}
		})
	}
}

// wouldTick looks, without the deadline's help, if there is something to give up.
func wouldTick(a *Arbiter, now int64) bool {
	return a.pending || a.next < a.high && a.slot(a.next).since+int64(a.cfg.Timeout) <= now
}

func TestBeginsWithTheFirstThatComes(t *testing.T) {
	l := &log{t: t}
	a := New(Config{Deliver: l.deliver, Lost: l.lost})
	a.Packet(B, 0, 0, messages(100, 101))
	a.Packet(A, 0, 0, messages(98, 102))
	if got := l.take(); got != "100 101 102" {
		t.Error(got)
	}
	if s := a.Stats(); s.Sides[A].Old != 2 || s.Sides[A].Missing != 0 || s.Sides[B].Missing != 1 {
		t.Errorf("%+v", s.Sides)
	}
}

func TestOtherSession(t *testing.T) {
	l := &log{t: t}
	a := New(Config{Deliver: l.deliver})
	if _, ok := a.Session(); ok {
		t.Error("a session before the first packet")
	}
	a.Packet(A, 0, 0, messages(1, 1))
	p := messages(2, 2)
	p.Session = mold.NewSession("NIGHT")
	a.Packet(B, 0, 0, p)
	if s, ok := a.Session(); l.take() != "1" || a.Stats().Sides[B].OtherSession != 1 || s != day || !ok {
		t.Errorf("%s: %+v", s, a.Stats().Sides[B])
	}
}

func TestEnd(t *testing.T) {
	a := New(Config{})
	a.Packet(A, 0, 0, messages(1, 2))
	a.Packet(A, 0, 0, heartbeat(4, true))
	if a.Done() || a.Over() {
		t.Error("done with a message missing")
	}
	a.Packet(B, 0, 0, messages(1, 3))
	if !a.Done() || a.Over() {
		t.Errorf("done %v, over %v", a.Done(), a.Over())
	}
	a.Packet(B, 0, 0, heartbeat(4, true))
	if !a.Over() || a.Deadline() != math.MaxInt64 {
		t.Errorf("over %v, deadline %d", a.Over(), a.Deadline())
	}
	if s := a.Stats(); s.Delivered != 3 || s.Sides[A].Missing != 1 || s.Sides[A].Heartbeats != 1 || s.Sides[B].First != 1 {
		t.Errorf("%+v", s)
	}
}

func TestFirstArrival(t *testing.T) {
	a := New(Config{})
	for _, c := range []struct {
		from  Side
		at    int64
		first uint64
	}{
		{A, 1000, 1}, {B, 1600, 1}, // A by 600
		{B, 2000, 2}, {A, 2300, 2}, // B by 300
		{A, 3500, 3}, {B, 3000, 3}, // read later, but B by 500
		{A, 4000, 4}, {B, 4000, 4}, {B, 9999, 4}, // at once: who is read first
		{A, 5000, 5}, // alone
		{Recovery, 6000, 6}, {A, 6500, 6},
	} {
		a.Packet(c.from, c.at, 0, messages(c.first, c.first))
	}
	s := a.Stats()
	if sides := s.Sides; sides[A].First != 3 || sides[B].First != 2 || sides[Recovery].First != 1 ||
		sides[A].Lead.Count != 2 || sides[B].Lead.Count != 2 || sides[B].Duplicates != 1 || sides[B].Missing != 2 {
		t.Errorf("A %d, B %d, recovery %d", sides[A].First, sides[B].First, sides[Recovery].First)
	}
	near := func(got time.Duration, want time.Duration) bool { return got <= want && got > want-want/16-1 }
	if lead := s.Sides[A].Lead; !near(lead.Quantile(1), 600) || lead.Quantile(0) != 0 {
		t.Errorf("A leads by %v to %v", lead.Quantile(0), lead.Quantile(1))
	}
	if lead := s.Sides[B].Lead; !near(lead.Quantile(0), 300) || !near(lead.Quantile(0.99), 500) {
		t.Errorf("B leads by %v to %v", lead.Quantile(0), lead.Quantile(0.99))
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("something in nothing")
	}
	for v := int64(1); v > 0; v = v*5/4 + 1 {
		if b := int64(bottom(cell(uint64(v)))); b > v || v-b > v/16 {
			t.Errorf("%d counts as %d", v, b)
		}
	}
	h.Add(-5)
	h.Add(math.MaxInt64)
	for i := range int64(998) {
		h.Add(i % 16)
	}
	if h.Count != 1000 || h.Quantile(0) != 0 || h.Quantile(0.5) != 7 || h.Quantile(1) < math.MaxInt64/16*15 {
		t.Errorf("%d: %d %d %d", h.Count, h.Quantile(0), h.Quantile(0.5), h.Quantile(1))
	}
}

func TestRequests(t *testing.T) {
	a := New(Config{First: 1, RequestAfter: 5 * time.Millisecond, Window: 1 << 17, Timeout: time.Hour})
	ask := func(now int64, want ...Range) {
		t.Helper()
		if got := a.Requests(now, nil); !slices.Equal(got, want) {
			t.Errorf("at %d ms: %v, want %v", now/ms, got, want)
		}
	}
	a.Packet(A, 0, 0, messages(1, 1))
	ask(0)
	a.Packet(A, 0, 0, messages(4, 4))
	a.Packet(A, 0, ms, messages(6, 6))
	if d := a.Deadline(); d != 5*ms {
		t.Errorf("deadline %d", d)
	}
	ask(4 * ms)
	ask(5*ms, Range{2, 3})
	ask(5 * ms)
	ask(6*ms, Range{5, 5})
	a.Packet(Recovery, 0, 7*ms, messages(2, 2))
	ask(11*ms, Range{3, 3}, Range{5, 5})
	a.Packet(Recovery, 0, 12*ms, messages(3, 5))
	ask(20 * ms)
	if d := a.Deadline(); d != math.MaxInt64 {
		t.Errorf("deadline %d with nothing missing", d)
	}
	a.Packet(A, 0, 20*ms, heartbeat(7+100000, false))
	ask(25*ms, Range{7, 7 + 65533}, Range{7 + 65534, 100006})
	if s := a.Stats(); s.Sides[Recovery].First != 3 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

// TestAllocations holds the way of a message to none, also where it is held.
func TestAllocations(t *testing.T) {
	a := New(Config{First: 1, Window: 64, Deliver: func(uint64, []byte) {}})
	b := mold.AppendHeader(nil, day, 1, false)
	b, _ = mold.AppendMessage(b, make([]byte, 100), 1472)
	packet := func(from Side, sequence uint64) {
		binary.BigEndian.PutUint64(b[10:], sequence)
		p, _ := mold.Parse(b)
		a.Packet(from, 0, 0, p)
	}
	n := uint64(1)
	round := func() {
		packet(A, n+1)
		packet(B, n)
		packet(B, n+1)
		packet(A, n)
		n += 2
	}
	for range 200 {
		round()
	}
	if got := testing.AllocsPerRun(200, round); got != 0 {
		t.Errorf("%v allocations", got)
	}
	if s := a.Stats(); s.Delivered != n-1 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}
