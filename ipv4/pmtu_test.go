package ipv4

import (
	"math"
	"testing"
	"time"
)

// pathTo is the path to a destination that is on the link.
func pathTo(dst Addr) Path { return Path{Dst: dst, Next: dst, Iface: 2} }

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
		{"not the link's own, at the floor", []step{{552, 552, false, 0, false}}},
		{"floor", []step{{552, 1500, true, 552, false}}},
		{"below the floor", []step{{551, 1500, true, 552, true}, {68, 1500, false, 552, true}}},
		{"floor, then below", []step{{552, 1500, true, 552, false}, {300, 1500, true, 552, true}}},
		{"below the floor, then not", []step{{300, 1500, true, 552, true}, {552, 1500, false, 552, true}}},
		{"link below the floor", []step{{300, 400, true, 400, true}}},
		{"one byte", []step{{1, 1500, true, 552, true}}},
		{"huge", []step{{65535, 1500, false, 0, false}}},
		{"old router", []step{{0, 1500, true, 552, true}, {0, 1500, false, 552, true}}},
		{"old router, after another", []step{{1400, 1500, true, 1400, false}, {0, 1500, true, 552, true}, {1400, 1500, false, 552, true}}},
		{"old router, large link", []step{{0, 9000, true, 552, true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := NewPathMTU(10)
			for i, s := range tt.steps {
				equal(t, "changed", p.Update(int64(i), pathTo(far), s.mtu, s.link), s.changed)
				mtu, locked, ok := p.Lookup(int64(i), pathTo(far))
				equal(t, "known", ok, s.want != 0)
				equal(t, "MTU", mtu, s.want)
				equal(t, "locked", locked, s.locked)
			}
			_, _, ok := p.Lookup(0, pathTo(near))
			equal(t, "others", ok, false)
		})
	}
}

func TestPathMTUExpires(t *testing.T) {
	p := NewPathMTU(10)
	equal(t, "Deadline of nothing", p.Deadline(), math.MaxInt64)
	p.Update(0, pathTo(far), 1400, 1500)
	p.Update(10, pathTo(near), 1400, 1500)
	p.Update(20, pathTo(far), 1400, 1500) // believed from now on
	end := int64(600 * time.Second)
	equal(t, "Deadline", p.Deadline(), end+10)
	if _, _, ok := p.Lookup(end+9, pathTo(near)); !ok {
		t.Error("forgotten too early")
	}
	if _, _, ok := p.Lookup(end+10, pathTo(near)); ok {
		t.Error("believed too long")
	}
	equal(t, "expired", p.Advance(end+10), 1)
	equal(t, "Deadline", p.Deadline(), end+20)
	equal(t, "MTU may be higher now", p.Update(end+20, pathTo(far), 1450, 1500), true)
	equal(t, "Len", p.Len(), 1)
	equal(t, "expired", p.Advance(math.MaxInt64), 1)
	equal(t, "Deadline", p.Deadline(), math.MaxInt64)
}

func TestPathMTUBounded(t *testing.T) {
	p := NewPathMTU(100)
	for i := range 1000 {
		p.Update(int64(i), pathTo(Addr{10, 0, byte(i >> 8), byte(i)}), 1400, 1500)
		p.Update(int64(i), pathTo(far), 1400, 1500)
	}
	equal(t, "Len", p.Len(), 100)
	_, _, ok := p.Lookup(1000, pathTo(far))
	equal(t, "the one in use stays", ok, true)
	_, _, ok = p.Lookup(1000, pathTo(Addr{10, 0, 3, 0xe7}))
	equal(t, "the newest stays", ok, true)
	_, _, ok = p.Lookup(1000, pathTo(Addr{10, 0, 0, 0}))
	equal(t, "the oldest went", ok, false)
	equal(t, "at least one", NewPathMTU(0).Update(0, pathTo(far), 1400, 1500), true)
}

func TestPathMTUForget(t *testing.T) {
	p := NewPathMTU(10)
	for _, ip := range []Addr{near, far, other} {
		p.Update(0, pathTo(ip), 1400, 1500)
	}
	p.Forget(func(path Path) bool { return path.Dst == far })
	equal(t, "Len", p.Len(), 2)
	_, _, ok := p.Lookup(0, pathTo(far))
	equal(t, "forgotten", ok, false)
	_, _, ok = p.Lookup(0, pathTo(near))
	equal(t, "another", ok, true)
	p.Forget(func(Path) bool { return true })
	equal(t, "Len", p.Len(), 0)
	equal(t, "Deadline", p.Deadline(), math.MaxInt64)
	equal(t, "Update", p.Update(0, pathTo(far), 1400, 1500), true)
}

// The same destination by another neighbour or another interface is another path.
func TestPathMTUOfPath(t *testing.T) {
	p := NewPathMTU(10)
	by := Path{Dst: far, Next: near, Iface: 2}
	p.Update(0, by, 1400, 1500)
	for _, another := range []Path{{Dst: far, Next: far, Iface: 2}, {Dst: far, Next: near, Iface: 3}, {Dst: other, Next: near, Iface: 2}} {
		_, _, ok := p.Lookup(0, another)
		equal(t, "another path", ok, false)
	}
	mtu, _, ok := p.Lookup(0, by)
	equal(t, "known", ok, true)
	equal(t, "MTU", mtu, 1400)
}

func TestPathMTULookupAllocs(t *testing.T) {
	p := NewPathMTU(10)
	p.Update(0, pathTo(far), 1400, 1500)
	equal(t, "allocations", testing.AllocsPerRun(100, func() {
		p.Lookup(1, pathTo(far))
		p.Update(1, pathTo(far), 1400, 1500)
	}), 0)
}

func BenchmarkPathMTULookup(b *testing.B) {
	p := NewPathMTU(1000)
	p.Update(0, pathTo(far), 1400, 1500)
	for b.Loop() {
		mtu, _, _ := p.Lookup(1, pathTo(far))
		sink += mtu
	}
}
