package oracle

// Deliberate are the differences from Linux that are meant. An entry whose cases
// all do as Linux does fails: it is to be removed.
var Deliberate = []Difference{
	{"option/SO_WIFI_STATUS", "acknowledgements of Wi-Fi frames do not come through a packet ring"},
	{"option/SO_NOFCS", "the frame check sequence is the device's"},
	{"option/SO_ZEROCOPY", "a datagram is copied once, into the ring; there are no pages to lend"},
	{"option/SO_MAX_PACING_RATE", "pacing is the kernel's queueing disciplines'; SO_TXTIME schedules"},
	{"option/SO_BUF_LOCK", "buffers are never tuned automatically, so there is nothing to lock"},
	{"option/SO_BUSY_POLL_BUDGET", "NAPI is below the ring; SO_BUSY_POLL sets how long to spin"},
	{"option/SO_PREFER_BUSY_POLL", "NAPI is below the ring; SO_BUSY_POLL sets how long to spin"},
	{"option/SO_NETNS_COOKIE", "a stack is in no network namespace"},
	{"option/IP_XFRM_POLICY", "there is no IPsec"},
	{"option/IP_CHECKSUM", "the kernel's way to pass a checksum along with a datagram; frames in the ring have been checked"},
	{"option/IP_PASSSEC", "security labels are the kernel's"},
	{"option/UDP_ENCAP", "there is no IPsec, and no tunnel in the stack"},
	{"time-out/to the microsecond", "Linux rounds SO_RCVTIMEO and SO_SNDTIMEO up to its timer's ticks, of 1 to 10 ms; here a time-out is what was asked for"},
	{"time-out/longer than the clock", "a time-out beyond the 292 years of a clock of nanoseconds is none; Linux' clock goes further"},
	{"send/sendmmsg refused", "sendmmsg sends all messages at once; Linux sends one after the other, and over loopback the first one's ICMP error stops the second"},
	{"effect/a failed connect of a connected socket", "in Linux the datagrams after the next go, by accident, to where the failed connect wanted to; here to nobody but the peer that getpeername names"},
	{"effect/segments refused", "Linux on one machine hands the segments of UDP_SEGMENT on as one packet, which is refused once; here, as on a real wire, each is"},
	{"error queue/of a long datagram, with IP_RECVORIGDSTADDR", "Linux finds a destination port in what the ICMP error quotes of the payload, if that is long enough; here there is none"},
	{"effect/IP_MTU without a cached route", "Linux tells the MTU of the route that the socket has cached, and options clear the cache: ENOTCONN until the next send; here it is asked for anew"},
	{"send/MSG_PROBE", "the kernel's own flag, with the number of the forgotten MSG_PROXY, to go through the motions of sending; no manual has it"},
	{"sendto/size 65508/PROBE", "longer than a datagram can be; Linux, on loopback, leaves EMSGSIZE as a pending error too"},
	{"sendto/size 65508/INTERFACE", "longer than a datagram can be; Linux, on loopback, takes it and sends it with a length that has overflowed"},
	{"sendmsg/size 65508/PROBE", "as for sendto"},
	{"sendmsg/size 65508/INTERFACE", "as for sendto"},
	{"sendmmsg/size 65508/PROBE", "as for sendto"},
	{"sendmmsg/size 65508/INTERFACE", "as for sendto"},
	{"socket/AF_INET SOCK_STREAM", "out-of-band there is no TCP: open the socket in-band"},
	{"socket/AF_INET SOCK_DGRAM/136", "there is no UDP-Lite"},
	{"txtime/in the past", "a datagram whose time is over is dropped, and told of in the error queue, as tc-etf(8) does; Linux without that discipline sends it"},
	{"control/late/IP_PKTINFO", "asked for only after the datagram has come: Linux has forgotten where it came by, a stack has not"},
	{"control/sent/IP_PROTOCOL", "changes the protocol of raw sockets, and nothing here"},
	{"to a group/TTL 0, no member on its own host", "such a multicast never leaves a host (RFC 1112, section 6.1); Linux sends it unless somebody of the host is a member"},
	{"broadcast/loopback's, to a device true", "127.255.255.255 by a device that is not loopback: Linux sends it, and every host drops it; here it is EHOSTUNREACH, since RFC 1122, 3.2.1.3, keeps such addresses inside a host"},
	{"place/loopback by another device", "127.0.0.1 by a device that is not loopback: Linux asks the wire for it; here it is EHOSTUNREACH, for the same reason"},
	{"ping/control/IP_RECVORIGDSTADDR", "Linux takes the ICMP checksum for a port; here it is 0"},
}

// DeliberateShared are further ones of a stack that shares the kernel's addresses. An entry
// whose cases do as Linux does in all of its worlds fails.
var DeliberateShared = []Difference{
	{"control/tags", "between two sockets on one host SO_RCVMARK and SO_RCVPRIORITY are 0: a ring on lo does not see what the sender has set"},
	{"option/SO_BUSY_POLL", "the default is the stack's own budget to spin; Linux' is net.core.busy_read, 0"},
	{"control/sent/IP_PKTINFO, both", "to an address of the host's own by lo, named: a ring on lo does not see that lo was named, and the datagram counts as having come by the device that has the address"},
	{"control/sent/IP_PKTINFO, index", "as for both"},
	{"home/UDP", "as for both, where IP_UNICAST_IF or SO_BINDTODEVICE name lo, and where 0.0.0.0 stands for the address that the sender is bound to"},
	{"home/UDP, in fragments", "as for home/UDP"},
	{"home/raw", "as for home/UDP"},
	{"home/raw ICMP", "as for home/UDP"},
	{"home/connect", "as for home/UDP"},
	{"ip options/set/record route, half a slot", "a datagram with bad options for a port of the stack's is dropped, and nobody tells its sender: the kernel never sees it, and the stack is silent on shared addresses"},
	{"ip options/sent/record route, half a slot", "as for set"},
}
