package membership

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// from returns n sources, from 192.0.2.first on.
func from(first, n int) (sources [][4]byte) {
	for i := range n {
		sources = append(sources, [4]byte{192, 0, 2, byte(first + i)})
	}
	return sources
}

func TestReports(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		name  string
		f     Filter
		users int
	}{
		{"plain", Filter{}, 1},
		{"exclude", Filter{Exclude, from(1, 2)}, 1},
		{"exclude others", Filter{Exclude, from(2, 3)}, 1},
		{"to include", Filter{Include, from(1, 3)}, 1},
		{"one source", Filter{Include, from(1, 1)}, 1},
		{"another source", Filter{Include, from(2, 1)}, 1},
		{"25 sources", Filter{Include, from(1, 25)}, 3},
		{"20 of them and others", Filter{Include, from(6, 25)}, 3},
		{"to exclude", Filter{Exclude, from(1, 10)}, 1},
		{"to 12 sources", Filter{Include, from(1, 12)}, 2},
		{"nothing", NotMember, 0},
		{"a source", Filter{Include, from(9, 1)}, 1},
		{"all", Filter{}, 1},
		{"nothing again", NotMember, 0},
		{"exclude at once", Filter{Exclude, from(9, 1)}, 1},
	} {
		l.set("239.1.2.3", c.f)
		if n, own := l.users("239.1.2.3"), l.groups.Own(ip4("239.1.2.3"), l.device); n != c.users || own != c.users {
			t.Errorf("%s: %d users, %d of ours, want %d", c.name, n, own, c.users)
		}
		l.wants("239.1.2.3", c.f)
	}
}

// TestNoSourceIsBlockedBetween changes a long list, and looks at every report.
func TestNoSourceIsBlockedBetween(t *testing.T) {
	l := newLab(t)
	all := from(1, 30)
	l.set("239.1.2.3", Filter{Include, all})
	l.wants("239.1.2.3", Filter{Include, all})
	for i := range 20 {
		keep := all[i : i+5]
		var others [][4]byte
		for _, j := range rand.New(rand.NewPCG(1, uint64(i))).Perm(30)[:15] {
			others = append(others, all[j])
		}
		f := Filter{Include, append(others, keep...)}.normal()
		before := l.groups.held[key{ip4("239.1.2.3"), l.device}].parts
		wanted := plan(before, f, 10)
		for j, p := range before {
			for _, s := range p.filter.Sources {
				if contains(f.Sources, s) && !contains(wanted[j].Sources, s) {
					t.Fatalf("%v has moved", s)
				}
			}
		}
		l.set("239.1.2.3", f)
		l.wants("239.1.2.3", f)
	}
}

// TestManyGroups has as many groups as fit three sockets.
func TestManyGroups(t *testing.T) {
	l := newLab(t)
	before := descriptors(t)
	group := func(i int) string { return fmt.Sprintf("239.1.2.%d", i) }
	for i := range 60 {
		l.set(group(i), Filter{})
	}
	if n := descriptors(t) - before; n != 3 {
		t.Errorf("%d sockets", n)
	}
	for i := range 60 {
		l.wants(group(i), Filter{})
	}
	// What one leaves cuts no other, and makes room.
	l.set(group(7), NotMember)
	l.wants(group(7), NotMember)
	l.set("239.1.3.1", Filter{})
	l.set(group(8), Filter{Include, from(1, 2)})
	for i := range 60 {
		if n := l.users(group(i)); n != 1 && i != 7 || n != 0 && i == 7 {
			t.Errorf("%s: %d users", group(i), n)
		}
	}
	if n := descriptors(t) - before; n != 3 {
		t.Errorf("%d sockets", n)
	}
	for i := range 60 {
		l.set(group(i), NotMember)
	}
	if n := descriptors(t) - before; n != 1 {
		t.Errorf("one group is left, and %d sockets", n)
	}
	l.groups.Close()
	if n := descriptors(t) - before; n != -1 { // the namespace's, too
		t.Errorf("after Close: %d sockets", n)
	}
	if n := l.users("239.1.3.1"); n != 0 {
		t.Errorf("after Close: %d users", n)
	}
	if err := l.groups.Set(ip4("239.1.2.3"), l.device, Filter{}); err != unix.ENETDOWN {
		t.Error(err)
	}
	l.groups.Close()
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(names)
}

// TestBesideAnother has a member beside ours: what is reported is what both want.
func TestBesideAnother(t *testing.T) {
	l := newLab(t)
	var other *Groups
	must(t, l.host.Do(func() (err error) { other, err = Open(); return err }))
	defer other.Close()
	group := ip4("239.1.2.3")
	must(t, other.Set(group, l.device, Filter{Include, from(1, 2)}))
	l.set("239.1.2.3", Filter{Include, from(2, 2)})
	l.wants("239.1.2.3", Filter{Include, from(1, 3)})
	if n := l.users("239.1.2.3"); n != 2 {
		t.Errorf("%d users", n)
	}
	l.set("239.1.2.3", Filter{Exclude, from(1, 4)})
	l.wants("239.1.2.3", Filter{Exclude, from(3, 2)})
	l.set("239.1.2.3", NotMember)
	l.wants("239.1.2.3", Filter{Include, from(1, 2)})
	must(t, other.Set(group, l.device, NotMember))
	l.wants("239.1.2.3", NotMember)
}

func TestErrors(t *testing.T) {
	l := newLab(t)
	before := descriptors(t)
	for _, c := range []struct {
		name   string
		group  string
		device int32
		f      Filter
		err    error
	}{
		{"no group", "10.0.0.9", l.device, Filter{}, unix.EINVAL},
		{"no device", "239.1.2.3", 77, Filter{}, unix.ENODEV},
		{"device 0", "239.1.2.3", 0, Filter{}, unix.ENODEV},
		{"not a member", "239.1.2.3", l.device, NotMember, nil},
		{"too long", "239.1.2.3", l.device, Filter{Exclude, from(1, 11)}, unix.ENOBUFS},
	} {
		if err := l.groups.Set(ip4(c.group), c.device, c.f); err != c.err {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
	if n := descriptors(t) - before; n != 0 || len(l.groups.held) != 0 {
		t.Errorf("%d sockets, %d groups", n, len(l.groups.held))
	}
	// What was wanted before still is.
	l.set("239.1.2.3", Filter{Include, from(1, 12)})
	if err := l.groups.Set(ip4("239.1.2.3"), l.device, Filter{Exclude, from(1, 11)}); err != unix.ENOBUFS {
		t.Error(err)
	}
	l.wants("239.1.2.3", Filter{Include, from(1, 12)})
	if n := l.users("239.1.2.3"); n != 2 {
		t.Errorf("%d users", n)
	}
	// So it is where a part of the change has been made: the limit is lower meanwhile.
	l.set("239.1.2.5", Filter{Include, from(1, 5)})
	must(t, l.host.SetSysctl("net/ipv4/igmp_max_msf", "7"))
	if err := l.groups.Set(ip4("239.1.2.5"), l.device, Filter{Include, from(1, 12)}); err != unix.ENOBUFS {
		t.Error(err)
	}
	l.wants("239.1.2.5", Filter{Include, from(1, 5)})
	if n, own := l.users("239.1.2.5"), l.groups.Own(ip4("239.1.2.5"), l.device); n != 1 || own != 1 {
		t.Errorf("%d users, %d of ours", n, own)
	}
	l.set("239.1.2.4", Filter{})
	for _, s := range l.groups.sockets {
		if s.full {
			t.Error("a socket is taken for full")
		}
	}
}

// TestDeviceAndBack takes the device away, with all that the kernel knows of its groups.
func TestDeviceAndBack(t *testing.T) {
	l := newLab(t)
	l.set("239.1.2.3", Filter{})
	l.set("239.1.2.4", Filter{Include, from(1, 12)})
	must(t, l.host.MoveDevice("near0", l.far))
	must(t, l.far.MoveDevice("near0", l.host))
	d, err := l.host.Device("near0")
	must(t, err)
	must(t, l.host.AddAddress("near0", netip.MustParsePrefix("10.0.0.1/24")))
	must(t, l.host.SetUp("near0"))
	if int32(d.Index) != l.device {
		t.Fatal("it came back with another index")
	}
	if n := l.users("239.1.2.3"); n != 0 {
		t.Fatalf("%d users", n)
	}
	clear(l.router.view)
	must(t, l.groups.Rejoin(l.device))
	if a, b := l.users("239.1.2.3"), l.users("239.1.2.4"); a != 1 || b != 2 {
		t.Errorf("%d and %d users", a, b)
	}
	l.wants("239.1.2.3", Filter{})
	l.wants("239.1.2.4", Filter{Include, from(1, 12)})
	// A device that does not come back.
	must(t, l.host.DeleteDevice("near0"))
	if err := l.groups.Rejoin(l.device); err != unix.ENODEV {
		t.Error(err)
	}
	if len(l.groups.sockets) != 0 || len(l.groups.held) != 0 {
		t.Error("something is left")
	}
}

func TestPlan(t *testing.T) {
	for i := range uint64(500) {
		rng := rand.New(rand.NewPCG(2, i))
		random := func() Filter {
			f := Filter{Mode: Mode(rng.IntN(2))}
			for range rng.IntN(9) {
				f.Sources = append(f.Sources, from(rng.IntN(12), 1)...)
			}
			return f.normal()
		}
		var parts []part
		for range 5 {
			f := random()
			wanted := plan(parts, f, 3)
			var all [][4]byte
			var next []part
			for _, w := range wanted {
				if w.Mode != f.Mode && w.member() || f.Mode == Include && len(w.Sources) > 3 {
					t.Fatalf("%+v for %+v", w, f)
				}
				if all = append(all, w.Sources...); w.member() {
					next = append(next, part{filter: w})
				}
			}
			if got := (Filter{f.Mode, all}).normal(); !got.equal(f) || f.Mode == Include && len(all) != len(f.Sources) || f.Mode == Exclude && len(next) != 1 {
				t.Fatalf("%+v for %+v", wanted, f)
			}
			parts = next
		}
	}
}
