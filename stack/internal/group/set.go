package group

import (
	"slices"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/internal/list"
	"github.com/outband/outband/ipv4"
)

// indexFrom is from how many memberships on a socket finds them by a map.
const indexFrom = 8

// A Membership is a socket's in one group on one interface.
type Membership struct {
	key     key
	address ipv4.Addr // as the request gave it
	ifc     *Interface
	mode    igmp.Mode
	// sources are in the order in which they were given. listed says that a list
	// was ever given: Linux tells an empty one from none.
	sources []ipv4.Addr
	listed  bool

	node list.Node[Membership] // in set.order
}

// key names a membership within a socket.
type key struct {
	group ipv4.Addr
	index int32 // of the interface
}

// set is the memberships of a socket, latest first. Groups.mu is held to
// change it, and the locks of all lanes too; it or one of theirs to read it.
type set struct {
	order list.List[Membership]
	index map[key]*Membership // nil for few
}

// Mode returns whether the sources are those that are taken, or those that are not.
func (m *Membership) Mode() igmp.Mode { return m.mode }

// Sources returns the membership's sources, which hold while the lock does.
func (m *Membership) Sources() []ipv4.Addr { return m.sources }

// filter returns the membership as package igmp wants it: sorted.
func (m *Membership) filter() igmp.Filter {
	f := igmp.Filter{Mode: m.mode, Sources: slices.Clone(m.sources)}
	slices.SortFunc(f.Sources, func(a, b ipv4.Addr) int { return slices.Compare(a[:], b[:]) })
	return f
}

// named reports whether a membership is the one that is to be left: the address
// counts only if no interface has it any more.
func (m *Membership) named(r *Request) bool {
	if r.Interface != 0 {
		return int(m.key.index) == r.Interface
	}
	return r.Address == m.address
}

// get returns the membership in a group on an interface, nil if there is none.
func (s *set) get(k key) *Membership {
	if s.index != nil {
		return s.index[k]
	}
	for m := s.order.Newest(); m != nil; m = m.node.Older() {
		if m.key == k {
			return m
		}
	}
	return nil
}

func (s *set) add(m *Membership) {
	s.order.Append(&m.node, m)
	if s.order.Len() == indexFrom {
		s.index = make(map[key]*Membership)
		for o := s.order.Newest(); o != nil; o = o.node.Older() {
			s.index[o.key] = o
		}
	} else if s.index != nil {
		s.index[m.key] = m
	}
}

func (s *set) remove(m *Membership) {
	s.order.Remove(&m.node)
	delete(s.index, m.key)
}
