package ipv4

import (
	"bytes"
	"testing"
)

func TestFragmentPayload(t *testing.T) {
	for _, tt := range []struct{ mtu, headerLen, want int }{
		{1500, 20, 1480}, {1500, 24, 1472}, {576, 20, 552}, {68, 20, 48}, {68, 60, 8}, {60, 60, 0}, {20, 28, -8},
	} {
		equal(t, itoa(tt.mtu)+" less "+itoa(tt.headerLen), FragmentPayload(tt.mtu, tt.headerLen), tt.want)
	}
}

// fragments returns all fragments of a datagram.
func fragments(t testing.TB, f Fields, payload []byte, mtu int) (all [][]byte) {
	t.Helper()
	var g Fragmenter
	if c := g.Reset(&f, payload, mtu); c != CauseNone {
		t.Fatalf("Reset: %v", c)
	}
	for more := true; more; {
		var n int
		buf := make([]byte, mtu)
		n, more = g.Next(buf)
		if n == 0 {
			t.Fatal("an empty fragment")
		}
		all = append(all, buf[:n])
	}
	if n, more := g.Next(make([]byte, mtu)); n != 0 || more {
		t.Errorf("after the last fragment: %d, %v", n, more)
	}
	return all
}

func TestFragmenter(t *testing.T) {
	options := []byte{7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0} // record route, router alert
	for _, tt := range []struct {
		name    string
		f       Fields
		payload int
		mtu     int
		want    []int // payload lengths
	}{
		{"fits", Fields{}, 1480, 1500, []int{1480}},
		{"empty", Fields{}, 0, 1500, []int{0}},
		{"one byte over", Fields{}, 1481, 1500, []int{1480, 1}},
		{"room is no multiple of 8", Fields{}, 1490, 1501, []int{1480, 10}},
		{"fits though no multiple of 8", Fields{}, 1481, 1501, []int{1481}},
		{"three", Fields{}, 4000, 1500, []int{1480, 1480, 1040}},
		{"smallest MTU", Fields{}, 100, 68, []int{48, 48, 4}},
		{"options", Fields{Options: options}, 100, 80, []int{48, 48, 4}},
		{"DF is kept", Fields{DontFragment: true}, 100, 68, []int{48, 48, 4}},
		{"a first fragment", Fields{MoreFragments: true}, 96, 68, []int{48, 48}},
		{"a middle fragment", Fields{MoreFragments: true, FragmentOffset: 1480}, 96, 68, []int{48, 48}},
		{"a last fragment", Fields{FragmentOffset: 65400}, 100, 68, []int{48, 48, 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.f.ID, tt.f.TTL, tt.f.Protocol, tt.f.TOS, tt.f.Src, tt.f.Dst = 77, 5, 17, 0x28, near, far
			payload := pattern(tt.payload)
			all := fragments(t, tt.f, payload, tt.mtu)
			equal(t, "fragments", len(all), len(tt.want))
			offset := 0
			for i, b := range all {
				h, got, c := Parse(b)
				equal(t, "cause", c, CauseNone)
				equal(t, "length", len(got), tt.want[i])
				equal(t, "offset", h.FragmentOffset(), tt.f.FragmentOffset+offset)
				equal(t, "more", h.MoreFragments(), tt.f.MoreFragments || i < len(all)-1)
				equal(t, "payload", bytes.Equal(got, payload[offset:offset+len(got)]), true)
				want := tt.f
				want.MoreFragments, want.FragmentOffset = h.MoreFragments(), h.FragmentOffset()
				if i > 0 && len(want.Options) > 0 {
					want.Options = []byte{1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0}
				}
				wantHeader := make([]byte, want.HeaderLen())
				want.Put(wantHeader, len(got))
				equal(t, "header", bytes.Equal(h, wantHeader), true)
				offset += len(got)
			}
			equal(t, "all of it", offset, tt.payload)
		})
	}
}

func TestFragmenterCauses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		f       Fields
		payload int
		mtu     int
		want    Cause
	}{
		{"longest", Fields{}, 65515, 1500, CauseNone},
		{"too long", Fields{}, 65516, 1500, CauseTooLong},
		{"too long with options", Fields{Options: []byte{1}}, 65512, 1500, CauseTooLong},
		{"too long with most options", Fields{Options: pattern(40)}, 65476, 1500, CauseTooLong},
		{"too long at its offset", Fields{FragmentOffset: 65512}, 4, 1500, CauseTooLong},
		{"no room for 8 bytes", Fields{}, 100, 27, CauseMTUTooSmall},
		{"room for 8 bytes", Fields{}, 100, 28, CauseNone},
		{"no room, none needed", Fields{}, 4, 24, CauseNone},
		{"options over 40 bytes", Fields{Options: pattern(41)}, 0, 1500, CauseBadFields},
		{"offset unaligned", Fields{FragmentOffset: 4}, 0, 1500, CauseBadFields},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var g Fragmenter
			equal(t, "cause", g.Reset(&tt.f, make([]byte, tt.payload), tt.mtu), tt.want)
			if n, more := g.Next(make([]byte, 1500)); tt.want != CauseNone && (n != 0 || more) {
				t.Errorf("Next after a failed Reset: %d, %v", n, more)
			}
			equal(t, "gathered", g.ResetGather(&tt.f, [][]byte{make([]byte, tt.payload)}, tt.mtu), tt.want)
		})
	}
}

func TestFragmenterShortBuffer(t *testing.T) {
	var g Fragmenter
	g.Reset(&Fields{}, pattern(100), 68)
	n, more := g.Next(make([]byte, 67))
	equal(t, "length", n, 0)
	equal(t, "more", more, true)
	buf := make([]byte, 68)
	n, _ = g.Next(buf)
	equal(t, "length", n, 68)
	equal(t, "first byte", buf[20], pattern(1)[0])
}

func TestFragmenterGather(t *testing.T) {
	payload := pattern(5000)
	f := Fields{ID: 1, Src: near, Dst: far}
	want := fragments(t, f, payload, 1500)
	for _, cuts := range [][]int{{}, {0}, {1}, {1480}, {3, 3, 4999}, {100, 2000, 2000, 4000}, {5000}} {
		var pieces [][]byte
		last := 0
		for _, c := range cuts {
			pieces = append(pieces, payload[last:c])
			last = c
		}
		pieces = append(pieces, payload[last:], nil)
		var g Fragmenter
		g.ResetGather(&f, pieces, 1500)
		for i := range want {
			buf := make([]byte, 1500)
			n, _ := g.Next(buf)
			equal(t, "fragment", bytes.Equal(buf[:n], want[i]), true)
		}
	}
}

func TestFragmenterAllocs(t *testing.T) {
	f := Fields{Src: near, Dst: far, Options: []byte{148, 4, 0, 0}}
	payload, buf := pattern(5000), make([]byte, 1500)
	pieces := [][]byte{payload[:10], payload[10:]}
	equal(t, "allocations", testing.AllocsPerRun(100, func() {
		var g Fragmenter
		g.Reset(&f, payload, 1500)
		for more := true; more; {
			_, more = g.Next(buf)
		}
		g.ResetGather(&f, pieces, 1500)
		for more := true; more; {
			_, more = g.Next(buf)
		}
	}), 0)
}

func BenchmarkFragmenter(b *testing.B) {
	f := Fields{Src: near, Dst: far}
	payload, buf := pattern(65507), make([]byte, 1500)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		var g Fragmenter
		g.Reset(&f, payload, 1500)
		for more := true; more; {
			_, more = g.Next(buf)
		}
	}
}
