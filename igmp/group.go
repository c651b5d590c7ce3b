package igmp

import (
	"slices"

	"github.com/outband/outband/internal/heap"
	"github.com/outband/outband/internal/index"
	"github.com/outband/outband/internal/list"
	"github.com/outband/outband/ipv4"
)

// A Group is a group that at least one socket is a member of, with the filters of
// all of them merged. It belongs to its Host.
type Group struct {
	addr     uint32
	users    int // sockets that are members
	excludes int // those of them whose mode is EXCLUDE
	sources  index.Index[source]
	seed     index.Seed // the host's
	silent   bool       // never reported

	// The change to report (RFC 3376 section 5.1).
	modeLeft uint8             // in how many reports the filter's mode is still to be
	pending  []*source         // sources that are still to be in some
	list     *list.List[Group] // nil if nothing is to be reported
	listed   list.Node[Group]  // in list

	// The response to send (RFC 3376 section 5.2).
	timer       heap.Place // in Host.timers
	asked       []uint32   // the sources asked for, ascending; if none, all is asked for
	unsolicited uint8      // in versions 1 and 2: reports of a join that are still to be sent
	reporter    bool       // in versions 1 and 2: nobody has reported the group since we did
}

// A source is one that a filter of a group names, or named not long ago.
type source struct {
	addr    uint32
	count   [2]uint32 // filters that name it, by Mode
	left    uint8     // in how many reports of changes it is still to be
	dead    bool      // no filter names it
	touched bool      // in Host.touched, while filters are merged
	listed  bool      // was in the group's list before that
}

// Address returns the group's address.
func (g *Group) Address() ipv4.Addr { return ipv4.AddrFrom(g.addr) }

// Mode returns the mode of the merged filter: EXCLUDE if that of any socket is
// (RFC 3376 section 3.2).
func (g *Group) Mode() Mode {
	if g.excludes > 0 {
		return Exclude
	}
	return Include
}

// lists reports whether the source is in the list of the merged filter: in mode
// INCLUDE if any socket includes it, in mode EXCLUDE if all sockets of that mode
// exclude it and no other includes it (RFC 3376 section 3.2).
func (g *Group) lists(s *source) bool {
	if g.excludes > 0 {
		return s.count[Include] == 0 && int(s.count[Exclude]) == g.excludes
	}
	return s.count[Include] > 0
}

// Filter returns the merged filter: NotMember if no socket is a member.
func (g *Group) Filter() Filter {
	f := Filter{Mode: g.Mode()}
	for _, k := range g.appendList(nil) {
		f.Sources = append(f.Sources, ipv4.AddrFrom(k))
	}
	return f
}

// wants reports whether the merged filter lets the source through.
func (g *Group) wants(s *source) bool { return g.lists(s) == (g.excludes == 0) }

// Accepts reports whether at least one socket wants what src sends to the group: the
// merged filter, as Linux' ip_check_mc_rcu applies it. A datagram from 0.0.0.0
// passes, as there. The filters of single sockets are the caller's.
func (g *Group) Accepts(src ipv4.Addr) bool {
	if g.sources.Len() == 0 {
		return g.users > 0
	}
	return g.acceptsListed(src)
}

// AcceptsAll reports whether the merged filter lets every source through.
func (g *Group) AcceptsAll() bool { return g.sources.Len() == 0 && g.users > 0 }

// acceptsListed is Accepts for a group with sources.
func (g *Group) acceptsListed(src ipv4.Addr) bool {
	if src.IsUnspecified() {
		return true
	}
	if s := g.sources.Get(src.Uint32(), g.seed); s != nil {
		return g.wants(s)
	}
	return g.excludes > 0
}

// appendList appends the list of the merged filter, ascending.
func (g *Group) appendList(keys []uint32) []uint32 {
	start := len(keys)
	for s := range g.sources.All() {
		if g.lists(s) {
			keys = append(keys, s.addr)
		}
	}
	slices.Sort(keys[start:])
	return keys
}

// changed reports whether there is a change that is still to be reported.
func (g *Group) changed() bool { return g.modeLeft > 0 || len(g.pending) > 0 }

// push moves the group to the end of a list: it is in one at most.
func (g *Group) push(l *list.List[Group]) {
	g.unlink()
	g.list = l
	l.Append(&g.listed, g)
}

// unlink takes the group out of its list.
func (g *Group) unlink() {
	if g.list != nil {
		g.list.Remove(&g.listed)
		g.list = nil
	}
}
