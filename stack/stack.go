package stack

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/loopback"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/event"
	"github.com/outband/outband/stack/internal/fault"
	"github.com/outband/outband/stack/internal/group"
	"github.com/outband/outband/stack/internal/loss"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/port"
	"github.com/outband/outband/stack/internal/queue"
	"github.com/outband/outband/stack/internal/random"
	"github.com/outband/outband/stack/internal/recent"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/stack/internal/times"
	"github.com/outband/outband/udp"
)

// Config is how a stack is made. The zero value is of use.
type Config struct {
	// Spin is how long a receiver without a datagram looks for one before it
	// sleeps: a duration, SpinAdaptive (the default), SpinNever or SpinAlways.
	// Sockets may have their own (SO_BUSY_POLL).
	Spin time.Duration
	// Clock tells the time; nil is the process's monotonic clock. If it is a WallClock
	// it tells the time of day too, else the system does.
	Clock Clock
	// Reassembly bounds the memory of incomplete datagrams.
	Reassembly ipv4.ReassemblyConfig
	// TxTimeSlack is how late a datagram with a time of its own (SO_TXTIME) may
	// leave: one that nobody came to send earlier is dropped, and counts as missed.
	// 0 is 10 ms.
	TxTimeSlack time.Duration
	// ICMP limits the rate of the errors that the stack sends. The zero value
	// is icmp.DefaultLimiterConfig, Linux' limits.
	ICMP icmp.LimiterConfig
	// MaxMemberships is in how many groups a socket may be, and MaxSources how many
	// sources its filter for a group may have; 0 is 20 and 10, Linux' defaults
	// (net.ipv4.igmp_max_memberships and igmp_max_msf).
	MaxMemberships, MaxSources int
	// Panics lets a panic in the stack's own work, over a frame or a timer, go on and end
	// the process, as tests want it. Otherwise it is contained: it costs the frame or the
	// event, which counts as OutbandDropFault, and Stack.Faults has a report of it.
	Panics bool
	// Limits bound what the stack keeps and does for others.
	Limits Limits
	// Ports has a say in which local ports sockets get; nil: nobody has.
	Ports PortHolder
	// Routes knows the ways from here; nil: the stack goes by its own addresses and routes.
	// RoutesChanged is for when what it has answered does not hold any more.
	Routes RouteSource
	// Loopback is the link of the interface "lo", by which what is for the host itself
	// leaves, and what Routes says is the operating system's to send; nil: the stack's own,
	// where all comes back. The stack owns it from now on. LoopbackPolicy is that interface's.
	Loopback       link.Link
	LoopbackPolicy Policy
	// Wanted is told, one call after the other, what the stack's sockets want of the frames
	// that the links see beside what is for their ports, whenever that changes; nil: nobody is.
	Wanted func(Wants)
}

// A RouteSource is whom a stack asks for routes: an operating system whose addresses it
// shares.
type RouteSource = route.Source

// A RouteQuery is what a RouteSource is asked, and a RouteAnswer what it says.
type (
	RouteQuery  = route.Query
	RouteAnswer = route.Answer
)

// What a RouteAnswer's Kind is.
const (
	ToUnicast   = route.Unicast
	ToBroadcast = route.Broadcast
	ToMulticast = route.Multicast
)

// RoutesChanged says that what Config.Routes has answered may not hold any more: each path
// asks again before it is used next.
func (s *Stack) RoutesChanged() { s.routes.Generations.Changed() }

// A PortHolder is asked for each local port, once that is the socket's as far as the
// stack is concerned, and before anything is received at it.
type PortHolder = port.Holder

// A PortRequest is what a PortHolder is asked for, a PortHold what it gives, and a
// PortPeer what that is told of.
type (
	PortRequest = port.Request
	PortHold    = port.Hold
	PortPeer    = port.Peer
)

// Stack is one host: interfaces, addresses, routes, sockets. All methods may be
// called by any goroutines at once.
type Stack struct {
	clock  times.Times
	limits Limits

	drive     drive.Driver // who leads, and where the others sleep
	lanes     lanes
	protocols protocolTable
	shared

	reasm   reassembly
	limiter errorLimiter

	panics bool // Config.Panics
	faults fault.Log

	subscriptions event.Subscriptions

	taps   tapList
	wanted wanted
	routes route.Routes
	timers *drive.Timers // the first lane's
	// gatewayTimer asks for gateways that have failed.
	gatewayTimer  *drive.Timer
	pool          queue.Pool
	receiveMemory queue.Memory
	flushes       sync.Pool
	out           output.Transmitter
	recent        recent.Destinations
	socketIDs     atomic.Uint64

	end ending

	errorsLost atomic.Uint64 // by full error queues
	links      loss.Links

	randomness random.Source

	// mu guards the configuration, as the package comment says.
	mu      sync.Mutex
	closed  bool
	sockets map[*Endpoint]struct{}
}

// shared is what lanes share: to read it takes the lock of one of them, to change it those
// of all.
type shared struct {
	groups    group.Groups
	udp       *udp.Table[*UDPSocket]
	pings     *udp.Table[*PingSocket]
	udpPorts  *port.Ports[*UDPSocket]
	pingPorts *port.Ports[*PingSocket]
	raws      *rawTable // nil: there are no raw sockets
	timed     int       // sockets that want to know when a datagram was taken
}

func (h *shared) init(s *Stack, cfg Config) {
	h.groups.Init(groupHost{allLanes{s}}, group.Limits{Memberships: cfg.MaxMemberships, Sources: cfg.MaxSources})
	h.udp = udp.NewTable[*UDPSocket](s.randomness.Next)
	h.pings = udp.NewTable[*PingSocket](s.randomness.Next)
	h.udpPorts = port.New(h.udp, allLanes{s}, ipv4.ProtocolUDP, cfg.Ports)
	h.pingPorts = port.New(h.pings, allLanes{s}, ipv4.ProtocolICMP, cfg.Ports)
	h.udp.SetCPUSource(link.CPU)
}

// flowGeneration changes whenever a groupFlow may be for other sockets. It is never 0.
func (h *shared) flowGeneration() uint64 { return 1 + h.groups.Changes() + h.udp.Changes() }

// ending is how far a stack's end has come.
type ending struct {
	closing chan struct{} // closed when Close was called
	over    atomic.Bool   // the stack is closed, and so are its sockets
	given   chan struct{} // closed when Close has given everything back
	onClose []func()      // guarded by Stack.mu
}

// New makes a stack with a loopback interface "lo" that has 127.0.0.1/8. Close
// ends it. It takes the two descriptors that sleeping needs: EMFILE or ENFILE if
// they are not to be had.
func New(cfg Config) (*Stack, error) {
	s := &Stack{
		clock:   times.Of(cfg.Clock),
		end:     ending{closing: make(chan struct{}), given: make(chan struct{})},
		sockets: make(map[*Endpoint]struct{}),
	}
	s.limits = cfg.Limits.complete()
	s.panics = cfg.Panics
	s.links.Init(func() []*route.Device { return s.routes.Net().Devices })
	s.subscriptions.Init(s.reportNeighbours)
	s.receiveMemory.Limit = int64(s.limits.ReceiveBytes)
	s.pool.Max = s.limits.PoolBytes
	s.recent.Init(s.randomness.Next())
	s.routes.Init(s.clock.Now, s.randomness.Next, s.limits.PathMTUs)
	s.routes.SetSource(cfg.Routes)
	s.wanted.tell = cfg.Wanted
	s.shared.init(s, cfg)
	if cfg.ICMP == (icmp.LimiterConfig{}) {
		cfg.ICMP = icmp.DefaultLimiterConfig()
	}
	s.limiter.l = icmp.NewLimiter(cfg.ICMP, s.randomness.Next)
	s.flushes.New = func() any { return new(flush) }
	s.drive.Init(driveHost{s}, s.clock.Clock, cfg.Spin)
	s.lanes.init(s)
	if err := s.drive.Reserve(); err != nil {
		return nil, err
	}
	s.protocols.init()
	s.timers = &s.drive.Timers
	var key [16]byte
	random.Read(key[:])
	s.out.Init(output.Config{Host: sendStack{s}, Clock: s.clock, Random: s.randomness.Next, Pool: &s.pool, Drive: &s.drive,
		Timers: s.timers, Routes: &s.routes, Ident: ipv4.NewIdentifier(key), Panics: cfg.Panics, Slack: int64(cfg.TxTimeSlack),
		Limits: output.Limits{Buffers: s.limits.TxBuffers, Outbox: s.limits.Outbox,
			Scheduled: s.limits.Scheduled, ScheduledPerSocket: s.limits.ScheduledPerSocket}})
	s.reasm.r = ipv4.NewReassembler(cfg.Reassembly)
	s.reasm.timer = drive.NewTimer(s.lanes.first.reassemblyTimers)
	s.gatewayTimer = drive.NewTimer(s.retryGateways)
	if cfg.Loopback == nil {
		cfg.Loopback = loopback.New(loopback.Options{})
	}
	if p := link.PrompterOf(cfg.Loopback); p != nil {
		s.drive.SetPrompt(p.Prompt)
	}
	lo, err := s.AddLink(cfg.Loopback, InterfaceConfig{Index: 1, Policy: cfg.LoopbackPolicy})
	if err != nil {
		return nil, err
	}
	if err := lo.AddAddress(netip.MustParsePrefix("127.0.0.1/8")); err != nil {
		return nil, err
	}
	s.drive.Start(s.end.closing)
	return s, nil
}

// Close ends the stack: sockets and links are closed, every call that waits
// returns, the housekeeper's goroutine ends. All that it held is given back when it
// returns, and when any other Close does.
func (s *Stack) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.end.given
		return nil
	}
	defer close(s.end.given)
	sockets := make([]*Endpoint, 0, len(s.sockets))
	for k := range s.sockets {
		sockets = append(sockets, k)
	}
	n := s.routes.Net()
	s.closed = true
	s.mu.Unlock()
	for _, i := range interfacesOf(n) {
		i.leaveGroups() // with one report for all, before the sockets leave one by one
	}
	close(s.end.closing)
	for _, k := range sockets {
		k.Close() // before there are no routes, so that nobody hears of that
	}
	empty := route.Empty(n.Loopback)
	s.lockLanes()
	s.storeNetworkLocked(empty)
	s.unlockLanes()
	s.routes.Generations.Changed()
	s.out.Rooms.Close()
	s.end.over.Store(true)
	s.drive.End()
	for _, f := range s.closers() {
		f()
	}
	s.drive.Ended()
	s.out.SendOutbox()
	for _, i := range slices.Backward(interfacesOf(n)) {
		s.retire(i)
	}
	s.subscriptions.Close()
	return s.drive.Close()
}

// Closed reports whether the stack is closed, and all its sockets.
func (s *Stack) Closed() bool { return s.end.over.Load() }

// OnClose has Close call f, once the sockets are closed and with no lock held, to
// give back what belongs to the stack elsewhere. If the stack is closed, f is
// called at once.
func (s *Stack) OnClose(f func()) {
	s.mu.Lock()
	if over := s.end.over.Load(); !over {
		s.end.onClose = append(s.end.onClose, f)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	f()
}

func (s *Stack) closers() []func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end.onClose
}

// isClosing reports whether Close was called.
func (s *Stack) isClosing() bool {
	select {
	case <-s.end.closing:
		return true
	default:
		return false
	}
}

// SocketInfo is one socket, as ss(8) shows it.
type SocketInfo struct {
	Proto         string // "udp", "icmp", "raw" or "packet"
	Local, Remote netip.AddrPort
	Connected     bool
	RecvQ         int // bytes charged for what is queued
	Drops         uint32
	Way           Way
}

// Sockets returns all open sockets.
func (s *Stack) Sockets() []SocketInfo {
	s.mu.Lock()
	sockets := make([]*Endpoint, 0, len(s.sockets))
	for k := range s.sockets {
		sockets = append(sockets, k)
	}
	s.mu.Unlock()
	out := make([]SocketInfo, 0, len(sockets))
	for _, k := range sockets {
		in := SocketInfo{Proto: k.kind.name(), Local: k.kind.LocalAddr(), Drops: k.Drops(), Way: k.Way()}
		in.Remote, in.Connected = k.kind.RemoteAddr()
		in.RecvQ = int(k.queue.Charged())
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b SocketInfo) int { return a.Local.Compare(b.Local) })
	return out
}

// Limits bound what a stack keeps and does for others. A field that is 0 has its
// default. Limits of one protocol are in that protocol's own configuration (arp.Config,
// igmp.Config, icmp.LimiterConfig, ipv4.ReassemblyConfig), those of one socket are its
// options. What happens at each limit, and what counts it, is in AllLimits.
type Limits struct {
	// GroupFlows is for how many addresses and ports of multicasts and broadcasts the
	// sockets are remembered, 65536; GroupFlowSockets how many sockets those name,
	// 1048576, which one more may exceed. Beyond, all are looked for anew.
	GroupFlows, GroupFlowSockets int
	// Sockets is how many there may be, 1048576.
	Sockets int
	// ReceiveBytes is how much all sockets' queues hold together, 1 GiB by Linux'
	// reckoning (udp_mem in ip-sysctl.rst). Each may hold 4 KiB whatever others do.
	ReceiveBytes int
	// Outbox is how many answers of the stack's own wait to be sent, 1024.
	Outbox int
	// Scheduled is how many frames wait for their time (SO_TXTIME), 8192, and
	// ScheduledPerSocket how many of them are of one socket, 4096.
	Scheduled, ScheduledPerSocket int
	// PathMTUs is of how many paths the MTU that ICMP taught is remembered, 4096.
	PathMTUs int
	// TxBuffers is how many transmit buffers are kept beside those at hand, 64: as many
	// goroutines send at once without making one.
	TxBuffers int
	// PoolBytes is how much memory of buffers is kept for the next ones, 16 MiB.
	PoolBytes int
}

// fields are the limits with their defaults.
func (l *Limits) fields() []struct {
	v   *int
	def int
} {
	return []struct {
		v   *int
		def int
	}{
		{&l.GroupFlows, 1 << 16}, {&l.GroupFlowSockets, 1 << 20}, {&l.Sockets, 1 << 20}, {&l.ReceiveBytes, 1 << 30},
		{&l.Outbox, 1024}, {&l.Scheduled, 8192}, {&l.ScheduledPerSocket, 4096}, {&l.PathMTUs, 4096},
		{&l.TxBuffers, 64}, {&l.PoolBytes, 16 << 20},
	}
}

func (l Limits) complete() Limits {
	for _, f := range l.fields() {
		if *f.v <= 0 {
			*f.v = f.def
		}
	}
	return l
}

// A Limit is one limit of a stack.
type Limit struct {
	Name    string // of the field: "Limits.Outbox", "arp.Config.MaxEntries"
	Unit    string
	Reached string // what happens then
	Counter string // what counts it, "" if the caller is told by an error
}

// AllLimits returns every limit of a stack: what strangers and programs can make it keep.
func AllLimits() []Limit {
	return []Limit{
		{"Limits.GroupFlows", "flows", "the sockets of further ones are looked for anew each time", ""},
		{"Limits.GroupFlowSockets", "sockets", "as for GroupFlows", ""},
		{"Limits.Sockets", "sockets", "NewSocket and its kin return ENFILE", ""},
		{"Limits.ReceiveBytes", "bytes", "datagrams are dropped, unless their socket's queue holds less than 4 KiB; errors too", "OutbandReceiveMemoryFull"},
		{"Limits.Outbox", "packets", "answers are dropped", "IpOutDiscards"},
		{"Limits.Scheduled", "frames", "datagrams with a time are dropped, ENOBUFS", "OutbandDropTxTimeQueueFull"},
		{"Limits.ScheduledPerSocket", "frames", "as for Scheduled", "OutbandDropTxTimeQueueFull"},
		{"Limits.PathMTUs", "paths", "the one updated longest ago is forgotten", ""},
		{"Limits.TxBuffers", "buffers", "further ones are given back to the collector", ""},
		{"Limits.PoolBytes", "bytes", "further ones are given back to the collector", ""},
		{"Config.MaxMemberships", "groups of a socket", "joins return ENOBUFS", ""},
		{"Config.MaxSources", "sources of a group", "ENOBUFS", ""},
		{"SO_RCVBUF", "bytes of a queue, and of an error queue", "datagrams and errors are dropped", "UdpRcvbufErrors, OutbandErrorQueueFull"},
		{"SO_SNDBUF", "bytes of what waits to be sent", "sends wait, or return EAGAIN", ""},
		{"arp.Config.MaxEntries", "neighbours", "one is evicted: failed ones first, then what strangers have caused", ""},
		{"arp.Config.MaxAddresses", "own addresses", "AddAddress returns EINVAL", ""},
		{"arp.Config.MaxEvents", "packets to send", "replies and announcements are not sent", "OutbandArpEventBacklog"},
		{"arp.Config.MaxConflicts", "conflicts", "further addresses are probed for once in RateLimitInterval", ""},
		{"arp.Config.QueueLen", "datagrams that wait for one neighbour", "the oldest is dropped", "OutbandDropNeighbourQueueFull"},
		{"arp.Config.QueueBytes", "bytes of those", "the oldest is dropped", "OutbandDropNeighbourQueueFull"},
		{"arp.Config.TotalQueueBytes", "bytes that wait for all neighbours", "the datagram is dropped", "OutbandDropNeighbourQueueFull"},
		{"arp.Config.AnswerQueueLen", "answers to strangers that wait for one neighbour", "the oldest is dropped", "OutbandDropNeighbourQueueFull"},
		{"arp.Config.AnswerQueueBytes", "bytes of answers that wait for all neighbours", "the oldest are dropped", "OutbandDropNeighbourQueueFull"},
		{"arp.Config.MaxAnswering", "neighbours asked for to answer strangers", "the oldest is given up", ""},
		{"igmp.Config.MaxLeaving", "groups that were left", "their leave is sent once, and not repeated", ""},
		{"igmp.Config.MaxDeadSources", "sources that no filter names any more", "a group's whole filter is reported instead", ""},
		{"igmp.Config.MaxQuerySources", "sources of queries", "the group's whole filter is reported", ""},
		{"igmp.Config.MaxQueue", "bytes of reports", "they are not sent, and repeated as if they had been", ""},
		{"ipv4.ReassemblyConfig.HighThresh", "bytes of fragments", "the oldest datagram is given up", "IpReasmFails"},
		{"ipv4.ReassemblyConfig.MaxDist", "fragments of others in between", "what came before is given up", ""},
		{"icmp.LimiterConfig.MsgsPerSec", "errors a second, to all hosts", "no error is sent", "IcmpOutRateLimitHost"},
		{"icmp.LimiterConfig.RateLimit", "time between two errors to a host", "no error is sent", "IcmpOutRateLimitHost"},
		{"icmp.LimiterConfig.MaxHosts", "hosts", "the one that got nothing for longest is forgotten", ""},
	}
}

// A Clock tells the time to a stack: nanoseconds since any fixed moment, never
// going back (CLOCK_MONOTONIC). It may be called by any goroutine.
type Clock = times.Clock

// A WallClock is a Clock that tells the time of day too: that of time stamps, which
// other hosts and the kernel's stamps are compared with. A Clock that is none has the
// system's time of day beside it.
type WallClock = times.WallClock

// never is the deadline that does not come.
const never = times.Never

// WallTime returns the time of day in nanoseconds since the Unix epoch, as the stack
// stamps with it: Config.Clock's if that is a WallClock.
func (s *Stack) WallTime() int64 { return s.clock.Wall() }

// Monotonic returns the time in nanoseconds of CLOCK_MONOTONIC, as the stack's
// clock has it.
func (s *Stack) Monotonic() int64 { return s.clock.Monotonic() }

// DeadlineAt returns the deadline, for the calls that take one, at a time of
// CLOCK_MONOTONIC.
func (s *Stack) DeadlineAt(monotonic int64) int64 { return s.clock.DeadlineAt(monotonic) }
