package outband

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A text is a file of a log that may be read meanwhile.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *text) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// awaitEvent returns the next event of a kind.
func awaitEvent(t *testing.T, c <-chan Event, kind stack.EventKind) Event {
	t.Helper()
	limit := time.After(lab.Patience)
	for {
		select {
		case e, ok := <-c:
			if !ok {
				t.Fatalf("no %s before the end", kind)
			}
			if e.Kind == kind {
				return e
			}
		case <-limit:
			t.Fatalf("no %s", kind)
		}
	}
}

// Links, addresses, conflicts and neighbours are told of by channel, by callback and in the log, whoever's
// the addresses are.
func TestHostEvents(t *testing.T) {
	lab.CheckLeaks(t)
	for _, c := range []struct {
		name   string
		kernel lab.Kernel
		own    bool
	}{{"own", lab.Far, true}, {"shared", lab.All, false}} {
		t.Run(c.name, func(t *testing.T) {
			l := lab.New(t, lab.Config{Kernel: c.kernel})
			log, told := new(text), make(chan Event, 64)
			options := []Option{WithEvents(func(e Event) { told <- e }),
				WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))}
			if c.own {
				options = append(options, WithAddress(l.Near().Prefix()))
			}
			h, err := openAt(t, l.Near(), options...)
			check(t, err)
			channel := h.Events(0)
			wanted := []stack.EventKind{stack.NeighbourUp, stack.AddressReady, stack.AddressRemoved, stack.LinkDown, stack.LinkUp}
			check(t, h.Stack().Solicit(l.Far().Addr, lab.Patience, 0))
			extra := netip.MustParsePrefix("10.11.0.1/24")
			i := h.Stack().InterfaceByName("near0")
			if c.own {
				check(t, i.AddAddress(extra))
				check(t, i.RemoveAddress(extra))
			} else {
				lab.Output(t, l.Near().Namespace, "ip", "addr", "add", extra.String(), "dev", "near0")
				awaitEvent(t, told, stack.NeighbourUp)
				awaitEvent(t, told, stack.AddressReady)
				lab.Output(t, l.Near().Namespace, "ip", "addr", "del", extra.String(), "dev", "near0")
				awaitEvent(t, told, stack.AddressRemoved)
				wanted = wanted[3:]
			}
			lab.Output(t, l.Near().Namespace, "ip", "link", "set", "near0", "down")
			down := awaitAll(t, told, wanted[:len(wanted)-1])
			if down.Name != "near0" || down.Index != i.Index() {
				t.Errorf("%+v", down)
			}
			lab.Output(t, l.Near().Namespace, "ip", "link", "set", "near0", "up")
			awaitEvent(t, told, stack.LinkUp)
			for _, kind := range []stack.EventKind{stack.NeighbourUp, stack.AddressReady, stack.AddressRemoved, stack.LinkDown, stack.LinkUp} {
				awaitEvent(t, channel.C, kind)
			}
			check(t, h.Close())
			for range channel.C { // ends
			}
			for _, want := range []string{"level=DEBUG msg=\"near0: neighbour 10.9.0.2 is at", "event=neighbour-up device=near0 address=10.9.0.2 mac=",
				"level=INFO msg=\"near0: 10.11.0.1 is in use\" event=address-ready device=near0 address=10.11.0.1\n", "event=address-removed",
				"level=WARN msg=\"near0: link is down\" event=link-down device=near0\n", "level=INFO msg=\"near0: link is up\""} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("%q is not in\n%s", want, log)
				}
			}
		})
	}
}

// awaitAll awaits events of these kinds in order, and returns the last.
func awaitAll(t *testing.T, c <-chan Event, kinds []stack.EventKind) (last Event) {
	t.Helper()
	for _, k := range kinds {
		last = awaitEvent(t, c, k)
	}
	return last
}

// Each kind has a level that says whether somebody should look.
func TestEventLevels(t *testing.T) {
	var log bytes.Buffer
	l := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for kind, want := range map[stack.EventKind]string{
		stack.AddressConflict: "WARN", stack.AddressSuspended: "WARN", stack.HostAnswers: "WARN", stack.LinkGone: "WARN",
		stack.AddressDuplicate: "ERROR", stack.AddressResumed: "INFO", stack.NeighbourFailed: "DEBUG",
	} {
		log.Reset()
		logEvent(l, Event{Kind: kind, Name: "eth0", Err: errors.New("closed")})
		if got := log.String(); !strings.Contains(got, "level="+want) || !strings.Contains(got, "event="+kind.String()) || !strings.Contains(got, "error=closed") {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

// Who is slow loses events, and the log says how many.
func TestEventsLost(t *testing.T) {
	lab.CheckLeaks(t)
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	log, slow, begun := new(text), make(chan struct{}), make(chan struct{}, 1)
	h, err := openAt(t, l.Near(), WithAddress(l.Near().Prefix()), WithLogger(slog.New(slog.NewTextHandler(log, nil))), WithEvents(func(Event) {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-slow
	}))
	check(t, err)
	i := h.Stack().InterfaceByName("near0")
	extra := netip.MustParsePrefix("10.11.0.1/24")
	for range eventRoom/2 + 8 {
		check(t, i.AddAddress(extra))
		check(t, i.RemoveAddress(extra))
	}
	<-begun
	close(slow)
	check(t, h.Close())
	for limit := time.Now().Add(lab.Patience); !strings.Contains(log.String(), "msg=\"events lost\" event=lost count="); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("nothing was said of what was lost")
		}
	}
}
