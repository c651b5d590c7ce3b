package group

import (
	"errors"
	"slices"
	"testing"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

// What the interface takes is what its sockets want together, and 224.0.0.1.
func TestInterfaceAccepts(t *testing.T) {
	h := newHost(Limits{})
	m, _ := h.member()
	o := m.Options()
	if err := errors.Join(o.JoinGroup(on(1)), o.JoinSource(on(2), source(1)), o.JoinGroup(Request{Group: allHosts, Interface: 1})); err != nil {
		t.Fatal(err)
	}
	if m.LeaveAll(); !h.ifc.Accepts(allHosts, source(1)) || !h.ifc.AcceptsAll(allHosts) {
		t.Error("224.0.0.1 is not taken once it was left")
	}
	if err := errors.Join(o.JoinGroup(on(1)), o.JoinSource(on(2), source(1))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		group         ipv4.Addr
		one, two, all bool
	}{{group(1), true, true, true}, {group(2), true, false, false}, {group(3), false, false, false}, {allHosts, true, true, true}} {
		if one, two, all := h.ifc.Accepts(tt.group, source(1)), h.ifc.Accepts(tt.group, source(2)), h.ifc.AcceptsAll(tt.group); one != tt.one || two != tt.two || all != tt.all {
			t.Errorf("%v: %t, %t, all %t", tt.group, one, two, all)
		}
	}
	if f := h.ifc.filter(group(2)); f.Mode != igmp.Include || !slices.Equal(f.Sources, []ipv4.Addr{source(1)}) {
		t.Errorf("merged: %v", f)
	}
}

// A link that was down, for however short, has its groups reported anew.
func TestAdvanceFollowsLink(t *testing.T) {
	h := newHost(Limits{})
	m, _ := h.member()
	if err := m.Options().JoinGroup(on(1)); err != nil {
		t.Fatal(err)
	}
	messages := func() (n int) {
		for range 10 {
			h.now += 1e9
			h.ifc.Advance(h.now)
			for _, ok := h.ifc.Next(); ok; _, ok = h.ifc.Next() {
				n++
			}
		}
		return n
	}
	if n := messages(); n == 0 {
		t.Fatal("a membership is not reported")
	}
	if n := messages(); n != 0 {
		t.Errorf("%d reports of nothing new", n)
	}
	if h.ifc.WentDown(); messages() == 0 {
		t.Error("a link that is up again is not told of the membership")
	}
	down := h.link.info
	down.State = link.Down
	if h.ifc.dev.SetInfo(&down); messages() != 0 {
		t.Error("something is sent by a link that is down")
	}
	if h.ifc.dev.SetInfo(&h.link.info); messages() == 0 {
		t.Error("a link that has come up is not told of the membership")
	}
	if n := messages(); n != 0 {
		t.Errorf("%d reports of nothing new", n)
	}
}

// Get and Admits find a membership among few and among many.
func TestGetAndAdmits(t *testing.T) {
	h := newHost(Limits{Memberships: 2 * indexFrom})
	m, _ := h.member()
	o := m.Options()
	if !m.Admits(group(1), 1, source(1)) || !o.All() {
		t.Error("without memberships a datagram to a group is not admitted")
	}
	o.SetAll(false)
	if m.Admits(group(1), 1, source(1)) || o.All() {
		t.Error("one to another's group is admitted")
	}
	for i := range 2 * indexFrom {
		if err := o.JoinGroup(on(i)); err != nil {
			t.Fatal(err)
		}
		if (m.set.index != nil) != (i+1 >= indexFrom) {
			t.Errorf("with %d memberships there is an index: %t", i+1, m.set.index != nil)
		}
		for j := range 2 * indexFrom {
			got, wanted := m.Get(group(j), 1)
			if (got != nil) != (j <= i) || wanted != (j <= i) || m.Admits(group(j), 1, source(1)) != (j <= i) {
				t.Fatalf("with %d memberships, group %d: %v, wanted is %t", i+1, j, got, wanted)
			}
		}
		if got, _ := m.Get(group(i), 2); got != nil {
			t.Error("a membership is found on another interface")
		}
	}
	if err := errors.Join(o.BlockSource(on(1), source(1)), o.LeaveGroup(on(2)), o.JoinSource(on(2), source(1))); err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int][2]bool{0: {true, true}, 1: {false, true}, 2: {true, false}, 99: {false, false}} {
		if got := [2]bool{m.Admits(group(i), 1, source(1)), m.Admits(group(i), 1, source(2))}; got != want {
			t.Errorf("group %d admits %v, want %v", i, got, want)
		}
	}
	o.SetAll(true)
	if _, wanted := m.Get(group(99), 1); !wanted || !m.Admits(group(99), 1, source(1)) {
		t.Error("with IP_MULTICAST_ALL another's group is not wanted")
	}
	m.LeaveAll()
	if got, _ := m.Get(group(1), 1); got != nil || m.Len() != 0 || len(h.link.groups) != 0 {
		t.Errorf("%v is left", got)
	}
}
