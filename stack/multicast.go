package stack

import (
	"sync/atomic"

	"github.com/outband/outband/stack/internal/drive"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/route"
)

// The groups of interfaces: which multicasts are taken, and what IGMP says of it. An
// interface's igmp.Host is guarded by its lane's lock.

// igmpTOS is the type of service of IGMP messages: internetwork control (RFC 3376,
// section 4).
const igmpTOS = 0xc0

// groupState is what an interface has of multicasts.
type groupState struct {
	host  *igmp.Host
	timer *drive.Timer
	// users counts the memberships of sockets in each group, whose frames the link
	// lets through. It is guarded by Stack.groupMu.
	users map[ipv4.Addr]int
	up    bool // the host was told that the link is up
	// lost says that the link was down since groupTimers looked at it last, though
	// it may be up again by now.
	lost atomic.Bool
	buf  []byte // for messages
}

func (g *groupState) init(i *Interface, cfg igmp.Config) {
	cfg.MTU = i.dev.Info().MTU
	g.host = igmp.New(cfg, i.s.random)
	g.timer = drive.NewTimer(i.groupTimers)
	g.users = make(map[ipv4.Addr]int)
	g.up = true
	g.buf = make([]byte, min(cfg.MTU, 2048))
}

// enterGroup has the link let a group's frames through: one more socket is a
// member. groupMu is held.
func (i *Interface) enterGroup(group ipv4.Addr) error {
	if i.groups.users[group] == 0 {
		if err := i.dev.Link.JoinGroup(group.MulticastMAC()); err != nil {
			return err
		}
	}
	i.groups.users[group]++
	return nil
}

// exitGroup undoes enterGroup. groupMu is held.
func (i *Interface) exitGroup(group ipv4.Addr) {
	if i.groups.users[group]--; i.groups.users[group] > 0 {
		return
	}
	delete(i.groups.users, group)
	i.dev.Link.LeaveGroup(group.MulticastMAC()) // a link that is closed has left
}

// changeGroup replaces a socket's filter for a group by another, once apply has
// changed the socket's own set. groupMu is held.
func (s *Stack) changeGroup(g *groupSet, m *groupMembership, old, new igmp.Filter, apply func()) {
	i := m.ifc
	s.lockLanes()
	before := g.order.Len()
	apply()
	s.membersChanged(g.order.Len() - before)
	now := s.clock.Now()
	i.groups.host.Update(now, m.group, old, new)
	i.afterGroups(i.lane)
	s.unlockLanes()
	s.routes.Generations.ChangedTo(m.group) // whether senders hear their own multicasts may have changed
}

// groupTimers does what is due of an interface's groups, and takes in what has
// changed of the link and its address. The first lane's lock is held.
func (i *Interface) groupTimers(now int64) {
	first := &i.s.lanes.first
	if i.lane != first {
		i.lane.drive.Lock.Take()
		defer i.lane.drive.Unlock()
	}
	h, info := i.groups.host, i.dev.Info()
	h.SetMTU(info.MTU)
	up, lost := info.State == link.Up, i.groups.lost.Swap(false)
	if i.groups.up && (lost || !up) {
		h.LinkDown(now)
		i.groups.up = false
	}
	if up && !i.groups.up {
		h.LinkUp(now)
		i.groups.up = true
	}
	h.SetAddress(now, i.dev.Primary)
	h.Advance(now)
	i.afterGroups(first)
}

// renewGroups has groupTimers look at the link and the address soon.
func (i *Interface) renewGroups() { i.s.timers.Set(i.groups.timer, i.s.clock.Now()) }

// afterGroups leaves the messages of the interface's host to the flush of a lane, and sets
// its timer. The locks of that lane and of the interface's are held.
func (i *Interface) afterGroups(l *lane) {
	h := i.groups.host
	for t, ok := h.Next(i.groups.buf); ok; t, ok = h.Next(i.groups.buf) {
		switch {
		case i.dev.Loopback: // nobody would hear it
		case i.policy.IgnoreGroups:
			l.count[counter.GroupsIgnored]++
		default:
			i.sendIGMP(l, &t)
		}
	}
	i.s.timers.Set(i.groups.timer, h.Deadline())
}

// sendIGMP leaves an IGMP message to a lane's flush, in a frame.
func (i *Interface) sendIGMP(l *lane, t *igmp.Transmit) {
	s := i.s
	f := ipv4.Fields{TOS: igmpTOS, TTL: 1, Protocol: ipv4.ProtocolIGMP, DontFragment: true, Src: i.dev.Primary,
		Dst: t.Dst, Options: routerAlert}
	b := s.pool.Get(link.HeaderLen + ipv4.MinHeaderLen + len(routerAlert) + len(t.Message))
	ether.Put(b, t.Dst.MulticastMAC(), i.dev.Info().HardwareAddr, ether.TypeIPv4)
	n := link.HeaderLen + f.Put(b[link.HeaderLen:], len(t.Message))
	copy(b[n:], t.Message)
	l.count[counter.IGMPOutMsgs]++
	l.pending.out = append(l.pending.out, output.OutPacket{Dev: &i.dev, Frame: b})
}

// routerAlert is the IP option with which IGMP messages are sent (RFC 2113).
var routerAlert = ipv4.AppendRouterAlert(nil)

// inGroup reports whether somebody on the interface wants what src sends to a group.
// The lock of the interface's lane is held.
func (i *Interface) inGroup(group, src ipv4.Addr) bool {
	if g := i.groups.host.Lookup(group); g != nil {
		return g.Accepts(src)
	}
	return group == allHosts
}

// hearsOwn reports whether a multicast that leaves by the interface comes back to
// this host: somebody is in the group.
func (i *Interface) hearsOwn(group, src ipv4.Addr) bool {
	i.lane.begin()
	defer i.lane.end()
	return i.inGroup(group, src)
}

// igmpInput processes an IGMP message.
func (l *lane) igmpInput(a *arrival, b []byte) {
	l.count[counter.IGMPInMsgs]++
	if a.ifc.dev.Loopback {
		return
	}
	alert := false
	if len(a.h) > ipv4.MinHeaderLen {
		set, _, c := ipv4.ParseOptions(a.h.Options())
		alert = c == ipv4.CauseNone && set.RouterAlert != 0
	}
	now := l.s.clock.Now()
	a.ifc.groups.host.Input(now, igmp.Packet{Src: a.src, Dst: a.dst, TTL: a.h.TTL(), RouterAlert: alert,
		ToHost: a.kind == route.Unicast, Payload: b})
	a.ifc.afterGroups(l)
}

// leaveGroups tells the link that we are in no group any more.
func (i *Interface) leaveGroups() {
	i.lane.begin()
	i.groups.host.LeaveAll(i.s.clock.Now())
	i.afterGroups(i.lane)
	i.lane.end()
}

// Groups returns the groups that sockets are members of on the interface, and what is
// known of its queriers. Times in it are of the stack's clock.
func (i *Interface) Groups() ([]igmp.GroupInfo, igmp.Status) {
	i.lane.begin()
	defer i.lane.end()
	return i.groups.host.Groups(), i.groups.host.Status()
}

// GroupStats returns the counters of the interface's IGMP: what was sent and heard,
// by kind, and why messages had no effect.
func (i *Interface) GroupStats() igmp.Stats {
	i.lane.begin()
	defer i.lane.end()
	return i.groups.host.Stats()
}
