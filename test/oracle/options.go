package oracle

import "golang.org/x/sys/unix"

// kind is the type of an option's value.
type kind uint8

const (
	toggle   kind = iota // int, on or off
	number               // int
	readonly             // int that cannot be set
	timeval              // struct timeval
	linger               // struct linger
	other                // something else: cases of their own say what
)

// An Option is a row of the table that families of cases are made of.
type Option struct {
	Level, Number int
	Name          string
	kind          kind
	values        []int // worth setting, beside those of its kind
	varies        bool  // its value is not the same twice: only its length is compared
}

// Numbers that x/sys/unix has no names for.
const (
	soTimestampOld = 29
	soRcvPriority  = 82
	soPassRights   = 83
	soPassPidfd    = 76
	soPeerPidfd    = 77
	ipProtocol     = 52
	ipLocalRange   = 51
)

// Options are all that Linux has for a datagram socket of IPv4, and some that it
// has for others.
var Options = []Option{
	{unix.SOL_SOCKET, unix.SO_DEBUG, "SO_DEBUG", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_REUSEADDR, "SO_REUSEADDR", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_TYPE, "SO_TYPE", readonly, nil, false},
	{unix.SOL_SOCKET, unix.SO_ERROR, "SO_ERROR", readonly, nil, false},
	{unix.SOL_SOCKET, unix.SO_DONTROUTE, "SO_DONTROUTE", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_BROADCAST, "SO_BROADCAST", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_SNDBUF, "SO_SNDBUF", number, buffers, false},
	{unix.SOL_SOCKET, unix.SO_RCVBUF, "SO_RCVBUF", number, buffers, false},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE, "SO_KEEPALIVE", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_OOBINLINE, "SO_OOBINLINE", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_NO_CHECK, "SO_NO_CHECK", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_PRIORITY, "SO_PRIORITY", number, []int{5, 6, 7, 8, 15, 1 << 16}, false},
	{unix.SOL_SOCKET, unix.SO_LINGER, "SO_LINGER", linger, nil, false},
	{unix.SOL_SOCKET, unix.SO_BSDCOMPAT, "SO_BSDCOMPAT", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_REUSEPORT, "SO_REUSEPORT", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_PASSCRED, "SO_PASSCRED", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_PEERCRED, "SO_PEERCRED", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_RCVLOWAT, "SO_RCVLOWAT", number, []int{100, 65536}, false},
	{unix.SOL_SOCKET, unix.SO_SNDLOWAT, "SO_SNDLOWAT", readonly, nil, false},
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO, "SO_RCVTIMEO", timeval, nil, false},
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO, "SO_SNDTIMEO", timeval, nil, false},
	{unix.SOL_SOCKET, unix.SO_SECURITY_AUTHENTICATION, "SO_SECURITY_AUTHENTICATION", number, nil, false},
	{unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "SO_BINDTODEVICE", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, "SO_ATTACH_FILTER", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_DETACH_FILTER, "SO_DETACH_FILTER", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_PEERNAME, "SO_PEERNAME", other, nil, false},
	{unix.SOL_SOCKET, soTimestampOld, "SO_TIMESTAMP", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_ACCEPTCONN, "SO_ACCEPTCONN", readonly, nil, false},
	{unix.SOL_SOCKET, unix.SO_PEERSEC, "SO_PEERSEC", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, "SO_SNDBUFFORCE", number, buffers, false},
	{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, "SO_RCVBUFFORCE", number, buffers, false},
	{unix.SOL_SOCKET, unix.SO_PASSSEC, "SO_PASSSEC", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, "SO_TIMESTAMPNS", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_MARK, "SO_MARK", number, []int{1 << 16}, false},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING, "SO_TIMESTAMPING", number,
		[]int{1 << 3, 1 << 4, 1<<3 | 1<<4, 1 << 7, 1<<7 | 1<<11, 1 << 12, 1 << 16, 1<<16 | 1<<7, 1 << 17, 1 << 18, 1 << 19, 1 << 20}, false},
	{unix.SOL_SOCKET, unix.SO_PROTOCOL, "SO_PROTOCOL", readonly, nil, false},
	{unix.SOL_SOCKET, unix.SO_DOMAIN, "SO_DOMAIN", readonly, nil, false},
	{unix.SOL_SOCKET, unix.SO_RXQ_OVFL, "SO_RXQ_OVFL", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_WIFI_STATUS, "SO_WIFI_STATUS", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_PEEK_OFF, "SO_PEEK_OFF", number, []int{10}, false},
	{unix.SOL_SOCKET, unix.SO_NOFCS, "SO_NOFCS", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_LOCK_FILTER, "SO_LOCK_FILTER", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_SELECT_ERR_QUEUE, "SO_SELECT_ERR_QUEUE", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_BUSY_POLL, "SO_BUSY_POLL", number, []int{50, 1000}, false},
	{unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, "SO_MAX_PACING_RATE", number, []int{1 << 20}, false},
	{unix.SOL_SOCKET, unix.SO_BPF_EXTENSIONS, "SO_BPF_EXTENSIONS", readonly, nil, false},
	{unix.SOL_SOCKET, unix.SO_INCOMING_CPU, "SO_INCOMING_CPU", number, nil, false},
	{unix.SOL_SOCKET, unix.SO_ATTACH_BPF, "SO_ATTACH_BPF", number, nil, false},
	{unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, "SO_ATTACH_REUSEPORT_CBPF", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, "SO_ATTACH_REUSEPORT_EBPF", number, nil, false},
	{unix.SOL_SOCKET, unix.SO_CNX_ADVICE, "SO_CNX_ADVICE", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_MEMINFO, "SO_MEMINFO", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID, "SO_INCOMING_NAPI_ID", readonly, nil, false},
	{unix.SOL_SOCKET, unix.SO_COOKIE, "SO_COOKIE", other, nil, true},
	{unix.SOL_SOCKET, unix.SO_PEERGROUPS, "SO_PEERGROUPS", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_ZEROCOPY, "SO_ZEROCOPY", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_TXTIME, "SO_TXTIME", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, "SO_BINDTOIFINDEX", number, []int{3, 99}, false},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMP_NEW, "SO_TIMESTAMP_NEW", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, "SO_TIMESTAMPNS_NEW", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, "SO_TIMESTAMPING_NEW", number, []int{1 << 3, 1 << 4, 1 << 7, 1 << 20}, false},
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO_NEW, "SO_RCVTIMEO_NEW", timeval, nil, false},
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO_NEW, "SO_SNDTIMEO_NEW", timeval, nil, false},
	{unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, "SO_DETACH_REUSEPORT_BPF", other, nil, false},
	{unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL, "SO_PREFER_BUSY_POLL", toggle, nil, false},
	{unix.SOL_SOCKET, unix.SO_BUSY_POLL_BUDGET, "SO_BUSY_POLL_BUDGET", number, nil, false},
	{unix.SOL_SOCKET, unix.SO_NETNS_COOKIE, "SO_NETNS_COOKIE", other, nil, true},
	{unix.SOL_SOCKET, unix.SO_BUF_LOCK, "SO_BUF_LOCK", number, []int{3, 4}, false},
	{unix.SOL_SOCKET, unix.SO_RESERVE_MEM, "SO_RESERVE_MEM", number, nil, false},
	{unix.SOL_SOCKET, unix.SO_TXREHASH, "SO_TXREHASH", number, nil, false},
	{unix.SOL_SOCKET, unix.SO_RCVMARK, "SO_RCVMARK", toggle, nil, false},
	{unix.SOL_SOCKET, soPassPidfd, "SO_PASSPIDFD", toggle, nil, false},
	{unix.SOL_SOCKET, soPeerPidfd, "SO_PEERPIDFD", other, nil, false},
	{unix.SOL_SOCKET, soRcvPriority, "SO_RCVPRIORITY", toggle, nil, false},
	{unix.SOL_SOCKET, soPassRights, "SO_PASSRIGHTS", toggle, nil, false},

	{unix.SOL_IP, unix.IP_TOS, "IP_TOS", number, []int{4, 16, 32, 160, 184, 252, 254, 257}, false},
	{unix.SOL_IP, unix.IP_TTL, "IP_TTL", number, []int{64}, false},
	{unix.SOL_IP, unix.IP_HDRINCL, "IP_HDRINCL", toggle, nil, false},
	{unix.SOL_IP, unix.IP_OPTIONS, "IP_OPTIONS", other, nil, false},
	{unix.SOL_IP, unix.IP_ROUTER_ALERT, "IP_ROUTER_ALERT", toggle, nil, false},
	{unix.SOL_IP, unix.IP_RECVOPTS, "IP_RECVOPTS", toggle, nil, false},
	{unix.SOL_IP, unix.IP_RETOPTS, "IP_RETOPTS", toggle, nil, false},
	{unix.SOL_IP, unix.IP_PKTINFO, "IP_PKTINFO", toggle, nil, false},
	{unix.SOL_IP, unix.IP_PKTOPTIONS, "IP_PKTOPTIONS", other, nil, false},
	{unix.SOL_IP, unix.IP_MTU_DISCOVER, "IP_MTU_DISCOVER", number, []int{3, 4, 5, 6}, false},
	{unix.SOL_IP, unix.IP_RECVERR, "IP_RECVERR", toggle, nil, false},
	{unix.SOL_IP, unix.IP_RECVTTL, "IP_RECVTTL", toggle, nil, false},
	{unix.SOL_IP, unix.IP_RECVTOS, "IP_RECVTOS", toggle, nil, false},
	{unix.SOL_IP, unix.IP_MTU, "IP_MTU", readonly, nil, false},
	{unix.SOL_IP, unix.IP_FREEBIND, "IP_FREEBIND", toggle, nil, false},
	{unix.SOL_IP, unix.IP_XFRM_POLICY, "IP_XFRM_POLICY", other, nil, false},
	{unix.SOL_IP, unix.IP_PASSSEC, "IP_PASSSEC", toggle, nil, false},
	{unix.SOL_IP, unix.IP_TRANSPARENT, "IP_TRANSPARENT", toggle, nil, false},
	{unix.SOL_IP, unix.IP_RECVORIGDSTADDR, "IP_RECVORIGDSTADDR", toggle, nil, false},
	{unix.SOL_IP, unix.IP_MINTTL, "IP_MINTTL", number, []int{64}, false},
	{unix.SOL_IP, unix.IP_NODEFRAG, "IP_NODEFRAG", toggle, nil, false},
	{unix.SOL_IP, unix.IP_CHECKSUM, "IP_CHECKSUM", toggle, nil, false},
	{unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT", toggle, nil, false},
	{unix.SOL_IP, unix.IP_RECVFRAGSIZE, "IP_RECVFRAGSIZE", toggle, nil, false},
	{unix.SOL_IP, unix.IP_RECVERR_RFC4884, "IP_RECVERR_RFC4884", toggle, nil, false},
	{unix.SOL_IP, unix.IP_MULTICAST_IF, "IP_MULTICAST_IF", other, nil, false},
	{unix.SOL_IP, unix.IP_MULTICAST_TTL, "IP_MULTICAST_TTL", number, nil, false},
	{unix.SOL_IP, unix.IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP", toggle, nil, false},
	{unix.SOL_IP, unix.IP_MULTICAST_ALL, "IP_MULTICAST_ALL", toggle, nil, false},
	{unix.SOL_IP, unix.IP_ADD_MEMBERSHIP, "IP_ADD_MEMBERSHIP", other, nil, false},
	{unix.SOL_IP, unix.IP_DROP_MEMBERSHIP, "IP_DROP_MEMBERSHIP", other, nil, false},
	{unix.SOL_IP, unix.IP_ADD_SOURCE_MEMBERSHIP, "IP_ADD_SOURCE_MEMBERSHIP", other, nil, false},
	{unix.SOL_IP, unix.IP_DROP_SOURCE_MEMBERSHIP, "IP_DROP_SOURCE_MEMBERSHIP", other, nil, false},
	{unix.SOL_IP, unix.IP_BLOCK_SOURCE, "IP_BLOCK_SOURCE", other, nil, false},
	{unix.SOL_IP, unix.IP_UNBLOCK_SOURCE, "IP_UNBLOCK_SOURCE", other, nil, false},
	{unix.SOL_IP, unix.IP_MSFILTER, "IP_MSFILTER", other, nil, false},
	{unix.SOL_IP, unix.MCAST_JOIN_GROUP, "MCAST_JOIN_GROUP", other, nil, false},
	{unix.SOL_IP, unix.MCAST_LEAVE_GROUP, "MCAST_LEAVE_GROUP", other, nil, false},
	{unix.SOL_IP, unix.MCAST_JOIN_SOURCE_GROUP, "MCAST_JOIN_SOURCE_GROUP", other, nil, false},
	{unix.SOL_IP, unix.MCAST_LEAVE_SOURCE_GROUP, "MCAST_LEAVE_SOURCE_GROUP", other, nil, false},
	{unix.SOL_IP, unix.MCAST_BLOCK_SOURCE, "MCAST_BLOCK_SOURCE", other, nil, false},
	{unix.SOL_IP, unix.MCAST_UNBLOCK_SOURCE, "MCAST_UNBLOCK_SOURCE", other, nil, false},
	{unix.SOL_IP, unix.MCAST_MSFILTER, "MCAST_MSFILTER", other, nil, false},
	{unix.SOL_IP, unix.IP_UNICAST_IF, "IP_UNICAST_IF", number, []int{1 << 24, 2 << 24, 9 << 24}, false},
	{unix.SOL_IP, ipLocalRange, "IP_LOCAL_PORT_RANGE", number,
		[]int{1000, 2000 << 16, 2000<<16 | 1000, 1000<<16 | 2000, 1000<<16 | 1000}, false},
	{unix.SOL_IP, ipProtocol, "IP_PROTOCOL", readonly, nil, false},

	{unix.SOL_UDP, unix.UDP_CORK, "UDP_CORK", toggle, nil, false},
	{unix.SOL_UDP, unix.UDP_ENCAP, "UDP_ENCAP", number, nil, false},
	{unix.SOL_UDP, unix.UDP_NO_CHECK6_TX, "UDP_NO_CHECK6_TX", toggle, nil, false},
	{unix.SOL_UDP, unix.UDP_NO_CHECK6_RX, "UDP_NO_CHECK6_RX", toggle, nil, false},
	{unix.SOL_UDP, unix.UDP_SEGMENT, "UDP_SEGMENT", number, []int{1000, 1472, 65536}, false},
	{unix.SOL_UDP, unix.UDP_GRO, "UDP_GRO", toggle, nil, false},

	{unix.SOL_RAW, icmpFilter, "ICMP_FILTER", other, nil, false},
}

// icmpFilter is ICMP_FILTER of linux/icmp.h (raw(7)).
const icmpFilter = 1

// buffers are sizes around the floors and limits of socket buffers, in bytes.
var buffers = []int{1151, 1152, 1153, 2303, 2304, 2305, 4096, 4608, 100000}

// kindValues are what is worth setting for any option of a kind.
var kindValues = map[kind][]int{
	toggle:   {-1, 0, 1, 2, 256},
	number:   {-1 << 31, -2, -1, 0, 1, 2, 127, 128, 255, 256, 65535, 1<<31 - 1},
	readonly: {0, 1},
	other:    {0},
}
