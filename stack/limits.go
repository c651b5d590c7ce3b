package stack

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
