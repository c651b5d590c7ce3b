package ipv4

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"
	"unsafe"
)

// piece is a fragment in a test's table: its payload is bytes [start, end) of
// pattern.
type piece struct {
	start, end int
	more       bool
	want       Cause
	done       bool
}

var wholePattern = pattern(65536)

// fragmentOf builds a fragment's datagram.
func fragmentOf(f Fields, start, end int, more bool) []byte {
	f.FragmentOffset, f.MoreFragments = start, more
	return datagram(f, wholePattern[start:end])
}

var testFields = Fields{TTL: 9, Protocol: ProtocolUDP, ID: 0x1234, Src: far, Dst: near}

// input parses a fragment and puts it in.
func input(t testing.TB, r *Reassembler, now int64, b []byte) ([]byte, bool, Cause) {
	t.Helper()
	h, payload, c := Parse(b)
	if c != CauseNone {
		t.Fatalf("Parse: %v", c)
	}
	return r.Input(now, h, payload, 7)
}

// wantWhole checks that d is the datagram of pattern's first n bytes.
func wantWhole(t testing.TB, d []byte, n int) Header {
	t.Helper()
	h, payload, c := Parse(d)
	if c != CauseNone || h.IsFragment() || !bytes.Equal(payload, wholePattern[:n]) {
		t.Fatalf("the datagram is not what was sent: %v, %d bytes of payload, want %d", c, len(payload), n)
	}
	return h
}

func TestReassembly(t *testing.T) {
	const none, dup, overlap, inconsistent = CauseNone, CauseFragmentDuplicate, CauseFragmentOverlap, CauseFragmentInconsistent
	for _, tt := range []struct {
		name   string
		pieces []piece
	}{
		{"in order", []piece{{0, 16, true, none, false}, {16, 24, true, none, false}, {24, 29, false, none, true}}},
		{"backwards", []piece{{24, 29, false, none, false}, {16, 24, true, none, false}, {0, 16, true, none, true}}},
		{"hole in the middle last", []piece{{0, 8, true, none, false}, {16, 24, false, none, false}, {8, 16, true, none, true}}},
		{"whole in one", []piece{{0, 16, false, none, true}}},
		{"exact duplicates", []piece{{0, 16, true, none, false}, {0, 16, true, dup, false}, {24, 32, false, none, false},
			{24, 32, false, dup, false}, {16, 24, true, none, true}}},
		{"within a run: duplicate", []piece{{0, 16, true, none, false}, {16, 32, true, none, false}, {8, 24, true, dup, false},
			{0, 32, true, dup, false}, {32, 40, false, none, true}}},
		{"within the gap of two runs' seam: overlap", []piece{{8, 16, true, none, false}, {0, 8, true, none, false}, {0, 16, true, overlap, false}}},
		{"overlap with the one before", []piece{{0, 16, true, none, false}, {8, 24, true, overlap, false}, {16, 24, false, none, false}}},
		{"overlap with the one behind", []piece{{16, 32, true, none, false}, {8, 24, true, overlap, false}, {0, 16, true, none, false}}},
		{"around another", []piece{{8, 16, true, none, false}, {0, 24, true, overlap, false}}},
		{"teardrop", []piece{{0, 32, true, none, false}, {24, 28, false, inconsistent, false}}},
		{"teardrop, end matches", []piece{{0, 32, true, none, false}, {24, 40, false, overlap, false}}},
		{"two ends", []piece{{8, 16, false, none, false}, {8, 24, false, inconsistent, false}, {0, 8, true, none, false}}},
		{"data past the end", []piece{{8, 16, false, none, false}, {16, 24, true, inconsistent, false}}},
		{"end before data", []piece{{16, 24, true, none, false}, {8, 16, false, inconsistent, false}}},
		{"the last has more: no end", []piece{{0, 8, true, none, false}, {8, 16, true, none, false}, {8, 16, false, dup, false}}},
		{"unaligned: cut", []piece{{0, 12, true, none, false}, {0, 8, true, dup, false}, {8, 12, false, none, true}}},
		{"cut to nothing", []piece{{0, 8, true, none, false}, {8, 12, true, CauseFragmentEmpty, false}, {8, 12, false, none, false}}},
		{"empty drops all", []piece{{0, 8, true, none, false}, {8, 8, false, CauseFragmentEmpty, false}, {8, 12, false, none, false}}},
		{"empty first", []piece{{0, 0, true, CauseFragmentEmpty, false}}},
		{"past the longest, not whole yet", []piece{{65528, 65536, false, none, false}, {65512, 65520, false, inconsistent, false}}},
		{"ping of death", []piece{{65528, 65536, false, none, false}, {0, 32768, true, none, false}, {32768, 65528, true, CauseFragmentTooLong, false}}},
		{"sent again after an overlap", []piece{{0, 16, true, none, false}, {8, 24, true, overlap, false}, {0, 16, true, none, false},
			{16, 24, false, none, true}}},
		{"sent again after two ends", []piece{{8, 16, false, none, false}, {8, 24, false, inconsistent, false}, {0, 8, true, none, false},
			{8, 16, false, none, true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReassembler(ReassemblyConfig{})
			end := 0
			for i, p := range tt.pieces {
				d, done, c := input(t, r, int64(i), fragmentOf(testFields, p.start, p.end, p.more))
				if c != p.want || done != p.done {
					t.Fatalf("piece %d: %v, done %v; want %v, %v", i, c, done, p.want, p.done)
				}
				if c == none {
					end = max(end, p.end)
				}
				if done {
					wantWhole(t, d, end)
					equal(t, "memory", r.Stats().Memory, 0)
					equal(t, "Deadline", r.Deadline(), math.MaxInt64)
				}
			}
			equal(t, "ReasmReqds", r.Stats().ReasmReqds, uint64(len(tt.pieces)))
		})
	}
}

func TestReassemblyOversize(t *testing.T) {
	f := testFields
	f.Options = []byte{148, 4, 0, 0}
	r := NewReassembler(ReassemblyConfig{})
	for start := 0; start < 65504; start += 32752 {
		_, _, c := input(t, r, 0, fragmentOf(f, start, start+32752, true))
		equal(t, "cause", c, CauseNone)
	}
	// Without options in the first fragment it would fit.
	_, _, c := input(t, r, 0, fragmentOf(testFields, 65504, 65512, false))
	equal(t, "cause", c, CauseFragmentTooLong)
	equal(t, "ReasmFails", r.Stats().ReasmFails, 1)

	f = testFields
	f.ID++
	input(t, r, 0, fragmentOf(f, 0, 65512, true))
	d, done, _ := input(t, r, 0, fragmentOf(f, 65512, 65515, false))
	equal(t, "the longest is whole", done, true)
	wantWhole(t, d, 65515)
}

func TestReassemblyHeader(t *testing.T) {
	first, last := testFields, testFields
	first.TTL, last.TTL = 5, 200
	first.TOS, last.TOS = 0x28, 0x48
	first.Options, last.Options = []byte{148, 4, 0, 0, 7, 3, 4}, []byte{1, 1, 1, 1}
	r := NewReassembler(ReassemblyConfig{})
	input(t, r, 0, fragmentOf(last, 16, 20, false))
	d, done, _ := input(t, r, 0, fragmentOf(first, 0, 16, true))
	equal(t, "done", done, true)
	h := wantWhole(t, d, 20)
	want := datagram(first, wholePattern[:20])
	equal(t, "the first's header", bytes.Equal(d, want), true)
	equal(t, "MaxFragSize", r.MaxFragSize(), 28+16)
	equal(t, "HeaderLen", h.HeaderLen(), 28)
}

func TestReassemblyDF(t *testing.T) {
	for _, tt := range []struct {
		name        string
		first, last bool
		sizes       [2]int
		want        bool
	}{
		{"none", false, false, [2]int{16, 8}, false},
		{"all", true, true, [2]int{16, 8}, true},
		{"the largest", true, false, [2]int{16, 8}, true},
		{"the smaller", false, true, [2]int{16, 8}, false},
		{"one of equals", false, true, [2]int{16, 16}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := testFields, testFields
			a.DontFragment, b.DontFragment = tt.first, tt.last
			r := NewReassembler(ReassemblyConfig{})
			input(t, r, 0, fragmentOf(a, 0, tt.sizes[0], true))
			d, done, _ := input(t, r, 0, fragmentOf(b, tt.sizes[0], tt.sizes[0]+tt.sizes[1], false))
			equal(t, "done", done, true)
			equal(t, "DF", wantWhole(t, d, tt.sizes[0]+tt.sizes[1]).DontFragment(), tt.want)
		})
	}
}

func TestReassemblyECN(t *testing.T) {
	const notECT, ect1, ect0, ce = 0, 1, 2, 3
	for _, tt := range []struct {
		name string
		ecn  []uint8
		want uint8
		ok   bool
	}{
		{"not capable", []uint8{notECT, notECT}, notECT, true},
		{"ECT(0)", []uint8{ect0, ect0}, ect0, true},
		{"ECT(1) and ECT(0): the first's", []uint8{ect1, ect0}, ect1, true},
		{"CE later", []uint8{ect0, ce}, ce, true},
		{"CE first", []uint8{ce, ect1}, ce, true},
		{"all CE", []uint8{ce, ce}, ce, true},
		{"all capable ones", []uint8{ect0, ce, ect1}, ce, true},
		{"not capable and CE", []uint8{notECT, ce}, 0, false},
		{"not capable and ECT(0)", []uint8{notECT, ect0}, 0, false},
		{"ECT(1) and not capable", []uint8{ect1, notECT}, 0, false},
		{"everything", []uint8{ect1, notECT, ce, ect0}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReassembler(ReassemblyConfig{})
			for i, ecn := range tt.ecn {
				f, last := testFields, i == len(tt.ecn)-1
				f.TOS = 0xb8 | ecn
				d, done, c := input(t, r, 0, fragmentOf(f, i*8, i*8+8, !last))
				equal(t, "done", done, last && tt.ok)
				if done {
					equal(t, "TOS", wantWhole(t, d, i*8+8).TOS(), 0xb8|tt.want)
				} else if last {
					equal(t, "cause", c, CauseFragmentECN)
				}
			}
		})
	}
}

func TestReassemblyKeys(t *testing.T) {
	r := NewReassembler(ReassemblyConfig{})
	change := []func(f *Fields){
		func(f *Fields) {}, func(f *Fields) { f.Src = other }, func(f *Fields) { f.Dst = other },
		func(f *Fields) { f.ID++ }, func(f *Fields) { f.Protocol++ },
	}
	for _, edit := range change {
		f := testFields
		edit(&f)
		_, done, c := input(t, r, 0, fragmentOf(f, 0, 8, true))
		equal(t, "cause", c, CauseNone)
		equal(t, "done", done, false)
	}
	equal(t, "Datagrams", r.Stats().Datagrams, len(change))
	for i, edit := range change {
		f := testFields
		edit(&f)
		d, done, _ := input(t, r, 0, fragmentOf(f, 8, 16+i, false))
		equal(t, "done", done, true)
		wantWhole(t, d, 16+i)
	}
	equal(t, "ReasmOKs", r.Stats().ReasmOKs, uint64(len(change)))
}

func TestReassemblyTimeout(t *testing.T) {
	r := NewReassembler(ReassemblyConfig{})
	equal(t, "Deadline of nothing", r.Deadline(), math.MaxInt64)
	a, b, c, dead := testFields, testFields, testFields, testFields
	b.ID, c.ID, dead.ID = 2, 3, 4
	b.Options = []byte{148, 4, 0, 0}
	const start = int64(1000)
	input(t, r, start, fragmentOf(a, 8, 16, true)) // no first fragment
	input(t, r, start+1, fragmentOf(b, 0, 1400, true))
	input(t, r, start+2, fragmentOf(c, 0, 8, true))
	input(t, r, start+3, fragmentOf(dead, 0, 16, true))
	input(t, r, start+3, fragmentOf(dead, 8, 24, true))
	input(t, r, start+int64(29*time.Second), fragmentOf(a, 16, 24, true)) // does not prolong it

	equal(t, "Deadline", r.Deadline(), start+int64(30*time.Second))
	r.Advance(r.Deadline() - 1)
	if e, ok := r.Next(); ok {
		t.Fatalf("expired too early: %v", e)
	}
	r.Advance(start + 1 + int64(30*time.Second))
	e, ok := r.Next()
	equal(t, "first expired", ok, true)
	equal(t, "no first fragment", e.First == nil, true)
	equal(t, "Iface", e.Iface, 7)
	e, ok = r.Next()
	equal(t, "second expired", ok, true)
	equal(t, "First", bytes.Equal(e.First, fragmentOf(b, 0, 1400, true)[:maxQuote]), true)
	_, ok = r.Next()
	equal(t, "third not yet", ok, false)

	r.Advance(math.MaxInt64 - 1)
	e, ok = r.Next()
	equal(t, "third expired", ok, true)
	equal(t, "First", bytes.Equal(e.First, fragmentOf(c, 0, 8, true)), true)
	_, ok = r.Next()
	equal(t, "the dropped one is silent", ok, false)
	s := r.Stats()
	equal(t, "ReasmTimeout", s.ReasmTimeout, 3)
	equal(t, "ReasmFails", s.ReasmFails, 4)
	equal(t, "Memory", s.Memory, 0)
	equal(t, "Datagrams", s.Datagrams, 0)
	equal(t, "peers", len(r.peers), 0)
	equal(t, "memory kept", r.blocks == nil && r.spare.Oldest() == nil, true)
}

// A fragment that comes after the time is over, before anybody called Advance,
// begins a new datagram.
func TestReassemblyLateAdvance(t *testing.T) {
	r := NewReassembler(ReassemblyConfig{Timeout: time.Second})
	input(t, r, 0, fragmentOf(testFields, 0, 8, true))
	_, done, c := input(t, r, int64(time.Second), fragmentOf(testFields, 8, 16, false))
	equal(t, "done", done, false)
	equal(t, "cause", c, CauseNone)
	e, ok := r.Next()
	equal(t, "expired", ok && e.First != nil, true)
	equal(t, "Deadline", r.Deadline(), int64(2*time.Second))
}

// A datagram that was dropped leaves nothing behind.
func TestReassemblyDropForgets(t *testing.T) {
	r := NewReassembler(ReassemblyConfig{})
	input(t, r, 0, fragmentOf(testFields, 0, 16, true))
	input(t, r, 0, fragmentOf(testFields, 8, 24, true))
	s := r.Stats()
	equal(t, "ReasmFails", s.ReasmFails, 1)
	equal(t, "ReasmOverlaps", s.ReasmOverlaps, 1)
	equal(t, "Memory", s.Memory, 0)
	equal(t, "Datagrams", s.Datagrams, 0)
	equal(t, "Deadline", r.Deadline(), math.MaxInt64)
}

func TestReassemblyMaxDist(t *testing.T) {
	for _, tt := range []struct {
		name          string
		maxDist, dist int
		otherSource   bool
		done          bool
	}{
		{"near", 0, 63, false, true},
		{"far", 0, 64, false, false},
		{"far, of other sources", 0, 64, true, true},
		{"near by another limit", 3, 2, false, true},
		{"far by another limit", 3, 3, false, false},
		{"no limit", -1, 1000, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReassembler(ReassemblyConfig{MaxDist: tt.maxDist})
			input(t, r, 0, fragmentOf(testFields, 0, 8, true))
			for i := range tt.dist {
				f := testFields
				f.ID += uint16(i) + 1
				if tt.otherSource {
					f.Src = other
				}
				input(t, r, 0, fragmentOf(f, 0, 8, true))
			}
			_, done, c := input(t, r, 1, fragmentOf(testFields, 8, 16, false))
			equal(t, "cause", c, CauseNone)
			equal(t, "done", done, tt.done)
			if !done {
				equal(t, "Restarted", r.Stats().Restarted, 1)
				equal(t, "ReasmFails", r.Stats().ReasmFails, 1)
				_, done, _ = input(t, r, 1, fragmentOf(testFields, 0, 8, true))
				equal(t, "done by its other fragment", done, true)
			}
		})
	}
}

// A flood of first fragments neither grows without bound, nor keeps a datagram
// that comes in its midst from being made whole.
func TestReassemblyFlood(t *testing.T) {
	for _, size := range []int{8, 1480, 65504} {
		t.Run(itoa(size), func(t *testing.T) {
			r := NewReassembler(ReassemblyConfig{})
			f := testFields
			victim := testFields
			victim.Src = other
			n := 3 * defaultHighThresh / (size + partialCost)
			whole := 0
			for i := range n {
				f.ID, f.Src = uint16(i), Addr{10, byte(i >> 24), byte(i >> 16), 9}
				input(t, r, int64(i), fragmentOf(f, 0, size, true))
				if m := r.Stats().Memory; m > defaultHighThresh {
					t.Fatalf("%d bytes in use", m)
				}
				if i%3 == 0 {
					input(t, r, int64(i), fragmentOf(victim, 0, 1480, true))
				} else if i%3 == 1 {
					if d, done, _ := input(t, r, int64(i), fragmentOf(victim, 1480, 2000, false)); done {
						wantWhole(t, d, 2000)
						whole++
					}
				}
			}
			s := r.Stats()
			if s.Evicted == 0 || s.Evicted != s.ReasmFails {
				t.Errorf("%d evicted, %d failed", s.Evicted, s.ReasmFails)
			}
			equal(t, "whole", whole, (n+1)/3)
			equal(t, "the oldest went", r.live.Oldest().deadline > int64(s.Evicted)/2, true)
			r.Advance(math.MaxInt64 - 1)
			for _, ok := r.Next(); ok; _, ok = r.Next() {
			}
			equal(t, "Memory", r.Stats().Memory, 0)
		})
	}
}

func TestReassemblyNoMemory(t *testing.T) {
	r := NewReassembler(ReassemblyConfig{HighThresh: 2000})
	f := testFields
	f.ID++
	input(t, r, 0, fragmentOf(f, 0, 8, true))
	_, _, c := input(t, r, 0, fragmentOf(testFields, 0, 800, true))
	equal(t, "one fits", c, CauseNone)
	equal(t, "the other was evicted", r.Stats().Evicted, 1)
	_, _, c = input(t, r, 0, fragmentOf(testFields, 800, 1600, true))
	equal(t, "alone too much", c, CauseFragmentNoMemory)
	equal(t, "Memory", r.Stats().Memory, 0)

	// What waits for Next goes first.
	r.Advance(math.MaxInt64 / 2)
	input(t, r, math.MaxInt64/2, fragmentOf(f, 0, 800, true))
	r.Advance(math.MaxInt64/2 + int64(time.Minute))
	input(t, r, math.MaxInt64/2+int64(time.Minute), fragmentOf(f, 0, 800, true))
	_, ok := r.Next()
	equal(t, "expired made room", ok, false)
	equal(t, "Datagrams", r.Stats().Datagrams, 1)
}

// As much memory as the threshold is used before something is evicted.
func TestReassemblyAtThreshold(t *testing.T) {
	fill := func(r *Reassembler) ReassemblyStats {
		for id := range 3 {
			f := testFields
			f.ID = uint16(id)
			input(t, r, 0, fragmentOf(f, 0, 800, true))
		}
		return r.Stats()
	}
	need := fill(NewReassembler(ReassemblyConfig{})).Memory
	equal(t, "evicted at the threshold", fill(NewReassembler(ReassemblyConfig{HighThresh: need})).Evicted, 0)
	equal(t, "evicted beyond", fill(NewReassembler(ReassemblyConfig{HighThresh: need - 1})).Evicted, 1)
}

// Fragments of 8 bytes in the worst of orders cost memory for their runs too.
func TestReassemblyManyRuns(t *testing.T) {
	r := NewReassembler(ReassemblyConfig{})
	const n = 8188
	for i := n - 1; i >= 0; i-- {
		d, done, c := input(t, r, 0, fragmentOf(testFields, i*8, i*8+8, i < n-1))
		equal(t, "cause", c, CauseNone)
		if i == 1 {
			min := n*(8+pieceHeaderLen) + n*runCost
			if m := r.Stats().Memory; m < min || m > 2*min {
				t.Errorf("%d bytes counted for at least %d", m, min)
			}
		}
		if done {
			wantWhole(t, d, n*8)
		}
	}
	equal(t, "ReasmOKs", r.Stats().ReasmOKs, 1)
	equal(t, "Memory", r.Stats().Memory, 0)
}

func TestPartialCost(t *testing.T) {
	const mapSlot, peer = 2 * (unsafe.Sizeof(fragmentKey{}) + 8), 48
	if n := unsafe.Sizeof(partial{}) + mapSlot + peer; n > partialCost {
		t.Errorf("a partial costs %d bytes, counted as %d", n, partialCost)
	}
	equal(t, "block", unsafe.Sizeof(block{}), blockCost)
	equal(t, "run", unsafe.Sizeof(run{}), runCost)
}

func TestReassemblyAllocs(t *testing.T) {
	r := NewReassembler(ReassemblyConfig{})
	all := fragments(t, testFields, pattern(60000), 1500)
	slices.Reverse(all[5:20])
	now := int64(0)
	equal(t, "allocations", testing.AllocsPerRun(100, func() {
		now++
		done := false
		for _, b := range all {
			h, payload, _ := Parse(b)
			_, done, _ = r.Input(now, h, payload, 1)
		}
		if !done {
			t.Fatal("not whole")
		}
	}), 0)
}

func BenchmarkReassembler(b *testing.B) {
	for _, size := range []int{2000, 8972, 65507} {
		b.Run(itoa(size), func(b *testing.B) {
			r := NewReassembler(ReassemblyConfig{})
			all := fragments(b, testFields, pattern(size), 1500)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for _, f := range all {
					h, payload, _ := ParseNoChecksum(f)
					d, _, _ := r.Input(1, h, payload, 1)
					sink += len(d)
				}
			}
		})
	}
}

// TestOutputGrowsByDoubling has the buffer of whole datagrams grow no further than needed,
// and stay.
func TestOutputGrowsByDoubling(t *testing.T) {
	var r Reassembler
	for _, tt := range []struct{ n, size int }{{1, 2048}, {2048, 2048}, {2049, 4096}, {4096, 4096}, {20, 4096}, {65535, 65536}} {
		b := r.output(tt.n)
		equal(t, "length", len(b), tt.n)
		equal(t, "room behind it for others", cap(b), tt.n)
		equal(t, "buffer", cap(r.out), tt.size)
	}
}
