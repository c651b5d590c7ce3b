package stack

import (
	"slices"
	"sync"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/group"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// InterfaceConfig is what AddLink takes beside the link.
type InterfaceConfig struct {
	// Index is the interface's index; 0 takes the kernel's, or a free one.
	Index int
	// Lane is the number of the lane that takes the link's frames in, below MaxLanes; 0
	// is the first. Links of one lane are driven together, several lanes by as many
	// goroutines at once. Loopback links are of the first.
	Lane int
	// ARP is the neighbour table's configuration; the zero value is Linux'.
	ARP arp.Config
	// IGMP is how the interface reports the groups that sockets are in; the zero
	// value is igmp.DefaultConfig, Linux' defaults.
	IGMP igmp.Config
	// Groups is told what sockets want of which groups there, to report it in the stack's
	// place (Policy.IgnoreGroups); nil: nobody is.
	Groups GroupReporter
	// ShareAddresses lets the interface have addresses that the host whose device the
	// link is over has too, or another process: both receive what comes for them and
	// both answer, or with a claim the host receives nothing. Otherwise AddAddress
	// refuses them, and one that the host gets later is given up (AddressSuspended).
	ShareAddresses bool
	// Policy is what the stack answers and reports there; the zero value is all.
	Policy Policy
}

// A GroupReporter reports the groups that sockets are in to routers.
type GroupReporter = group.Reporter

// An Interface is a link with addresses and neighbours.
type Interface struct {
	s      *Stack
	lane   *lane // that takes its frames in
	dev    output.Device
	policy Policy

	solicitors solicitors
	// stateMu guards untold, and is held while the link's state is taken in.
	stateMu sync.Mutex
	untold  []EventKind // changes of the link's state that nobody has been told of

	groups     group.Interface // its lane's lock guards it
	groupTimer *drive.Timer
}

// interfaceOf returns the interface that a device is of, nil for nil.
func interfaceOf(d *route.Device) *Interface {
	if d == nil {
		return nil
	}
	return output.DeviceOf(d).Host.(sendInterface).i
}

// interfacesOf returns all interfaces of a configuration.
func interfacesOf(n *route.Network) []*Interface {
	all := make([]*Interface, len(n.Devices))
	for at, d := range n.Devices {
		all[at] = interfaceOf(d)
	}
	return all
}

// Index returns the interface's index, which sockets and routes name it by.
func (i *Interface) Index() int { return int(i.dev.Index) }

// Name returns the device's present name, which may change; while the device is gone,
// the one that the link waits for.
func (i *Interface) Name() string { return i.dev.Name() }

// Link returns the interface's link. It stays the stack's.
func (i *Interface) Link() link.Link { return i.dev.Link }

// configure replaces the configuration by a changed copy. change may return an
// error to leave it as it was.
func (s *Stack) configure(change func(n *route.Network) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.configureLocked(change)
}

func (s *Stack) configureLocked(change func(n *route.Network) error) error {
	if s.closed {
		return unix.ENETDOWN
	}
	n := s.routes.Net().Clone()
	if err := change(n); err != nil {
		return err
	}
	n.Finish()
	memoryOnly := true
	for _, l := range n.Links {
		memoryOnly = memoryOnly && l.FD() < 0
	}
	s.drive.LinksChanged(memoryOnly, slices.ContainsFunc(n.Devices, func(d *route.Device) bool {
		return !d.Loopback && !d.InBand && d.Link.FD() < 0
	}))
	// Whoever leads may be using the old configuration's interfaces.
	s.lockLanes()
	s.storeNetworkLocked(n)
	for _, d := range n.Devices {
		d.Primary = n.Primary(d)
	}
	s.groups.ChangedLocked(0) // an index may be another interface's now
	s.unlockLanes()
	s.routes.Generations.Changed()
	s.drive.WakeSleepers()
	for _, i := range interfacesOf(n) {
		i.renewGroups()
		i.dev.Neighbours.Configure(n, s.wantsNeighbours())
	}
	n.Claim()
	return nil
}

// storeNetworkLocked makes n the configuration. What the links of interfaces that are
// not in it have lost stays counted. The locks of all lanes are held.
func (s *Stack) storeNetworkLocked(n *route.Network) {
	for _, d := range s.routes.Net().Devices {
		if n.ByIndex(d.Index) != d {
			s.links.Removed(d)
		}
	}
	s.routes.Set(n)
	all := interfacesOf(n)
	for _, l := range *s.lanes.all.Load() {
		l.interfaces = slices.DeleteFunc(slices.Clone(all), func(i *Interface) bool { return i.lane != l || i.dev.InBand })
	}
}

// AddLink makes an interface of l. The stack owns l from now on, and closes it.
// EEXIST: another interface has the index. EINVAL: not a lane. Errors that wrap EADDRINUSE or EPERM: the
// stack's addresses cannot be had on the link's host, as for AddAddress.
func (s *Stack) AddLink(l link.Link, cfg InterfaceConfig) (*Interface, error) {
	if cfg.Lane < 0 || cfg.Lane >= MaxLanes {
		return nil, unix.EINVAL
	}
	i := &Interface{s: s, lane: &s.lanes.first, policy: cfg.Policy}
	i.dev.Init(&s.out, sendInterface{i}, l, route.DeviceConfig{Probes: cfg.ARP.Probe && cfg.Policy.ARP != arp.AnswerNone,
		Shares: cfg.ShareAddresses, KeepsHost: cfg.Policy.KeepHost}, cfg.ARP)
	i.dev.Neighbours.Table.SetAnswers(cfg.Policy.ARP)
	if cfg.IGMP == (igmp.Config{}) {
		cfg.IGMP = igmp.DefaultConfig()
	}
	i.groups.Init(&i.dev.Device, cfg.IGMP, cfg.Groups, s.randomness.Next)
	i.groupTimer = drive.NewTimer(i.groupTimers)
	if err := s.configure(func(n *route.Network) error {
		if !i.dev.Loopback {
			i.lane = s.laneAt(cfg.Lane)
		}
		return n.Add(&i.dev.Device, cfg.Index)
	}); err != nil {
		return nil, err
	}
	if err := i.hostAnswers(); err != nil {
		s.configure(func(n *route.Network) error { n.Remove(&i.dev.Device); return nil })
		return nil, err
	}
	i.reportNeighbours()
	if c := i.dev.Claimer(); c != nil {
		c.SetClaimNotify(i.hostChanged)
	}
	l.SetNotify(s.drive.WakeSleepers, i.linkChanged)
	i.linkChanged()
	return i, nil
}

// RemoveLink removes the interface with its addresses and routes, and closes
// its link. ENODEV: there is none of that index. EBUSY: it is the loopback.
func (s *Stack) RemoveLink(index int) error {
	var gone *route.Device
	err := s.configure(func(n *route.Network) (err error) {
		gone, err = n.RemoveIndex(index)
		return err
	})
	if err != nil {
		return err
	}
	s.retire(interfaceOf(gone))
	return nil
}

// retire ends an interface that is in no configuration any more.
func (s *Stack) retire(i *Interface) {
	if c := i.dev.Claimer(); c != nil {
		c.SetClaimNotify(nil)
	}
	i.dev.Link.SetNotify(nil, nil)
	i.leaveGroups()
	i.dev.Neighbours.End()
	s.timers.Set(i.groupTimer, never)
	s.out.SendOutbox()
	s.tapsDown(i, true)
	i.lane.begin()
	i.dev.Link.Close()
	i.lane.end()
	s.links.Closed(&i.dev.Device)
	s.out.Rooms.Look()
}

// removed returns what there is to say of an interface that was removed, ENODEV, or
// whose stack is closed, ENETDOWN; else nil. Its index may be another's now.
func (i *Interface) removed() error {
	switch {
	case i.s.Closed():
		return unix.ENETDOWN
	case i.s.routes.Net().ByIndex(i.dev.Index) != &i.dev.Device:
		return unix.ENODEV
	default:
		return nil
	}
}

// Interfaces returns the stack's interfaces, loopback first.
func (s *Stack) Interfaces() []*Interface { return interfacesOf(s.routes.Net()) }

// AddRoute adds a route; without Iface the one that reaches the gateway is
// taken. Of several routes of the same prefix and metric by different gateways the first
// whose gateway answers ARP is taken. EEXIST: it is there. ENETUNREACH: no interface reaches the gateway.
// ENODEV: there is no such interface, or none is named with OnLink.
func (s *Stack) AddRoute(r ipv4.Route) error {
	return s.configure(func(n *route.Network) error { return n.AddRoute(r) })
}

// RemoveRoute removes a route, and with it what is known of the MTUs of paths that
// began with it: ESRCH if it is not there.
func (s *Stack) RemoveRoute(r ipv4.Route) error {
	return s.configure(func(n *route.Network) error {
		if err := n.RemoveRoute(r); err != nil {
			return err
		}
		s.routes.ForgetMTUs(r)
		return nil
	})
}

// Routes returns all routes, those of addresses among them.
func (s *Stack) Routes() []ipv4.Route { return s.routes.Net().Routes() }

// InterfaceByName returns the interface of that name, nil if there is none, or its
// device is gone.
func (s *Stack) InterfaceByName(name string) *Interface {
	for _, i := range s.Interfaces() {
		if info := i.dev.Info(); info.Name == name && info.State != link.Gone {
			return i
		}
	}
	return nil
}

// InterfaceByIndex returns the interface of that index, nil if there is none, or its
// device is gone.
func (s *Stack) InterfaceByIndex(index int) *Interface {
	return interfaceOf(s.routes.Net().Present(int32(index)))
}

// LocalFor returns the address that the stack would answer a datagram with, that
// came by the interface from src for dst: dst itself if it is ours, else, for
// broadcasts and multicasts, the one that it would send to src with (in_pktinfo's
// ipi_spec_dst in ip(7), Linux' fib_compute_spec_dst).
func (s *Stack) LocalFor(index int32, src, dst ipv4.Addr) ipv4.Addr {
	return s.routes.LocalFor(index, src, dst)
}

// A Policy says what the stack does on an interface of its own accord, beside bringing
// sockets what is theirs: what it answers, what it tells the link. The zero value does
// all that a host has to do, for a stack that has its addresses alone. Whatever is left
// out is the host's whose device it is, and nothing else in the stack asks why. What was
// not answered is counted, by the counter that a field names.
type Policy struct {
	// ARP says which of the stack's addresses ARP requests are answered for: of all its
	// interfaces, of this one, or of none. With [arp.AnswerNone] the interface's
	// addresses are not probed for, announced or defended either. "OutbandArpIgnored".
	ARP arp.Answers
	// IgnoreEcho leaves echo requests without an answer (RFC 1122, 3.2.2.6; as Linux'
	// icmp_echo_ignore_all): "OutbandEchoIgnored". IgnoreTimestamp leaves timestamp
	// requests without (3.2.2.8): "OutbandTimestampIgnored".
	IgnoreEcho, IgnoreTimestamp bool
	// IgnorePorts sends no port unreachable about UDP datagrams that no socket is for:
	// "OutbandPortIgnored". IgnoreProtocols sends no protocol unreachable (RFC 1122,
	// 3.2.2.1): "OutbandProtocolIgnored".
	IgnorePorts, IgnoreProtocols bool
	// IgnoreBroken sends no errors about datagrams that have bad options, or of which
	// fragments are missing (RFC 1122, 3.2.2.5 and 3.3.2): "OutbandBrokenIgnored".
	IgnoreBroken bool
	// IgnoreGroups sends no IGMP messages about the groups that sockets are in (RFC
	// 3376), whose frames the link lets through all the same: "OutbandGroupsIgnored".
	IgnoreGroups bool
	// KeepHost leaves the host its part: its addresses are not refused, and nothing is
	// asked of a [link.Claimer], so that the host goes on receiving, and answering, what
	// is for the interface's addresses.
	KeepHost bool
}

// SharedPolicy returns the policy for addresses that are the kernel's, which the stack
// uses too: the kernel answers and reports, the stack nothing.
func SharedPolicy() Policy {
	return Policy{ARP: arp.AnswerNone, IgnoreEcho: true, IgnoreTimestamp: true, IgnorePorts: true,
		IgnoreProtocols: true, IgnoreBroken: true, IgnoreGroups: true, KeepHost: true}
}

// Policy returns what the interface was made with.
func (i *Interface) Policy() Policy { return i.policy }

// ignores reports whether an error of that kind is not sent, and what counts that.
func (p *Policy) ignores(kind icmpKind) (counter.Kind, bool) {
	switch kind {
	case errPortUnreachable:
		return counter.PortIgnored, p.IgnorePorts
	case errProtocolUnreachable:
		return counter.ProtocolIgnored, p.IgnoreProtocols
	default:
		return counter.BrokenIgnored, p.IgnoreBroken
	}
}
