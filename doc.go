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
//   - Programs that take a net.PacketConn or a net.Conn: this package. [Host.ListenPacket],
//     [Host.Dial] and [Host.Join] are enough for most; [Host.Net] has all of package net's
//     calls for UDP and IP (package gonet), with batches, options and control messages in
//     the shape of golang.org/x/net/ipv4.
//   - Programs written in the way of BSD or EVL: [Host.Socket] and [Host.API] (package
//     sockapi): options, control messages, the error queue, epoll, as on Linux.
//   - Who watches programs: [WithLogger], [Host.Events], package metrics for Prometheus and
//     expvar, runtime/trace for where they sleep.
//   - Who adds links, addresses, routes and policies of their own: packages stack and link,
//     with link/pipe and link/fault to test against.
//   - Who shares the host's addresses in another way than [Open] does: package shared.
//
// pion, WireGuard and libp2p have adapters in modules of their own, below adapters/.
//
// # Two ways to have an address
//
// By default the stack uses the kernel's addresses: the ports of its sockets go out-of-band,
// all else of the host stays in-band, and nothing is configured. With [WithAddress] it has one
// of its own, and answers for it.
//
// # What is stable
//
// There is no release yet. What is meant to stay is in api/next.txt, which each change of it
// changes: this package, gonet, sockapi, metrics, shared, the links, and of package stack what
// makes and configures one. The protocols' packages, and the rest of stack, may change with any
// commit.
//
// # Spinning, sleeping and Go
//
// A call that waits looks for its datagram for a while, and then sleeps ([WithSpin]). A thread
// that spins takes a CPU. What it takes to have the latency that is in README, by how much it
// was seen to matter (two CPUs that others loaded, veth, round trips of 64 bytes spinning at both
// ends; the medians differ little, the tails do):
//
//   - Real-time priority (chrt -f 10 PROGRAM): without it p99 was 106 us, with it 3.7 us, since
//     nothing else runs on the CPU of a thread that spins. The kernel stops such threads for 50 ms
//     in each second if nothing else gets to run (sched_rt_runtime_us), so let them sleep at
//     times, or have a CPU more.
//   - The collector: a program that made 50 MB of garbage a second, with 20 MB in use, had p99.9 of
//     1.6 us with GOGC=100 and 0.5 us with GOGC=400, and a worst case of 1 to 2 ms and 0.1 ms.
//     The stack allocates nothing for a datagram, so a program that does not either has no
//     collections. Else GOGC=off with GOMEMLIMIT, or a GOGC as high as memory allows.
//   - GOMAXPROCS of one more than threads that spin, so that the collector and the housekeeper
//     have one: with GOMAXPROCS=1 the medians were the same, and the worst case 0.4 to 4 ms.
//   - A CPU of its own for each thread that spins ([WithCPU] and [Pin], which lock the goroutine to
//     its thread): with nothing else to run that made no difference, and it keeps the scheduler from moving
//     the thread when there is. isolcpus and nohz_full on that CPU (kernel command line) keep
//     the rest off; that was not measured.
//   - The budget: [stack.SpinAlways] for the least latency, the default where a CPU is not to be
//     had for it alone, [stack.SpinNever] where datagrams are rare.
//
// Of the goroutines that wait one drives the stack for the others, but all that spin take a CPU: many that
// wait for different sockets are better asleep, or wait by one sockapi.Epoll.
//
// # When not to use it
//
// Where a microsecond does not matter: the kernel's sockets are at home with firewalls,
// tracing and quotas, and this is not. Where the traffic is TCP or IPv6. Where no CPU can be
// spared and datagrams are rare: asleep, both take about the same time. Where the network
// drops addresses that it has not given, as clouds do, only the kernel's addresses work.
package outband
