// Package host is a link to the kernel's own IP layer: the loopback side of a stack that
// shares the kernel's addresses. It stands in such a stack in place of link/loopback.
//
// # Out
//
// A frame that is sent loses its Ethernet header and goes to the kernel by a raw socket
// (raw(7), IP_HDRINCL), which routes it: to the host's own addresses by lo, or out of any
// of its devices, named by [link.TxFrame.Device] or chosen by the kernel. Its queueing
// disciplines, netfilter and neighbours apply. So the stack reaches what no ring does: the
// host itself, for which a packet socket on lo would send martians, and devices that carry no
// Ethernet. Groups and broadcasts come back to in-band members and to holders, as those of
// an in-band socket with IP_MULTICAST_LOOP do.
//
// # In
//
// Frames come from two places. A ring on lo, which is another link, sees what the host
// sends to itself. The holders, in-band sockets that hold the stack's ports (package
// inband/holder), have what no ring sees; out of that the link makes frames: Ethernet,
// IPv4 and UDP headers in its own memory, around the payload where the kernel has put it.
// What the kernel does not tell is not there: identification and "don't fragment" are 0,
// and so is the UDP checksum, which the kernel has verified. [link.Meta] says by which
// device and by which holder it came. ICMP errors about what the stack has sent come as
// such, quoting a datagram of which but the addresses, the ports and the payload are true.
//
// # Looking at the holders
//
// To look costs a system call, so a goroutine that spins, or that is kept busy by the
// ring, looks once in [LookInterval] only; but again at once after it has found
// something, while the ring has nothing. A sleeper is woken by either at once: FD is an
// epoll(7) over both, which must not be given to Go's netpoller.
package host
