package stack

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outband/outband/ipv4"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// nextEvent returns the next event of a kind; others are passed over.
func nextEvent(t testing.TB, u *Subscription, kind EventKind) Event {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		select {
		case e, ok := <-u.C:
			if !ok {
				t.Fatalf("the subscription ended before an event of kind %d", kind)
			}
			if e.Kind == kind {
				return e
			}
		case <-limit:
			t.Fatalf("no event of kind %d", kind)
		}
	}
}

// What happens to links, addresses and neighbours can be heard.
func TestEvents(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	u := p.near.Subscribe(0)
	p.nearEnd.SetUp(false)
	if e := nextEvent(t, u, LinkDown); e.Index != p.nearIfc.Index() || e.Name != p.nearIfc.Name() || e.Time == 0 {
		t.Errorf("%+v", e)
	}
	p.nearEnd.SetUp(true)
	nextEvent(t, u, LinkUp)
	if err := p.near.Solicit(farAddr, 5*time.Second, 0); err != nil {
		t.Fatal(err)
	}
	if e := nextEvent(t, u, NeighbourUp); e.Addr != farAddr || e.MAC != p.farEnd.Info().HardwareAddr {
		t.Errorf("%+v", e)
	}
	thief := link.MAC{2, 0, 0, 0, 0, 0x66}
	frame := arpFrame(thief, arp.OpRequest, ipv4.Addr{10, 9, 0, 1}, ipv4.Addr{10, 9, 0, 1})
	if err := p.farEnd.Send(frame); err != nil {
		t.Fatal(err)
	}
	e := nextEvent(t, u, AddressConflict)
	if e.Addr != netip.MustParseAddr("10.9.0.1") || e.MAC != thief || !strings.Contains(e.String(), "10.9.0.1") {
		t.Errorf("%+v", e)
	}
	u.Close()
	u.Close()
	for range u.C { // ends
	}
	last := p.near.Subscribe(1)
	if err := p.near.Close(); err != nil {
		t.Fatal(err)
	}
	for range last.C { // ends
	}
	after := p.near.Subscribe(1)
	if _, open := <-after.C; open {
		t.Error("a subscription to a closed stack is open")
	}
	after.Close()
}

// Addresses that come and go without probes are told of; one that is refused is not.
func TestAddressEvents(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	u := p.near.Subscribe(0)
	extra := netip.MustParsePrefix("10.10.0.1/24")
	if err := p.nearIfc.AddAddress(extra); err != nil {
		t.Fatal(err)
	}
	if err := p.nearIfc.AddAddress(extra); err != unix.EEXIST {
		t.Fatal(err)
	}
	if err := p.nearIfc.RemoveAddress(extra); err != nil {
		t.Fatal(err)
	}
	if err := p.nearIfc.RemoveAddress(extra); err != unix.EADDRNOTAVAIL {
		t.Fatal(err)
	}
	u.Close()
	var got []EventKind
	for e := range u.C {
		if e.Kind == AddressReady || e.Kind == AddressRemoved {
			got = append(got, e.Kind)
			if e.Addr != extra.Addr() || e.Name != p.nearIfc.Name() {
				t.Errorf("%+v", e)
			}
		}
	}
	if !slices.Equal(got, []EventKind{AddressReady, AddressRemoved}) {
		t.Errorf("told of %v", got)
	}
}

// Who does not fetch loses events, which are counted, and holds up nobody.
func TestEventsLost(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	slow, quick := p.near.Subscribe(2), p.near.Subscribe(100)
	const flaps = 5
	for range flaps {
		p.nearEnd.SetUp(false)
		p.nearEnd.SetUp(true)
	}
	for range flaps {
		nextEvent(t, quick, LinkDown)
		nextEvent(t, quick, LinkUp)
	}
	if got, want := slow.Lost(), uint64(2*flaps-2); got != want {
		t.Errorf("%d lost, want %d", got, want)
	}
	if got := p.near.Stats().Get("OutbandEventsLost"); got != slow.Lost() {
		t.Errorf("the counter is %d, want %d", got, slow.Lost())
	}
	if e := <-slow.C; e.Kind != LinkDown {
		t.Errorf("the oldest is %v", e)
	}
}

// arpFrame is a broadcast ARP frame by hand.
func arpFrame(mac link.MAC, op byte, sender, target ipv4.Addr) []byte {
	b := append(append([]byte{255, 255, 255, 255, 255, 255}, mac[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, op)
	b = append(append(b, mac[:]...), sender[:]...)
	return append(append(b, 0, 0, 0, 0, 0, 0), target[:]...)
}

// Who hears that a device is down, or up again, finds the routes as they are with that.
func TestEventsTellWhatCounts(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	u := p.near.Subscribe(0)
	set := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		for up := range set {
			p.nearEnd.SetUp(up)
		}
	})
	defer func() { close(set); wg.Wait() }()
	to := netip.MustParseAddrPort("10.9.0.2:9")
	k := udpSocket(t, p.near, "")
	for range 200 {
		set <- false
		nextEvent(t, u, LinkDown)
		if err := k.Connect(to); err != unix.ENETUNREACH {
			t.Fatalf("connect when told that the link is down: %v", err)
		}
		set <- true
		nextEvent(t, u, LinkUp)
		if err := k.Connect(to); err != nil {
			t.Fatalf("connect when told that the link is up: %v", err)
		}
	}
}
