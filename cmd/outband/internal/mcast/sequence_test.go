package mcast

import (
	"bytes"
	"net/netip"
	"testing"
)

func TestFieldFlag(t *testing.T) {
	for _, text := range []string{"0:1", "8:2", "10:8", "65499:8"} {
		var f Field
		if err := f.Set(text); err != nil || f.String() != text {
			t.Errorf("%s: %+v, %v", text, f, err)
		}
	}
	for _, text := range []string{"", "8", "8:", ":4", "8:3", "8:16", "-1:4", "65500:8", "8:4:2", "x:4"} {
		var f Field
		if err := f.Set(text); err == nil || f.String() != "" {
			t.Errorf("%s: %+v", text, f)
		}
	}
}

func TestFieldBytes(t *testing.T) {
	p := make([]byte, 10)
	f := Field{3, 4}
	f.Put(p, 0xa1b2c3d4e5)
	if !bytes.Equal(p, []byte{0, 0, 0, 0xb2, 0xc3, 0xd4, 0xe5, 0, 0, 0}) {
		t.Errorf("% x", p)
	}
	if n, ok := f.Get(p[:7]); n != 0xb2c3d4e5 || !ok {
		t.Errorf("%#x, %v", n, ok)
	}
	if n, ok := f.Get(p[:6]); n != 0 || ok {
		t.Errorf("%#x in too few bytes", n)
	}
	f.Put(p[:6], 0) // does not fit, and does nothing
	if p[3] != 0xb2 {
		t.Errorf("% x", p)
	}
}

func TestTracker(t *testing.T) {
	const top = 1 << 32
	tests := []struct {
		name    string
		width   int
		numbers []uint64
		want    Sequence
	}{
		{"in order", 4, []uint64{7, 8, 9, 10}, Sequence{}},
		{"a gap", 4, []uint64{1, 2, 5, 6}, Sequence{Gaps: 1, Missing: 2}},
		{"two gaps", 4, []uint64{1, 3, 5}, Sequence{Gaps: 2, Missing: 2}},
		{"a gap at once", 8, []uint64{0, 1 << 40}, Sequence{Gaps: 1, Missing: 1<<40 - 1}},
		{"reordered", 4, []uint64{1, 3, 2, 4}, Sequence{Gaps: 1, Reordered: 1}},
		{"half of a gap comes", 4, []uint64{1, 5, 3, 6}, Sequence{Gaps: 1, Missing: 2, Reordered: 1}},
		{"twice", 4, []uint64{1, 2, 2, 1, 3}, Sequence{Duplicates: 2}},
		{"late and twice", 4, []uint64{1, 3, 2, 2}, Sequence{Gaps: 1, Reordered: 1, Duplicates: 1}},
		{"from before the beginning", 4, []uint64{5, 4, 6}, Sequence{Reordered: 1}},
		{"late, as late as is told", 4, []uint64{1, 65, 2}, Sequence{Gaps: 1, Missing: 62, Reordered: 1}},
		{"begun anew", 4, []uint64{100, 101, 0, 1, 2}, Sequence{Restarts: 1}},
		{"begun anew, and a gap", 4, []uint64{100, 101, 1, 3}, Sequence{Restarts: 1, Gaps: 1, Missing: 1}},
		{"one byte wraps", 1, []uint64{254, 255, 0, 1}, Sequence{}},
		{"two bytes wrap, with a gap", 2, []uint64{65534, 1}, Sequence{Gaps: 1, Missing: 2}},
		{"four bytes wrap, reordered", 4, []uint64{top - 2, 0, top - 1, 1}, Sequence{Gaps: 1, Reordered: 1}},
		{"eight bytes wrap", 8, []uint64{1<<64 - 1, 0, 1}, Sequence{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tr tracker
			f := Field{0, tt.width}
			for _, n := range tt.numbers {
				p := make([]byte, tt.width)
				f.Put(p, n)
				read, _ := f.Get(p)
				tr.number(read, tt.width)
			}
			if tr.Sequence != tt.want {
				t.Errorf("got %+v, want %+v", tr.Sequence, tt.want)
			}
		})
	}
}

// FuzzTracker holds the count of what is missing to what a set of all numbers says.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{1, 1, 5, 130, 128, 1, 1})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var tr tracker
		came := map[uint64]bool{}
		top, n := uint64(1000), uint64(1000)
		for i, step := range append([]byte{0}, steps...) {
			if n = top + uint64(step&31); step&128 != 0 {
				n = top - uint64(step&31)
			}
			if i > 0 && n < 1000 {
				continue
			}
			tr.number(n, 8)
			came[n] = true
			top = max(top, n)
		}
		missing := uint64(0)
		for n := uint64(1000); n <= top; n++ {
			if !came[n] {
				missing++
			}
		}
		if tr.Missing != missing || tr.Restarts != 0 {
			t.Errorf("%+v, %d are missing", tr.Sequence, missing)
		}
	})
}

func TestSendersAreApart(t *testing.T) {
	var m meter
	field := Field{0, 2}
	from := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 5)
	}
	for n := range 3 {
		for i := range maxSenders + 2 {
			p := make([]byte, 2)
			field.Put(p, uint64(1000*i+n+n/2)) // the third leaves one out
			m.datagram(int64(n), from(i), p, 100, &field)
		}
	}
	m.datagram(9, from(0), []byte{1}, 1, &field)
	if s := m.sequence(); s != (Sequence{Gaps: maxSenders, Missing: maxSenders, Short: 1}) || m.untracked != 6 {
		t.Errorf("%+v, %d untracked", s, m.untracked)
	}
	if m.datagrams != 3*(maxSenders+2)+1 || m.bytes != 100*(m.datagrams-1)+1 || m.last != 9 {
		t.Errorf("%d datagrams, %d bytes", m.datagrams, m.bytes)
	}
	if n := testing.AllocsPerRun(100, func() { m.datagram(10, from(1), []byte{0, 0}, 2, &field) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
