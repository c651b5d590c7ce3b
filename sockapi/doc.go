// Package sockapi is BSD sockets over a stack: the calls, options, flags and
// errors of socket(2) and its kin, with the constants and errnos of
// golang.org/x/sys/unix.
//
// An [API] opens sockets for one stack:
//
//	s, err := api.Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
//
// SOCK_OOB makes the socket out-of-band: the stack's. Without it the same call
// gives a socket of the kernel's, in-band, behind the same methods, so that
// moving a program from one to the other is one flag.
//
// Linux is the specification: a call on an out-of-band socket returns what the
// same call on a kernel socket returns, errno for errno. Errors are unix.Errno
// values, to be compared directly:
//
//	if err == unix.EAGAIN { ... }
//
// Beside the calls of BSD there are some for Go: options by name ([Socket.SetTTL]),
// groups by netip ([Socket.JoinGroup]), deadlines that end waits in progress
// ([Socket.SetReadDeadline]). Package gonet has the types of package net.
//
// All methods may be called by any goroutines at once. Buffers are the
// caller's, and not kept when a call has returned.
//
// # Where things are
//
// A [Socket] forwards its calls to one of two backends (backend.go): stackSocket, in
// stack*.go, over package stack, or the kernel's. Below them are the packages of internal:
//
//   - option: a table of the options of out-of-band sockets, and what they say
//   - ancillary: what control messages ask for, and which are told with a datagram
//   - cmsg: control messages as they are in memory
//   - epoll: sets of sockets that are waited for together (epoll(7))
//   - readiness: how an out-of-band socket tells the kernel's world that it is ready
//   - ioctl: what ioctl(2) tells of interfaces and of received datagrams
//   - kernel: in-band sockets, by system calls
package sockapi
