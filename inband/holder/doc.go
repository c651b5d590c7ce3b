// Package holder holds ports by in-band UDP sockets, for a stack that shares the kernel's
// addresses.
//
// A [Hold] is one port of one of the stack's sockets. The in-band socket behind it is
// bound as that socket is to be, so that the kernel decides: it gives bind(2)'s errors,
// chooses ports, keeps other programs from the port, shows it in ss(8), and frees it when
// the process ends, however it ends. While it is there the kernel sends no port
// unreachable for the port, and learns path MTUs from ICMP errors about its datagrams.
//
// It is the safety net too. A device that has a ring of the stack's ([Holders.SetRings])
// is the ring's: the socket's filter drops what comes by it. What comes by any other
// device, and the copies of multicasts and broadcasts that this host itself sends, which
// no ring sees, stays in the in-band socket's queue, and [Holders.Receive] takes it from there.
//
// A port that others may have too (SO_REUSEADDR, SO_REUSEPORT; [Hold.Share]) is otherwise:
// only the kernel knows which of all sockets each unicast datagram is for. So the in-band
// socket keeps those whatever they came by, and what the ring has of them is nobody's.
// Multicasts and broadcasts, of which every socket has its own, are the ring's there too.
//
// ICMP errors about what was sent from the port are kept in the same way: see
// [Datagram.Error].
//
// # One socket for several Holds
//
// Holds with SO_REUSEPORT on the same address, port and device share one socket, since the
// stack distributes among them by itself. One that connects gets a socket of its own. All
// else has a socket of its own from the beginning: if two Holds have one port by
// SO_REUSEADDR, the kernel gives each a copy of a group's datagram, as it would in-band.
// Datagram.Holder says by which of them a datagram came, and is the only thing that tells
// the copies apart.
//
// # Limits
//
// A Hold is a file descriptor (RLIMIT_NOFILE). What waits in it is bounded by
// net.core.rmem_default, and what finds no room there is counted by the kernel
// (UdpRcvbufErrors), not here: the kernel's counter per socket counts what the filter
// drops as well. A thread in another network namespace needs CAP_SYS_ADMIN to Hold.
package holder
