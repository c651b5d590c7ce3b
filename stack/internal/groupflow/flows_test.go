package groupflow

import (
	"slices"
	"testing"

	"github.com/outband/outband/ipv4"
)

type socket int

// newFlows returns flows with limits, and with a fixed secret.
func newFlows(flows, sockets int) *Flows[*socket] {
	c := new(Flows[*socket])
	c.Init(Limits{flows, sockets}, func() uint64 { return 0x9e3779b97f4a7c15 })
	return c
}

func key(i int) Key { return KeyOf(ipv4.Addr{239, 1, byte(i >> 8), byte(i)}, 7, 2) }

// enter remembers n flows of one socket each, from the key first on.
func enter(c *Flows[*socket], first, n int) {
	for i := range n {
		f := c.New(key(first+i), 1)
		f.Add(new(socket))
		c.Filled(f, true)
	}
}

func TestFind(t *testing.T) {
	c := newFlows(1000, 1000)
	if c.Find(key(0), 1) != nil {
		t.Error("a flow is found among none")
	}
	enter(c, 0, 300)
	for i := range 300 {
		f := c.Find(key(i), 1)
		if f == nil || f.Key != key(i) || f.Dst() != (ipv4.Addr{239, 1, byte(i >> 8), byte(i)}) || len(f.All) != 1 {
			t.Fatalf("flow %d is %v", i, f)
		}
		if c.Find(key(i), 2) != nil {
			t.Fatalf("flow %d is found in another generation", i)
		}
	}
	for _, k := range []Key{key(300), KeyOf(key(0).Dst(), 8, 2), KeyOf(key(0).Dst(), 7, 3)} {
		if c.Find(k, 1) != nil {
			t.Errorf("%v is found", k)
		}
	}
	if flows, sockets := c.Len(); flows != 300 || sockets != 300 || c.Drops() != 0 {
		t.Errorf("%d flows of %d sockets, %d drops", flows, sockets, c.Drops())
	}
}

// Half of the slots are used at most.
func TestRoomForFlows(t *testing.T) {
	c := newFlows(1000, 1000)
	for _, tt := range []struct{ flows, slots int }{{1, minSlots}, {minSlots / 2, minSlots}, {minSlots/2 + 1, 2 * minSlots}} {
		have, _ := c.Len()
		enter(c, have, tt.flows-have)
		if len(c.slots) != tt.slots {
			t.Errorf("%d slots for %d flows, want %d", len(c.slots), tt.flows, tt.slots)
		}
	}
}

// With too many flows, or sockets, all are forgotten; a flow that is made anew is none more.
func TestLimits(t *testing.T) {
	c := newFlows(4, 1000)
	enter(c, 0, 4)
	enter(c, 3, 1)
	if flows, sockets := c.Len(); flows != 4 || sockets != 4 || c.Drops() != 0 {
		t.Errorf("at the limit: %d flows of %d sockets, %d drops", flows, sockets, c.Drops())
	}
	enter(c, 4, 1)
	if flows, sockets := c.Len(); flows != 1 || sockets != 1 || c.Drops() != 1 || c.Find(key(0), 1) != nil || c.Find(key(4), 1) == nil {
		t.Errorf("beyond: %d flows of %d sockets, %d drops", flows, sockets, c.Drops())
	}
	c = newFlows(1000, 2)
	enter(c, 0, 3)
	if flows, sockets := c.Len(); flows != 3 || sockets != 3 || c.Drops() != 0 {
		t.Errorf("one flow above: %d flows of %d sockets, %d drops", flows, sockets, c.Drops())
	}
	enter(c, 3, 1)
	if flows, sockets := c.Len(); flows != 1 || sockets != 1 || c.Drops() != 1 {
		t.Errorf("two above: %d flows of %d sockets, %d drops", flows, sockets, c.Drops())
	}
}

// Fit makes room for memberships, as far as the limit, and gives it back with the last.
func TestFit(t *testing.T) {
	c := newFlows(200, 1000)
	for _, tt := range []struct{ members, slots, flows int }{
		{0, 0, 0}, {1, minSlots, 0}, {minSlots / 2, minSlots, 0},
		{0, minSlots, 0}, // few are kept for who joins next
		{minSlots/2 + 1, 2 * minSlots, 5}, {10000, 2 * minSlots, 5}, {1, 2 * minSlots, 5},
		{0, 0, 0},
	} {
		c.Fit(tt.members)
		enter(c, 0, tt.flows)
		if flows, sockets := c.Len(); len(c.slots) != tt.slots || flows != tt.flows || sockets != tt.flows {
			t.Errorf("%d members: %d slots, %d flows of %d sockets", tt.members, len(c.slots), flows, sockets)
		}
		if tt.members == 0 && c.Find(key(0), 1) != nil {
			t.Error("a flow is remembered without members")
		}
	}
	c.Fit(200)
	at := &c.slots[0]
	c.Fit(300) // all that the limit allows is there
	if at != &c.slots[0] {
		t.Error("the same room is made anew")
	}
}

// A flow that is made anew names the sockets of now, and keeps no more memory than twice
// what it needs.
func TestFlowAnew(t *testing.T) {
	c := newFlows(10, 100)
	for _, tt := range []struct{ sockets, room int }{{8, 8}, {4, 8}, {3, 3}} {
		f := c.New(key(0), uint64(tt.sockets))
		for range tt.sockets {
			f.Add(new(socket))
		}
		c.Filled(f, true)
		if flows, sockets := c.Len(); flows != 1 || sockets != tt.sockets || len(f.All) != tt.sockets || cap(f.All) != tt.room {
			t.Errorf("%d sockets: %d flows of %d, %d in room for %d", tt.sockets, flows, sockets, len(f.All), cap(f.All))
		}
	}
}

func TestSelectiveSockets(t *testing.T) {
	c := newFlows(10, 100)
	f := c.New(key(0), 1)
	c.Filled(f, true)
	if f.Selective() || !f.Plain {
		t.Errorf("without sockets it is selective %t, plain %t", f.Selective(), f.Plain)
	}
	c.Filled(f, false)
	if f.Plain {
		t.Error("it is plain, though not all sources are taken")
	}
	a, b := ipv4.Addr{10, 0, 0, 1}, ipv4.Addr{10, 0, 0, 2}
	excluding, including, peer, host := new(socket), new(socket), new(socket), new(socket)
	f = c.New(key(0), 2)
	f.AddExcluding(excluding)
	f.AddIncluding(including, []ipv4.Addr{a, b})
	f.AddConnected(peer, Peer{a, 9})
	f.AddConnected(host, Peer{Addr: a})
	c.Filled(f, true)
	if _, sockets := c.Len(); sockets != 5 || f.Plain || !f.Selective() {
		t.Errorf("%d sockets are named, plain is %t, selective %t", sockets, f.Plain, f.Selective())
	}
	for _, tt := range []struct {
		src       ipv4.Addr
		sport     uint16
		including []*socket
		maybe     [3][]*socket
	}{
		{a, 9, []*socket{including}, [3][]*socket{{excluding}, {host}, {peer}}},
		{a, 8, []*socket{including}, [3][]*socket{{excluding}, {host}, nil}},
		{a, 0, []*socket{including}, [3][]*socket{{excluding}, {host}, nil}},
		{b, 9, []*socket{including}, [3][]*socket{{excluding}, nil, nil}},
		{ipv4.Addr{10, 0, 0, 3}, 9, nil, [3][]*socket{{excluding}, nil, nil}},
	} {
		if got := f.Including(tt.src); !slices.Equal(got, tt.including) {
			t.Errorf("%v includes %v", tt.src, got)
		}
		for i, got := range f.Maybe(tt.src, tt.sport) {
			if !slices.Equal(got, tt.maybe[i]) {
				t.Errorf("%v:%d, list %d: %v, want %v", tt.src, tt.sport, i, got, tt.maybe[i])
			}
		}
	}
}
