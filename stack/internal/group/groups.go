// Package group has the groups that sockets are members of, with their source filters
// (ip(7), RFC 3376 section 2 and 3.1), and what of them each interface takes. The rules
// are Linux' (net/ipv4/igmp.c), errno for errno.
package group

import (
	"sync"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
)

// defaultMemberships and defaultSources are Linux' net.ipv4.igmp_max_memberships and
// igmp_max_msf.
const (
	defaultMemberships = 20
	defaultSources     = 10
)

// A Request names a group on an interface, as struct ip_mreqn in ip(7) does:
// by the interface's index if it is not 0, else by an address of the interface if
// that is not zero, else by the route to the group.
type Request struct {
	Group     ipv4.Addr
	Address   ipv4.Addr
	Interface int
}

// A Host is the stack whose groups they are.
type Host interface {
	// The locks of all lanes.
	sync.Locker
	// Now returns the time of the stack's clock.
	Now() int64
	// Find returns the interface that a request names, nil if there is none.
	Find(r Request) *Interface
	// MembersChanged takes in that memberships have: whoever remembers what they mean
	// forgets it, and makes room for so many. The locks of all lanes are held.
	MembersChanged(members int)
	// Updated has an interface's messages sent. The locks of all lanes are held.
	Updated(i *Interface)
	// Changed takes in that the memberships in a group have. No lane's lock is held.
	Changed(group ipv4.Addr)
}

// Limits bound memberships, and the sources of each.
type Limits struct{ Memberships, Sources int }

// Groups are the memberships of all sockets of a stack.
type Groups struct {
	host Host
	Max  Limits

	// mu makes changes of memberships take turns.
	mu sync.Mutex

	// To read what follows takes the lock of one lane, to change it those of all.
	members int    // of all sockets
	changes uint64 // how often they have changed
}

// Init makes ready. A limit of 0 is Linux' default.
func (g *Groups) Init(host Host, max Limits) {
	g.host = host
	if g.Max = max; max.Memberships <= 0 {
		g.Max.Memberships = defaultMemberships
	}
	if max.Sources <= 0 {
		g.Max.Sources = defaultSources
	}
}

// Members returns how many memberships there are, of all sockets. A lane's lock is held.
func (g *Groups) Members() int { return g.members }

// Changes returns how often memberships, or what they mean, have changed. A lane's lock is
// held.
func (g *Groups) Changes() uint64 { return g.changes }

// ChangedLocked takes in that memberships have changed, or what they mean, and that there
// are d more of them. The locks of all lanes are held.
func (g *Groups) ChangedLocked(d int) {
	g.changes++
	g.members += d
	g.host.MembersChanged(g.members)
}

// changeLocked replaces a socket's filter for a group by another, once apply has
// changed the socket's own set. mu is held, and no lane's lock. The error is the
// interface's Reporter's.
func (g *Groups) changeLocked(s *set, m *Membership, old, new igmp.Filter, apply func()) error {
	g.host.Lock()
	before := s.order.Len()
	apply()
	g.ChangedLocked(s.order.Len() - before)
	m.ifc.igmp.Update(g.host.Now(), m.key.group, old, new)
	g.host.Updated(m.ifc)
	merged := m.ifc.filter(m.key.group)
	g.host.Unlock()
	g.host.Changed(m.key.group) // whether senders hear their own multicasts may have changed
	if r := m.ifc.reporter; r != nil {
		return r.SetGroup(m.key.group, merged)
	}
	return nil
}
