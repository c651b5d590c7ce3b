package follow

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
	begin := time.Now()
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
	took := calls[len(calls)-1].Sub(begin)
	if most := int(took/routesPause) + 2; len(calls) > most {
		t.Errorf("%d calls in %v", len(calls), took)
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
