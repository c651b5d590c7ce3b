package event

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

func TestString(t *testing.T) {
	for kind, want := range map[Kind]string{
		LinkUp: "eth0: link is up", LinkDown: "eth0: link is down", LinkGone: "eth0: device is gone",
		AddressReady:     "eth0: 10.0.0.1 is in use",
		AddressRemoved:   "eth0: 10.0.0.1 is removed",
		AddressDuplicate: "eth0: 02:00:00:00:00:01 has 10.0.0.1 already: it is not used",
		AddressConflict:  "eth0: 02:00:00:00:00:01 uses our address 10.0.0.1 too",
		AddressSuspended: "eth0: 10.0.0.1 is given up: file exists",
		AddressResumed:   "eth0: 10.0.0.1 is ours alone again: it is in use",
		HostAnswers:      "eth0: file exists",
		NeighbourUp:      "eth0: neighbour 10.0.0.1 is at 02:00:00:00:00:01",
		NeighbourFailed:  "eth0: neighbour 10.0.0.1 does not answer",
		99:               "eth0: event 99",
	} {
		e := Event{Kind: kind, Name: "eth0", Addr: netip.MustParseAddr("10.0.0.1"), MAC: link.MAC{2, 5: 1}, Err: unix.EEXIST}
		if got := e.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if s := (Event{Kind: AddressRemoved + 1}).String(); !strings.Contains(s, "event") {
		t.Errorf("the last kind is %q", s)
	}
	names := map[string]bool{}
	for k := LinkUp; k <= AddressRemoved; k++ {
		if name := k.String(); names[name] || strings.Contains(name, "event") {
			t.Errorf("kind %d is %q", uint8(k), name)
		} else {
			names[name] = true
		}
	}
}

// newSubscriptions returns some, and how often they have said that they changed.
func newSubscriptions() (*Subscriptions, *int) {
	s, changes := new(Subscriptions), 0
	s.Init(func() { changes++ })
	return s, &changes
}

// A subscription has the room that was asked for; what finds none is counted.
func TestRoom(t *testing.T) {
	for _, tt := range []struct{ asked, room int }{{-1, Default}, {0, Default}, {1, 1}, {3, 3}} {
		s, _ := newSubscriptions()
		s.Tell(Event{}) // nobody listens
		u, other := s.Subscribe(tt.asked), s.Subscribe(1000)
		for i := range tt.room + 2 {
			s.Tell(Event{Index: i})
		}
		if u.Lost() != 2 || s.Lost() != 2 || other.Lost() != 0 {
			t.Errorf("of %d asked for: %d were lost, %d of all", tt.asked, u.Lost(), s.Lost())
		}
		s.Close()
		n := 0
		for e := range u.C {
			if e.Index != n {
				t.Fatalf("event %d comes as number %d", e.Index, n)
			}
			n++
		}
		if n != tt.room {
			t.Errorf("of %d asked for: %d came", tt.asked, n)
		}
	}
}

// The stack is told when there may be listeners, or none; an end comes once.
func TestSubscriptionsEnd(t *testing.T) {
	s, changes := newSubscriptions()
	a, b := s.Subscribe(1), s.Subscribe(1)
	for i, tt := range []struct {
		do      func()
		changes int
		any     bool
	}{
		{func() {}, 2, true},
		{a.Close, 3, true},
		{a.Close, 4, true},
		{b.Close, 5, false},
	} {
		if tt.do(); *changes != tt.changes || s.Any() != tt.any {
			t.Errorf("step %d: told %d times, any is %t", i, *changes, s.Any())
		}
	}
	if _, open := <-a.C; open {
		t.Error("the channel of a subscription that is closed is open")
	}
	c := s.Subscribe(1)
	s.Close()
	if s.Any() {
		t.Error("somebody listens to a closed stack")
	}
	c.Close()
	for _, u := range []*Subscription{c, s.Subscribe(1)} {
		if _, open := <-u.C; open {
			t.Error("the channel of a closed stack is open")
		}
	}
	if s.Tell(Event{}); s.Any() || s.Lost() != 0 {
		t.Error("an event of a closed stack went somewhere")
	}
}
