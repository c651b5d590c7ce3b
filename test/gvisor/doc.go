// Package gvisor compares the stack with another one that was written apart from
// it, gVisor's netstack, in memory:
//
//   - The differential test gives both the same frames, valid ones and ones that
//     are not quite, and compares what their sockets receive and what they send
//     in answer. Where they may differ, a table says why.
//   - The benchmarks take the time of a datagram in and of a datagram out, in
//     both, in one run.
//
// It is a module of its own, so that nobody who uses the stack gets netstack's
// dependencies.
package gvisor
