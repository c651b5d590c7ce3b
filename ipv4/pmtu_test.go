package ipv4

import (
	"math"
	"testing"
	"time"
)

func TestPlateau(t *testing.T) {
	for _, tt := range [][2]int{{70000, 65535}, {65535, 32000}, {9000, 8166}, {1500, 1492}, {1492, 1006}, {552, 508}, {100, 68}, {68, 68}, {20, 68}} {
		equal(t, itoa(tt[0]), Plateau(tt[0]), tt[1])
	}
}

func TestPathMTUUpdate(t *testing.T) {
	type step struct {
		mtu, link int
		changed   bool
		want      int // 0: unknown
		locked    bool
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"lower", []step{{1400, 1500, true, 1400, false}, {1300, 1500, true, 1300, false}}},
		{"the same again", []step{{1400, 1500, true, 1400, false}, {1400, 1500, false, 1400, false}}},
		{"never higher", []step{{1400, 1500, true, 1400, false}, {1450, 1500, false, 1400, false}}},
		{"not above the link", []step{{1600, 1500, false, 0, false}}},
		{"not the link's own", []step{{1500, 1500, false, 0, false}}},
		{"floor", []step{{552, 1500, true, 552, false}}},
		{"below the floor", []step{{551, 1500, true, 552, true}, {68, 1500, false, 552, true}}},
		{"floor, then below", []step{{552, 1500, true, 552, false}, {300, 1500, true, 552, true}}},
		{"below the floor, then not", []step{{300, 1500, true, 552, true}, {552, 1500, true, 552, false}}},
		{"link below the floor", []step{{300, 400, true, 400, true}}},
		{"one byte", []step{{1, 1500, true, 552, true}}},
		{"huge", []step{{65535, 1500, false, 0, false}}},
		{"old router", []step{{0, 1500, true, 1492, false}, {0, 1500, true, 1006, false}, {0, 1500, true, 552, true}, {0, 1500, false, 552, true}}},
		{"old router, large link", []step{{0, 9000, true, 8166, false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := NewPathMTU(10)
			for i, s := range tt.steps {
				equal(t, "changed", p.Update(int64(i), far, s.mtu, s.link), s.changed)
				mtu, locked, ok := p.LookupLocked(int64(i), far)
				equal(t, "known", ok, s.want != 0)
				equal(t, "MTU", mtu, s.want)
				equal(t, "locked", locked, s.locked)
			}
			_, ok := p.Lookup(0, near)
			equal(t, "others", ok, false)
		})
	}
}

func TestPathMTUExpires(t *testing.T) {
	p := NewPathMTU(10)
	equal(t, "Deadline of nothing", p.Deadline(), math.MaxInt64)
	p.Update(0, far, 1400, 1500)
	p.Update(10, near, 1400, 1500)
	p.Update(20, far, 1400, 1500) // believed from now on
	end := int64(600 * time.Second)
	equal(t, "Deadline", p.Deadline(), end+10)
	if _, ok := p.Lookup(end+9, near); !ok {
		t.Error("forgotten too early")
	}
	if _, ok := p.Lookup(end+10, near); ok {
		t.Error("believed too long")
	}
	equal(t, "expired", p.Advance(end+10), 1)
	equal(t, "Deadline", p.Deadline(), end+20)
	equal(t, "MTU may be higher now", p.Update(end+20, far, 1450, 1500), true)
	equal(t, "Len", p.Len(), 1)
	equal(t, "expired", p.Advance(math.MaxInt64), 1)
	equal(t, "Deadline", p.Deadline(), math.MaxInt64)
}

func TestPathMTUBounded(t *testing.T) {
	p := NewPathMTU(100)
	for i := range 1000 {
		p.Update(int64(i), [4]byte{10, 0, byte(i >> 8), byte(i)}, 1400, 1500)
		p.Update(int64(i), far, 1400, 1500)
	}
	equal(t, "Len", p.Len(), 100)
	_, ok := p.Lookup(1000, far)
	equal(t, "the one in use stays", ok, true)
	_, ok = p.Lookup(1000, [4]byte{10, 0, 3, 0xe7})
	equal(t, "the newest stays", ok, true)
	_, ok = p.Lookup(1000, [4]byte{10, 0, 0, 0})
	equal(t, "the oldest went", ok, false)
	equal(t, "at least one", NewPathMTU(0).Update(0, far, 1400, 1500), true)
}

func TestPathMTUDelete(t *testing.T) {
	p := NewPathMTU(10)
	for _, ip := range [][4]byte{near, far, other} {
		p.Update(0, ip, 1400, 1500)
	}
	equal(t, "Delete", p.Delete(far), true)
	equal(t, "Delete again", p.Delete(far), false)
	equal(t, "Len", p.Len(), 2)
	p.Flush()
	equal(t, "Len", p.Len(), 0)
	equal(t, "Deadline", p.Deadline(), math.MaxInt64)
	equal(t, "Update", p.Update(0, far, 1400, 1500), true)
}

func TestPathMTULookupAllocs(t *testing.T) {
	p := NewPathMTU(10)
	p.Update(0, far, 1400, 1500)
	equal(t, "allocations", testing.AllocsPerRun(100, func() {
		p.Lookup(1, far)
		p.Update(1, far, 1400, 1500)
	}), 0)
}

func BenchmarkPathMTULookup(b *testing.B) {
	p := NewPathMTU(1000)
	p.Update(0, far, 1400, 1500)
	for b.Loop() {
		mtu, _ := p.Lookup(1, far)
		sink += mtu
	}
}
