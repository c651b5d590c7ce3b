package group

import (
	"sync/atomic"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/route"
)

// allHosts is the group that every host is in (RFC 1112, section 4).
var allHosts = ipv4.Addr{224, 0, 0, 1}

// A Reporter reports groups to routers in the stack's place: the operating system whose
// address the stack shares.
type Reporter interface {
	// SetGroup takes in what the interface's sockets want of a group, all together:
	// igmp.NotMember if no socket is a member any more. The error, an errno, is what the call says
	// that has made a socket a member. No lane's lock is held, and calls take turns.
	SetGroup(group ipv4.Addr, f igmp.Filter) error
}

// An Interface is what an interface has of multicasts: which are taken, and what IGMP
// says of it. The lock of the interface's lane is held for all of its methods but enter,
// exit and WentDown.
type Interface struct {
	dev  *route.Device
	igmp *igmp.Host
	// users counts the memberships of sockets in each group, whose frames the link
	// lets through. It is guarded by Groups.mu.
	users    map[ipv4.Addr]int
	reporter Reporter // nil: there is none
	up       bool     // the host was told that the link is up
	// lost says that the link was down since Advance looked at it last, though it may be
	// up again by now.
	lost atomic.Bool
	buf  []byte // for messages
}

// Init makes ready. random returns unpredictable bits. r may be nil.
func (i *Interface) Init(d *route.Device, cfg igmp.Config, r Reporter, random func() uint64) {
	cfg.MTU = d.Info().MTU
	i.dev, i.reporter = d, r
	i.igmp = igmp.New(cfg, random)
	i.users = make(map[ipv4.Addr]int)
	i.up = true
	i.buf = make([]byte, min(cfg.MTU, 2048))
}

// Device returns the interface's device.
func (i *Interface) Device() *route.Device { return i.dev }

// enter has the link let a group's frames through: one more socket is a
// member. Groups.mu is held.
func (i *Interface) enter(group ipv4.Addr) error {
	if i.users[group] == 0 {
		if err := i.dev.Link.JoinGroup(group.MulticastMAC()); err != nil {
			return err
		}
	}
	i.users[group]++
	return nil
}

// exit undoes enter. Groups.mu is held.
func (i *Interface) exit(group ipv4.Addr) {
	if i.users[group]--; i.users[group] > 0 {
		return
	}
	delete(i.users, group)
	i.dev.Link.LeaveGroup(group.MulticastMAC()) // a link that is closed has left
}

// WentDown says that the link is down, for Advance. It may be called by any goroutine.
func (i *Interface) WentDown() { i.lost.Store(true) }

// Advance does what is due, and takes in what has changed of the link and its address.
func (i *Interface) Advance(now int64) {
	h, info := i.igmp, i.dev.Info()
	h.SetMTU(info.MTU)
	up, lost := info.State == link.Up, i.lost.Swap(false)
	if i.up && (lost || !up) {
		h.LinkDown(now)
		i.up = false
	}
	if up && !i.up {
		h.LinkUp(now)
		i.up = true
	}
	h.SetAddress(now, i.dev.Primary)
	h.Advance(now)
}

// Next returns a message that is to be sent, which holds until the next call; false if
// there is none. Deadline is for afterwards.
func (i *Interface) Next() (igmp.Transmit, bool) { return i.igmp.Next(i.buf) }

// Deadline returns when Advance is to be called, if nothing happens before.
func (i *Interface) Deadline() int64 { return i.igmp.Deadline() }

// Input takes in an IGMP message.
func (i *Interface) Input(now int64, p igmp.Packet) { i.igmp.Input(now, p) }

// LeaveAll has the next message tell the link that we are in no group any more.
func (i *Interface) LeaveAll(now int64) { i.igmp.LeaveAll(now) }

// Accepts reports whether anybody on the interface wants what src sends to a group.
func (i *Interface) Accepts(group, src ipv4.Addr) bool {
	if g := i.igmp.Lookup(group); g != nil {
		return g.Accepts(src)
	}
	return group == allHosts
}

// AcceptsAll reports whether the interface takes what any source sends to a group.
func (i *Interface) AcceptsAll(group ipv4.Addr) bool {
	if g := i.igmp.Lookup(group); g != nil {
		return g.AcceptsAll()
	}
	return group == allHosts
}

// filter returns what all sockets want of a group.
func (i *Interface) filter(group ipv4.Addr) igmp.Filter {
	if g := i.igmp.Lookup(group); g != nil {
		return g.Filter()
	}
	return igmp.NotMember
}

// Info returns the groups that sockets are members of, and what is known of queriers.
func (i *Interface) Info() ([]igmp.GroupInfo, igmp.Status) { return i.igmp.Groups(), i.igmp.Status() }

// Stats returns the counters of IGMP.
func (i *Interface) Stats() igmp.Stats { return i.igmp.Stats() }
