package group

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// A groupLink is a link of which only the groups count.
type groupLink struct {
	link.Link
	info   link.Info
	groups map[link.MAC]int
	err    error // of the next JoinGroup
}

func (l *groupLink) Info() link.Info { return l.info }

func (l *groupLink) JoinGroup(m link.MAC) error {
	if l.err != nil {
		return l.err
	}
	l.groups[m]++
	return nil
}

func (l *groupLink) LeaveGroup(m link.MAC) error {
	if l.groups[m]--; l.groups[m] == 0 {
		delete(l.groups, m)
	}
	return nil
}

// A host has one interface, of index 1 and with the address 127.0.0.1, and no routes.
type host struct {
	sync.Mutex
	Groups
	ifc      Interface
	link     *groupLink
	now      int64
	members  int         // as last told
	updated  int         // how often an interface's messages were to be sent
	changed  []ipv4.Addr // groups whose members have changed
	reported []igmp.Filter
	refuse   error // of the next report
}

func newHost(max Limits) *host {
	h := &host{link: &groupLink{info: link.Info{MTU: 1500, State: link.Up}, groups: make(map[link.MAC]int)}}
	d := new(route.Device)
	d.Init(h.link, route.DeviceConfig{}, nil)
	d.Index = 1
	h.Groups.Init(h, max)
	h.ifc.Init(d, igmp.DefaultConfig(), h, func() uint64 { return 7 })
	return h
}

func (h *host) Now() int64           { return h.now }
func (h *host) MembersChanged(n int) { h.members = n }
func (h *host) Updated(*Interface)   { h.updated++ }
func (h *host) Changed(g ipv4.Addr)  { h.changed = append(h.changed, g) }
func (h *host) Find(r Request) *Interface {
	if r.Interface == 1 || r.Interface == 0 && r.Address == (ipv4.Addr{127, 0, 0, 1}) {
		return &h.ifc
	}
	return nil
}

func (h *host) SetGroup(_ ipv4.Addr, f igmp.Filter) error {
	h.reported = append(h.reported, f)
	return h.refuse
}

type sock struct{ closed bool }

func (s *sock) Closed() bool { return s.closed }

// member returns the memberships of a new socket.
func (h *host) member() (*Memberships, *sock) {
	m, s := new(Memberships), new(sock)
	m.Init(&h.Groups, s)
	return m, s
}

func group(i int) ipv4.Addr  { return ipv4.Addr{239, 3, 0, byte(i)} }
func source(i int) ipv4.Addr { return ipv4.Addr{10, 0, 0, byte(i)} }
func on(i int) Request       { return Request{Group: group(i), Interface: 1} }

// A limit that is not set is Linux'.
func TestDefaultLimits(t *testing.T) {
	for _, tt := range []struct{ max, want Limits }{
		{Limits{}, Limits{defaultMemberships, defaultSources}}, {Limits{-1, -1}, Limits{defaultMemberships, defaultSources}}, {Limits{1, 2}, Limits{1, 2}},
	} {
		if h := newHost(tt.max); h.Max != tt.want {
			t.Errorf("%v: %v", tt.max, h.Max)
		}
	}
}

// The link lets a group's frames through as long as a socket is a member; whoever keeps
// what memberships mean is told of each change.
func TestLinkAndHostAreTold(t *testing.T) {
	h := newHost(Limits{})
	a, _ := h.member()
	b, _ := h.member()
	for i, tt := range []struct {
		do             func() error
		members, users int
		changes        uint64
	}{
		{func() error { return a.Options().JoinGroup(on(1)) }, 1, 1, 1},
		{func() error { return b.Options().JoinGroup(on(1)) }, 2, 1, 2},
		{func() error { return b.Options().BlockSource(on(1), source(1)) }, 2, 1, 3},
		{func() error { return a.Options().LeaveGroup(on(1)) }, 1, 1, 4},
		{func() error { a.Options().SetAll(false); return nil }, 1, 1, 5},
		{func() error { b.LeaveAll(); return nil }, 0, 0, 6},
	} {
		if err := tt.do(); err != nil || h.members != tt.members || h.Members() != tt.members || h.link.groups[group(1).MulticastMAC()] != tt.users || h.Changes() != tt.changes {
			t.Errorf("step %d: %v, %d members, told of %d, %d changes, link %v", i, err, h.Members(), h.members, h.Changes(), h.link.groups)
		}
	}
	if h.updated != 5 || !slices.Equal(h.changed, []ipv4.Addr{group(1), group(1), group(1), group(1), group(1)}) || len(h.reported) != 5 {
		t.Errorf("%d times messages were to be sent, changes of %v, %d reports", h.updated, h.changed, len(h.reported))
	}
}

// Whoever refuses a membership leaves nothing of it behind.
func TestRefused(t *testing.T) {
	for _, who := range []string{"link", "reporter"} {
		h := newHost(Limits{})
		m, _ := h.member()
		if h.refuse = unix.EPERM; who == "link" {
			h.refuse, h.link.err = nil, unix.EPERM
		}
		if err := m.Options().JoinGroup(on(1)); err != unix.EPERM {
			t.Errorf("by the %s: %v", who, err)
		}
		if m.Len() != 0 || h.Members() != 0 || len(h.link.groups) != 0 || h.ifc.filter(group(1)).Mode != igmp.NotMember.Mode {
			t.Errorf("by the %s: %d memberships are left, the link has %v", who, m.Len(), h.link.groups)
		}
		h.refuse, h.link.err = nil, nil
		if err := m.Options().JoinGroup(on(1)); err != nil || m.Len() != 1 {
			t.Errorf("after the %s: %v", who, err)
		}
	}
}

// calls are all that can be asked about a group.
var calls = map[string]func(Options, Request) error{
	"JoinGroup":      func(o Options, r Request) error { return o.JoinGroup(r) },
	"LeaveGroup":     func(o Options, r Request) error { return o.LeaveGroup(r) },
	"JoinSource":     func(o Options, r Request) error { return o.JoinSource(r, source(1)) },
	"LeaveSource":    func(o Options, r Request) error { return o.LeaveSource(r, source(1)) },
	"BlockSource":    func(o Options, r Request) error { return o.BlockSource(r, source(1)) },
	"UnblockSource":  func(o Options, r Request) error { return o.UnblockSource(r, source(1)) },
	"SetGroupFilter": func(o Options, r Request) error { return o.SetGroupFilter(r, igmp.Filter{Mode: igmp.Exclude}) },
	"GroupFilter":    func(o Options, r Request) error { _, err := o.GroupFilter(r); return err },
	"GroupFilterOn":  func(o Options, r Request) error { _, err := o.GroupFilterOn(r.Group, r.Interface); return err },
}

// A socket that is closed changes nothing, also if it is closed while it waits for its turn.
func TestClosed(t *testing.T) {
	for name, call := range calls {
		for _, r := range []Request{on(1), {Group: source(1)}} {
			h := newHost(Limits{})
			m, s := h.member()
			s.closed = true
			if err := call(m.Options(), r); err != unix.EBADF {
				t.Errorf("%s(%v) of a closed socket: %v", name, r, err)
			}
		}
	}
	h := newHost(Limits{})
	m, s := h.member()
	h.Groups.mu.Lock()
	done := make(chan error)
	go func() { done <- m.joinGroup(on(1), igmp.Exclude) }()
	s.closed = true
	h.Groups.mu.Unlock()
	if err := <-done; err != unix.EBADF || h.Members() != 0 {
		t.Errorf("closed while it waits: %v, %d members", err, h.Members())
	}
}

// What is no group is found out before what is no interface.
func TestBadRequests(t *testing.T) {
	for name, call := range calls {
		for _, tt := range []struct {
			r    Request
			want error
		}{{Request{Group: source(1), Interface: 1}, unix.EINVAL}, {Request{Group: source(1), Interface: 12345}, unix.EINVAL}, {Request{Group: group(1), Interface: 12345}, unix.ENODEV}} {
			want := tt.want
			switch {
			case name == "LeaveGroup": // it goes by what there is
				want = unix.EADDRNOTAVAIL
			case name == "GroupFilterOn" && want == unix.ENODEV:
				want = unix.EADDRNOTAVAIL
			}
			h := newHost(Limits{})
			m, _ := h.member()
			if err := call(m.Options(), tt.r); err != want {
				t.Errorf("%s(%v): %v, want %v", name, tt.r, err, want)
			}
		}
	}
	h := newHost(Limits{})
	m, _ := h.member()
	if err := m.Options().SetGroupFilter(on(1), igmp.Filter{Mode: 7}); err != unix.EINVAL {
		t.Errorf("a mode that is none: %v", err)
	}
}

// A membership has as many sources as it may have, and a socket as many memberships.
func TestLimits(t *testing.T) {
	h := newHost(Limits{2, 2})
	m, _ := h.member()
	o := m.Options()
	sources := []ipv4.Addr{source(1), source(2), source(3)}
	if err := errors.Join(o.JoinGroup(on(1)), o.JoinGroup(on(2)), o.SetGroupFilter(on(1), igmp.Filter{Mode: igmp.Exclude, Sources: sources[:2]})); err != nil {
		t.Errorf("at the limits: %v", err)
	}
	for what, err := range map[string]error{"JoinGroup": o.JoinGroup(on(3)), "JoinSource": o.JoinSource(on(3), source(1)), "BlockSource": o.BlockSource(on(1), source(3)),
		"SetGroupFilter": o.SetGroupFilter(on(1), igmp.Filter{Mode: igmp.Include, Sources: sources})} {
		if err != unix.ENOBUFS {
			t.Errorf("%s: %v", what, err)
		}
	}
	if o.MaxSources() != 2 || m.Len() != 2 {
		t.Errorf("%d sources at most, %d memberships", o.MaxSources(), m.Len())
	}
}

// A membership whose interface has gone is left by the address that it was joined by.
func TestLeaveByAddress(t *testing.T) {
	h := newHost(Limits{})
	m, _ := h.member()
	o := m.Options()
	by := Request{Group: group(1), Address: ipv4.Addr{127, 0, 0, 1}}
	if err := errors.Join(o.JoinGroup(by), o.JoinGroup(on(2))); err != nil {
		t.Fatal(err)
	}
	h.ifc.dev.Index = 9 // the address is nobody's any more
	other := Request{Group: group(1), Address: ipv4.Addr{127, 0, 0, 2}}
	if err := o.LeaveGroup(other); err != unix.EADDRNOTAVAIL {
		t.Errorf("by another address: %v", err)
	}
	if err := o.LeaveGroup(Request{Group: group(1)}); err != unix.ENODEV {
		t.Errorf("by none: %v", err)
	}
	if err := o.LeaveGroup(Request{Group: group(1), Interface: 3}); err != unix.EADDRNOTAVAIL {
		t.Errorf("by another interface: %v", err)
	}
	if err := o.LeaveGroup(Request{Group: group(2), Interface: 1}); err != unix.EADDRNOTAVAIL {
		t.Errorf("by an index that is another's now: %v", err)
	}
	if m.Len() != 2 {
		t.Errorf("%d memberships are left", m.Len())
	}
}
