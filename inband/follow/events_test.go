package follow

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// within is the time in which everything has to be told.
const within = 100 * time.Millisecond

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

// batch makes a file for ip -batch that adds and removes routes, n changes in all; the
// last one adds 10.9.0.0/16.
func batch(n int) string {
	var b strings.Builder
	for i := range (n - 1) / 2 {
		fmt.Fprintf(&b, "route add 10.100.%d.%d via 10.0.0.2\nroute del 10.100.%[1]d.%[2]d\n", i>>8&0xff, i&0xff)
	}
	b.WriteString("route add 10.9.0.0/16 via 10.1.0.2\n")
	return b.String()
}

// storm runs ip -batch.
func (l *lab) storm(lines string) {
	l.t.Helper()
	must(l.t, l.Do(func() error {
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(lines)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip -batch: %w: %s", err, out)
		}
		return nil
	}))
}

func TestStormOfRoutes(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	var mu sync.Mutex
	var calls []time.Time
	found := make(chan struct{})
	once := sync.OnceFunc(func() { close(found) })
	k.Follow(Events{RoutesMoved: func() {
		mu.Lock()
		calls = append(calls, time.Now())
		mu.Unlock()
		if _, errno := k.Route(Query{Dst: ip4("10.9.0.1")}); errno == 0 {
			once()
		}
	}})
	l.storm(batch(20_000))
	select {
	case <-found:
	case <-time.After(5 * time.Second):
		t.Fatal("the last route was not seen")
	}
	mu.Lock()
	defer mu.Unlock()
	for i := 1; i < len(calls); i++ {
		if gap := calls[i].Sub(calls[i-1]); gap < routesPause*9/10 {
			t.Fatalf("call %d after %v", i, gap)
		}
	}
	t.Logf("%d calls", len(calls))
}

// TestLostMessages has a receive buffer that holds hardly any message, and a function
// that does not return while they come.
func TestLostMessages(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	r := recordEvents(t, k)
	must(t, unix.SetsockoptInt(k.loop.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
	block, blocked := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(blocked); <-block })
	old := k.events.Load()
	k.Follow(Events{Changed: old.Changed, NeighbourChanged: old.NeighbourChanged, Neighbours: old.Neighbours,
		RoutesMoved: func() { once(); old.RoutesMoved() }})
	<-blocked
	dumps := r.dumps
	l.storm(batch(200) + "addr add 10.0.0.60/24 dev up0\nneigh add 10.0.0.78 lladdr 02:00:00:00:00:78 dev up0\n")
	close(block)
	r.wait(t, "what was lost", func() bool {
		address, neighbour := false, false
		for _, a := range r.last.Addresses {
			address = address || a.Prefix == netip.MustParsePrefix("10.0.0.60/24")
		}
		for _, n := range r.all {
			neighbour = neighbour || n.Addr == ip4("10.0.0.78")
		}
		return r.dumps > dumps && address && neighbour
	})
	if _, errno := k.Route(Query{Dst: ip4("10.9.0.1")}); errno != 0 {
		t.Error(errno)
	}
}

// TestLinkDownAnswers takes a link down and up, and asks at each RoutesMoved: the last
// answer is right.
func TestLinkDownAnswers(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	l.ip("route add default via 10.0.0.2 metric 10 \n route add default via 10.1.0.2 metric 20")
	up0, up1 := l.index("up0"), l.index("up1")
	var device int32
	r := &record{news: make(chan struct{}, 1)}
	k.Follow(Events{RoutesMoved: func() {
		a, _ := k.Route(Query{Dst: ip4("10.9.0.1")})
		r.note(func() { device = a.Device })
	}})
	for i := range 50 {
		l.ip("link set up0 down")
		r.wait(t, fmt.Sprint("down ", i), func() bool { return device == up1 })
		l.ip("link set up0 up \n route add default via 10.0.0.2 metric 10")
		r.wait(t, fmt.Sprint("up ", i), func() bool { return device == up0 })
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

// TestSettle asks for a route as soon as the kernel has told that a link is down, which it
// does before it takes the routes away; then settles, and asks again.
func TestSettle(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	l.ip("route add default via 10.1.0.2 metric 20")
	var hears loop
	must(t, l.Do(hears.open))
	defer hears.close()
	up0 := l.index("up0")
	const times = 200
	early, late := 0, 0
	for range times {
		l.ip("route add default via 10.0.0.2 metric 10")
		down := make(chan error)
		go func() { down <- l.SetDown("up0") }()
		hears.spinUntilDown(up0)
		if a, _ := k.Route(Query{Dst: ip4("10.9.0.1")}); a.Device == up0 {
			early++
		}
		k.dumping.Lock()
		k.dumper.settle()
		k.dumping.Unlock()
		if a, _ := k.Route(Query{Dst: ip4("10.9.0.1")}); a.Device == up0 {
			late++
		}
		must(t, <-down)
		must(t, l.SetUp("up0"))
	}
	if late != 0 {
		t.Errorf("%d late answers", late)
	}
	t.Logf("%d of %d early answers", early, times)
}

// spinUntilDown reads messages until one says that a device is down.
func (l *loop) spinUntilDown(device int32) {
	buf := make([]byte, dumpLen)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		n, errno := receive(l.fd, buf)
		if errno != 0 {
			continue // not asleep, so as to be early
		}
		for m, rest, ok := cutMessage(buf[:n]); ok; m, rest, ok = cutMessage(rest) {
			if d, ok := parseDevice(m); ok && d.Index == device && !d.Up {
				return
			}
		}
	}
}

// TestRoutesMoveAfterChanges holds dumps back, as they are where changes come fast.
func TestRoutesMoveAfterChanges(t *testing.T) {
	l, _ := uplinks(t)
	k := l.open()
	r := recordEvents(t, k)
	l.quiet(k, r)
	var mu sync.Mutex
	var order []string
	news := make(chan struct{}, 100)
	add := func(s string) {
		mu.Lock()
		order = append(order, s)
		mu.Unlock()
		news <- struct{}{}
	}
	k.Follow(Events{
		Changed: func(s Snapshot) {
			d, _ := s.Device(l.index("up0"))
			add(fmt.Sprint("changed ", d.Up))
		},
		RoutesMoved: func() {
			k.loop.devices.notBefore = time.Now().Add(50 * time.Millisecond)
			add("moved")
		},
	})
	<-news
	<-news // Changed and RoutesMoved at once
	l.ip("link set up0 down")
	for {
		select {
		case <-news:
		case <-time.After(5 * time.Second):
			t.Fatal(order)
		}
		mu.Lock()
		last := strings.Join(order[max(0, len(order)-3):], ", ")
		mu.Unlock()
		if last == "moved, changed false, moved" {
			return
		}
	}
}
