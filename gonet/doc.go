// Package gonet gives the types of package net over a stack: what takes a [net.PacketConn] or
// a [net.Conn] runs over it as it is.
//
//	n := gonet.New(api) // a *sockapi.API
//	c, err := n.ListenPacket("udp", ":53")
//
// A [Net] has the calls of package net: ListenPacket, ListenUDP, DialUDP, Dial,
// ListenMulticastUDP; [ListenConfig] and [Dialer] take a context. They return a
// [UDPConn], which has the methods of *net.UDPConn but SyscallConn and File: there is no
// descriptor of the kernel's to set options on, but for what [WithSyscallConn] makes up for
// programs that insist. [NewPacketConn] has options, groups
// and control messages, as golang.org/x/net/ipv4 has for package net's.
//
// # What is as in package net
//
// Package net is the specification: results, the types, texts and layers of errors, when a
// deadline counts and what Close ends, how long datagrams are cut, how often a call
// allocates. An error is a *net.OpError around an *os.SyscallError around a
// syscall.Errno, so that errors.Is finds unix.ECONNREFUSED, and so on; after a
// deadline errors.Is finds os.ErrDeadlineExceeded, after Close net.ErrClosed.
//
// # What is not
//
//   - The stack has IPv4 only. "udp" is "udp4", and so is an unspecified IPv6
//     address with "udp": a listener is at 0.0.0.0. Other IPv6 addresses, and "udp6", are
//     refused as package net refuses them on a host without IPv6.
//   - Control gets a *sockapi.Socket in place of a syscall.RawConn.
//   - Waits do not hold a thread in the kernel's poller: the goroutine that reads drives the
//     stack. See package stack. Before it sleeps it lets goroutines run that the caller has
//     just started, as package net does (sockapi.Socket.SetYield).
//   - Names are resolved by [Net.Resolver], which asks in-band unless it is set up
//     otherwise.
package gonet
