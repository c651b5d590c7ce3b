package follow

import (
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A record is what was told.
type record struct {
	mu         sync.Mutex
	moved      int
	last       Snapshot
	changed    int
	neighbours []told
	dumps      int
	all        []Neighbour
	news       chan struct{}
}

type told struct {
	Neighbour
	gone bool
}

func (r *record) note(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// recordEvents has a Kernel's events recorded, from when the first were told.
func recordEvents(t testing.TB, k *Kernel) *record {
	t.Helper()
	r := &record{news: make(chan struct{}, 1)}
	k.Follow(Events{
		Changed:          func(s Snapshot) { r.note(func() { r.last = s; r.changed++ }) },
		RoutesMoved:      func() { r.note(func() { r.moved++ }) },
		NeighbourChanged: func(n Neighbour, gone bool) { r.note(func() { r.neighbours = append(r.neighbours, told{n, gone}) }) },
		Neighbours:       func(all []Neighbour) { r.note(func() { r.all = all; r.dumps++ }) },
	})
	r.wait(t, "what is there", func() bool { return r.changed > 0 && r.dumps > 0 && r.moved > 0 })
	return r
}

// wait waits until what was told is so. A busy machine has more time than the project has.
func (r *record) wait(t testing.TB, what string, so func() bool) (took time.Duration) {
	t.Helper()
	begin := time.Now()
	limit := time.After(5 * time.Second)
	for {
		r.mu.Lock()
		done := so()
		r.mu.Unlock()
		if done {
			return time.Since(begin)
		}
		select {
		case <-r.news:
		case <-limit:
			t.Fatalf("%s: not told within 5 s", what)
		}
	}
}

// quiet waits until events that were under way have been told.
func (l *lab) quiet(k *Kernel, r *record) {
	l.t.Helper()
	eventually(l.t, "quiet", func() bool {
		r.mu.Lock()
		before := r.moved
		r.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.moved == before
	})
}

func TestFirstEventsAreWhatIsThere(t *testing.T) {
	l, _ := uplinks(t)
	l.ip("neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev up0")
	k := l.open()
	r := recordEvents(t, k)
	if !r.last.equal(k.Snapshot()) || len(r.last.Devices) != 3 {
		t.Errorf("%+v", r.last)
	}
	want := Neighbour{Device: l.index("up0"), Addr: ip4("10.0.0.77"), MAC: [6]byte{2, 0, 0, 0, 0, 0x77}, State: unix.NUD_PERMANENT}
	if len(r.all) != 1 || r.all[0] != want {
		t.Errorf("%+v, want %+v", r.all, want)
	}
}

// TestEverythingMovesRoutes makes every kind of change.
func TestEverythingMovesRoutes(t *testing.T) {
	l, far := uplinks(t)
	k := l.open()
	r := recordEvents(t, k)
	for _, c := range []struct {
		name string
		on   *lab
		do   string
	}{
		{"address", l, "addr add 10.0.0.50/24 dev up0"},
		{"address on lo", l, "addr add 192.0.2.50/32 dev lo"},
		{"no address", l, "addr del 10.0.0.50/24 dev up0"},
		{"route", l, "route add 10.9.0.0/16 via 10.0.0.2"},
		{"route in a table", l, "route add 10.9.0.0/16 via 10.1.0.2 table 100"},
		{"route changed", l, "route replace 10.9.0.0/16 via 10.1.0.2"},
		{"rule", l, "rule add fwmark 3 table 100"},
		{"no rule", l, "rule del fwmark 3 table 100"},
		{"nexthop", l, "nexthop add id 1 via 10.0.0.2 dev up0"},
		{"nexthop group", l, "nexthop add id 2 group 1"},
		{"no nexthop", l, "nexthop del id 1"},
		{"link down", l, "link set up1 down"},
		{"link up", l, "link set up1 up"},
		{"no carrier", far, "link set far1 down"},
		{"carrier", far, "link set far1 up"},
		{"MTU", l, "link set up0 mtu 1400"},
		{"no route", l, "route add 10.8.0.0/16 via 10.0.0.2"},
		{"name", l, "link property add dev up0 altname other"},
		{"new device", l, "link add br0 type bridge"},
		{"no device", l, "link del br0"},
	} {
		l.quiet(k, r)
		r.mu.Lock()
		before := r.moved
		r.mu.Unlock()
		c.on.ip(c.do)
		took := r.wait(t, c.name, func() bool { return r.moved > before })
		t.Logf("%s: %v", c.name, took)
	}
}

// TestChangesAreTold follows devices and addresses through what is done to them.
func TestChangesAreTold(t *testing.T) {
	l, far := uplinks(t)
	k := l.open()
	r := recordEvents(t, k)
	up0 := l.index("up0")
	device := func() Device { d, _ := r.last.Device(up0); return d }
	has := func(addr string) (a Address, ok bool) {
		for _, a := range r.last.Addresses {
			if a.Prefix.String() == addr {
				return a, true
			}
		}
		return a, false
	}
	steps := []struct {
		do string
		on *lab
		so func() bool
	}{
		{"addr add 10.0.0.50/24 dev up0 brd 10.0.0.254", l, func() bool {
			a, ok := has("10.0.0.50/24")
			return ok && a.Device == up0 && a.Secondary && a.Broadcast == ip4("10.0.0.254")
		}},
		{"addr del 10.0.0.50/24 dev up0", l, func() bool { _, ok := has("10.0.0.50/24"); return !ok }},
		{"addr add 10.7.0.1 peer 10.7.0.2/32 dev up0", l, func() bool {
			a, ok := has("10.7.0.1/32")
			return ok && a.Peer == ip4("10.7.0.2") && a.Broadcast == [4]byte{}
		}},
		{"link set up0 mtu 1400", l, func() bool { return device().MTU == 1400 }},
		{"link set up0 address 02:00:00:00:00:05", l, func() bool { return device().MAC == [6]byte{2, 0, 0, 0, 0, 5} }},
		{"link set far0 down", far, func() bool { return device().Up && !device().Running }},
		{"link set far0 up", far, func() bool { return device().Running }},
		{"link set up0 arp off", l, func() bool { return device().NoARP }},
		{"link set up0 down", l, func() bool { return !device().Up && !device().Running }},
		{"link set up0 name new0", l, func() bool { return device().Name == "new0" }},
		{"link set new0 up", l, func() bool { return device().Up }},
		{"link del new0", l, func() bool { return device().Index == 0 }},
	}
	for _, s := range steps {
		s.on.ip(s.do)
		took := r.wait(t, s.do, s.so)
		t.Logf("%s: %v", s.do, took)
	}
}

func TestDeviceThatMoved(t *testing.T) {
	l, far := uplinks(t)
	k := l.open()
	r := recordEvents(t, k)
	named := func(name string) bool {
		return slices.ContainsFunc(r.last.Devices, func(d Device) bool { return d.Name == name })
	}
	must(t, l.MoveDevice("up1", far.Namespace))
	r.wait(t, "gone", func() bool { return !named("up1") && len(r.last.Addresses) == 4 })
	must(t, far.MoveDevice("up1", l.Namespace))
	r.wait(t, "back", func() bool { return named("up1") })
}
