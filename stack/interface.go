package stack

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// InterfaceConfig is what AddLink takes beside the link.
type InterfaceConfig struct {
	// Index is the interface's index; 0 takes the kernel's, or a free one.
	Index int
	// ARP is the neighbour table's configuration; the zero value is Linux'.
	ARP arp.Config
	// IGMP is how the interface reports the groups that sockets are in; the zero
	// value is igmp.DefaultConfig, Linux' defaults.
	IGMP igmp.Config
	// ShareAddresses lets the interface have addresses that the host whose device the
	// link is over has too, or another process: both receive what comes for them and
	// both answer, or with a claim the host receives nothing. Otherwise AddAddress
	// refuses them, and one that the host gets later is given up (AddressSuspended).
	ShareAddresses bool
}

// An Interface is a link with addresses and neighbours.
type Interface struct {
	s        *Stack
	lane     *lane // that takes its frames in
	link     link.Link
	losses   link.LossTeller // the link, nil if it does not tell
	queue    *txQueue        // that all may use
	sharers  atomic.Int32    // how many sockets do
	index    int32
	loopback bool
	info     atomic.Pointer[link.Info]
	primary  ipv4.Addr // the first address, guarded by the receive lock

	neighTimer *timer
	// neighMu guards the neighbour table, who waits for it, untold, and how many datagrams
	// that waited for a neighbour are in the outbox.
	neighMu    sync.Mutex
	flushing   int
	flushed    sync.Cond // flushing is 0 again
	neigh      *arp.Table
	solicitors map[ipv4.Addr][]*solicitation
	untold     []EventKind // changes of the link's state that nobody has been told of

	groups groupState

	probes    bool  // addresses are probed for before use
	shares    bool  // InterfaceConfig.ShareAddresses
	unclaimed error // why the host answers for the stack; guarded by Stack.mu
}

// Index returns the interface's index, which sockets and routes name it by.
func (i *Interface) Index() int { return int(i.index) }

// Name returns the device's present name, which may change; while the device is gone,
// the one that the link waits for.
func (i *Interface) Name() string { return i.info.Load().Name }

// Link returns the interface's link. It stays the stack's.
func (i *Interface) Link() link.Link { return i.link }

// network is the configuration as the ways of a datagram see it: it is never
// changed, only replaced.
type network struct {
	interfaces []*Interface
	links      []link.Pollable // of interfaces
	byIndex    map[int32]*Interface
	loopback   *Interface
	// allAddresses and allRoutes are what was configured; addresses and routes, those
	// that count now: see life.go.
	allAddresses, addresses []ipv4.Address
	allRoutes, routes       *ipv4.RouteTable
	idle                    []idleAddress            // those that are not in use
	local                   map[ipv4.Addr]*Interface // own addresses
	broadcasts              map[ipv4.Addr]struct{}   // directed broadcast addresses
	// lastByte says, for each last byte of an address, whether one of ours, or
	// a broadcast, ends in it: it spares most datagrams the map.
	lastByte [256]bool
	// spares are the gateways of routes that stand in for one another: see choose.
	spares map[gateway]struct{}
}

// loopbackBroadcast is the broadcast address of 127.0.0.0/8.
var loopbackBroadcast = ipv4.Addr{127, 255, 255, 255}

// isLocal reports whether a is one of our addresses.
func (n *network) isLocal(a ipv4.Addr) bool {
	if a.IsLoopback() {
		return a != loopbackBroadcast
	}
	return n.lastByte[a[3]] && n.local[a] != nil
}

// isBroadcast reports whether a is the limited or a directed broadcast address.
func (n *network) isBroadcast(a ipv4.Addr) bool {
	if !n.lastByte[a[3]] {
		return a.IsLimitedBroadcast()
	}
	_, ok := n.broadcasts[a]
	return ok || a.IsLimitedBroadcast()
}

// bindable reports whether a socket may bind to a: one of ours, a broadcast, a
// group, or all addresses.
func (n *network) bindable(a ipv4.Addr) bool {
	return a.IsUnspecified() || n.isLocal(a) || n.isBroadcast(a) || a.IsMulticast()
}

// receivesOnly reports whether a is a group or a broadcast: a socket bound to it
// sends from another address.
func (n *network) receivesOnly(a ipv4.Addr) bool { return a.IsMulticast() || n.isBroadcast(a) }

// configure replaces the configuration by a changed copy. change may return an
// error to leave it as it was.
func (s *Stack) configure(change func(n *network) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.configureLocked(change)
}

func (s *Stack) configureLocked(change func(n *network) error) error {
	if s.closed {
		return unix.ENETDOWN
	}
	old := s.net.Load()
	n := &network{
		interfaces:   slices.Clone(old.interfaces),
		allAddresses: slices.Clone(old.allAddresses),
		allRoutes:    old.allRoutes.Clone(),
		loopback:     old.loopback,
		idle:         slices.Clone(old.idle),
	}
	if err := change(n); err != nil {
		return err
	}
	n.index()
	memoryOnly := true
	for _, l := range n.links {
		memoryOnly = memoryOnly && l.FD() < 0
	}
	s.memoryOnly.Store(memoryOnly)
	s.tellOnce.Store(slices.ContainsFunc(n.interfaces, func(i *Interface) bool {
		return !i.loopback && i.link.FD() < 0
	}))
	// Whoever leads may be using the old configuration's interfaces.
	s.lockLanes()
	s.storeNetworkLocked(n)
	for _, i := range n.interfaces {
		i.primary = n.primary(i)
	}
	s.flows.changed(0) // an index may be another interface's now
	s.unlockLanes()
	s.gen.changed()
	s.wakeSleepers()
	for _, i := range n.interfaces {
		i.renewGroups()
		i.neighMu.Lock()
		i.neigh.SetHost(arpHost{n, int(i.index)})
		i.neigh.SetReport(s.wantsNeighbours())
		i.neighMu.Unlock()
	}
	n.claim()
	return nil
}

// primary returns the interface's first address, zero if it has none.
func (n *network) primary(i *Interface) ipv4.Addr {
	for _, a := range n.allAddresses {
		if a.Iface == int(i.index) {
			return a.IP()
		}
	}
	return ipv4.Addr{}
}

// index makes the tables that follow from the rest.
func (n *network) index() {
	n.byIndex = make(map[int32]*Interface)
	n.local = make(map[ipv4.Addr]*Interface)
	n.broadcasts = make(map[ipv4.Addr]struct{})
	for _, i := range n.interfaces {
		n.byIndex[i.index] = i
		n.links = append(n.links, i.link)
	}
	n.count()
	for _, a := range n.addresses {
		ip := a.IP()
		if n.local[ip] == nil { // of several interfaces with an address the first counts
			n.local[ip] = n.byIndex[int32(a.Iface)]
		}
		n.lastByte[ip[3]] = true
	}
	all := n.routes.All()
	for at, r := range all {
		if at > 0 {
			n.addSpares(&all[at-1], &r)
		}
		if r.Type == ipv4.Broadcast {
			b := r.Prefix.Addr().As4()
			n.broadcasts[b] = struct{}{}
			n.lastByte[b[3]] = true
		}
	}
}

// AddLink makes an interface of l. The stack owns l from now on, and closes it.
// EEXIST: another interface has the index. Errors that wrap EADDRINUSE or EPERM: the
// stack's addresses cannot be had on the link's host, as for AddAddress.
func (s *Stack) AddLink(l link.Link, cfg InterfaceConfig) (*Interface, error) {
	info := l.Info()
	i := &Interface{s: s, lane: &s.lanes.first, link: l, losses: link.LossTellerOf(l), loopback: info.Caps&link.CapLoopback != 0,
		probes: cfg.ARP.Probe, shares: cfg.ShareAddresses}
	i.info.Store(&info)
	i.queue = newTxQueue(i)
	i.neigh = arp.New(cfg.ARP, info.HardwareAddr, s.random)
	i.neighTimer = newTimer(i.neighTimers)
	i.flushed.L = &i.neighMu
	if cfg.IGMP == (igmp.Config{}) {
		cfg.IGMP = igmp.DefaultConfig()
	}
	i.groups.init(i, cfg.IGMP)
	index := cfg.Index
	if index == 0 {
		index = info.Index
	}
	err := s.configure(func(n *network) error {
		for index == 0 || cfg.Index == 0 && n.hasIndex(index) {
			s.lastIndex++
			if index = s.lastIndex; n.hasIndex(index) {
				index = 0
			}
		}
		if n.hasIndex(index) {
			return unix.EEXIST
		}
		if err := n.reserveAll(i); err != nil {
			return err
		}
		i.index = int32(index)
		n.interfaces = append(n.interfaces, i)
		if i.loopback && n.loopback == nil {
			n.loopback = i
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := i.hostAnswers(); err != nil {
		s.configure(func(n *network) error { n.remove(i); return nil })
		return nil, err
	}
	i.reportNeighbours()
	if c := i.claimer(); c != nil {
		c.SetClaimNotify(i.hostChanged)
	}
	l.SetNotify(s.wakeSleepers, i.linkChanged)
	i.linkChanged()
	return i, nil
}

func (n *network) hasIndex(index int) bool {
	return slices.ContainsFunc(n.interfaces, func(i *Interface) bool { return int(i.index) == index })
}

// RemoveLink removes the interface with its addresses and routes, and closes
// its link. ENODEV: there is none of that index. EBUSY: it is the loopback.
func (s *Stack) RemoveLink(index int) error {
	var gone *Interface
	err := s.configure(func(n *network) error {
		at := slices.IndexFunc(n.interfaces, func(i *Interface) bool { return int(i.index) == index })
		if at < 0 {
			return unix.ENODEV
		}
		if gone = n.interfaces[at]; gone == n.loopback {
			return unix.EBUSY
		}
		n.remove(gone)
		return nil
	})
	if err != nil {
		return err
	}
	s.retire(gone)
	return nil
}

// remove takes out an interface, with its addresses and routes.
func (n *network) remove(gone *Interface) {
	n.releaseAll(gone)
	index := int(gone.index)
	n.interfaces = slices.DeleteFunc(n.interfaces, func(i *Interface) bool { return i == gone })
	n.idle = slices.DeleteFunc(n.idle, func(a idleAddress) bool { return a.iface == gone })
	n.allAddresses = slices.DeleteFunc(n.allAddresses, func(a ipv4.Address) bool { return a.Iface == index })
	for _, r := range n.allRoutes.All() {
		if r.Iface == index {
			n.allRoutes.Delete(r)
		}
	}
}

// retire ends an interface that is in no configuration any more.
func (s *Stack) retire(i *Interface) {
	if c := i.claimer(); c != nil {
		c.SetClaimNotify(nil)
	}
	i.link.SetNotify(nil, nil)
	i.leaveGroups()
	i.neighMu.Lock()
	i.neigh.LinkDown()
	i.postEventsLocked()
	i.neighMu.Unlock()
	s.timers.set(i.neighTimer, never)
	s.timers.set(i.groups.timer, never)
	i.s.sendOutbox()
	s.tapsDown(i, true)
	i.lane.begin()
	i.link.Close()
	i.lane.end()
	s.keepCounters(i)
	s.rooms.look()
}

// removed returns what there is to say of an interface that was removed, ENODEV, or
// whose stack is closed, ENETDOWN; else nil. Its index may be another's now.
func (i *Interface) removed() error {
	switch {
	case i.s.Closed():
		return unix.ENETDOWN
	case i.s.net.Load().byIndex[i.index] != i:
		return unix.ENODEV
	default:
		return nil
	}
}

// Interfaces returns the stack's interfaces, loopback first.
func (s *Stack) Interfaces() []*Interface { return slices.Clone(s.net.Load().interfaces) }

// AddRoute adds a route; without Iface the one that reaches the gateway is
// taken. Of several routes of the same prefix and metric by different gateways the first
// whose gateway answers ARP is taken. EEXIST: it is there. ENETUNREACH: no interface reaches the gateway.
// ENODEV: there is no such interface, or none is named with OnLink.
func (s *Stack) AddRoute(r ipv4.Route) error {
	return s.configure(func(n *network) error {
		if r.OnLink && r.Iface == 0 {
			return unix.ENODEV // as ip-route(8): on which link?
		}
		if !r.Gateway.IsUnspecified() && !r.OnLink {
			iface, err := n.allRoutes.ResolveGateway(r.Gateway, r.Iface)
			if err != nil {
				return err
			}
			r.Iface = iface
		}
		if r.Iface != 0 && !n.hasIndex(r.Iface) {
			return unix.ENODEV
		}
		return n.allRoutes.Insert(r)
	})
}

// RemoveRoute removes a route, and with it what is known of the MTUs of paths that
// began with it: ESRCH if it is not there.
func (s *Stack) RemoveRoute(r ipv4.Route) error {
	return s.configure(func(n *network) error {
		if err := n.allRoutes.Delete(r); err != nil {
			return err
		}
		s.pmtuMu.Lock()
		defer s.pmtuMu.Unlock()
		s.pmtu.Forget(func(p ipv4.Path) bool {
			next := r.Gateway
			if next.IsUnspecified() {
				next = p.Dst
			}
			return p.Next == next && (r.Iface == 0 || p.Iface == int32(r.Iface)) &&
				r.Prefix.Contains(netip.AddrFrom4(p.Dst))
		})
		return nil
	})
}

// Routes returns all routes, those of addresses among them.
func (s *Stack) Routes() []ipv4.Route { return s.net.Load().allRoutes.All() }
