// Package outband is a UDP/IPv4 network stack that a program links, beside the kernel's:
// datagrams come from a packet ring in the process's memory and reach the program without a
// step through the kernel's IP layer, and without a wake-up where the program spins.
//
//	h, err := outband.Open(ctx, "eth1")      // on the address that eth1 has
//	defer h.Close()
//	c, err := h.ListenPacket("udp", ":7777") // a net.PacketConn
//
// # Which package is for whom
//
//   - Programs that take a net.PacketConn or a net.Conn: this package. [Host.Net] has all of
//     package net's calls for UDP and IP (package gonet).
//   - Programs written in the way of BSD or EVL: [Host.Socket] and [Host.API] (package
//     sockapi): options, control messages, the error queue, epoll, as on Linux.
//   - Who adds links, addresses, routes and policies of their own: packages stack and link.
//   - Who shares the host's addresses in another way than [Open] does: package shared.
//
// # Two ways to have an address
//
// By default the stack uses the kernel's addresses: the ports of its sockets go out-of-band,
// all else of the host stays in-band, and nothing is configured. With [WithAddress] it has one
// of its own, and answers for it.
//
// # Spinning, sleeping and Go
//
// A call that waits looks for its datagram for a while, and then sleeps ([WithSpin]). A thread
// that spins takes a CPU. What has been seen to matter for latency, in this order: a CPU for
// each thread that spins (runtime.LockOSThread, sched_setaffinity(2), isolcpus), real-time
// priority on it (sched_setattr(2): it keeps other threads off), GOMAXPROCS of at least one
// more than threads that spin, so that the collector and the housekeeper have one, and few
// allocations in the program itself: the stack makes none for a datagram.
//
// The priority is for the thread that spins, with SCHED_FLAG_RESET_ON_FORK, and not for the
// process (chrt -f 10): Go's runtime has loops in which one thread waits for another without
// sleeping, and where real-time threads have every CPU, that other one never runs. With no
// spare CPU, the collector is better off (GOGC=off) while such a thread spins.
//
// # When not to use it
//
// Where a microsecond does not matter: the kernel's sockets are at home with firewalls,
// tracing and quotas, and this is not. Where the traffic is TCP or IPv6. Where no CPU can be
// spared and datagrams are rare: asleep, both take about the same time.
package outband
