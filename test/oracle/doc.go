// Package oracle is the judge of "as Linux does it": the same calls are made on
// the kernel's sockets and on ours, and what comes back is compared.
//
// A [World] is two hosts, near and far, joined by a wire:
//
//	near 10.9.0.1 ---------- 10.9.0.2 far
//
// In the in-band world they are network namespaces joined by a veth pair, and
// sockets are the kernel's. In an out-of-band world they are two of our stacks,
// joined by a pipe in memory or by packet rings over a veth pair. Devices have
// the same names, indices, hardware addresses and MTUs everywhere, so that
// nothing needs translation but the ports that a host chose itself.
//
// A [Case] is a script: a function that makes calls by way of a [Run], which
// writes one line for each call, with its arguments, its result or errno, and
// all that it returned. The same script runs in each world, over the wire and
// over loopback, and the lines must be equal. A difference fails, unless it is
//
//   - [Deliberate]: ours differs, and is meant to, for a reason that the list
//     gives; or
//   - [Pending]: what the case is about is not built yet. An entry without a
//     difference left fails too, so that the list shrinks as features land.
//
// The table of cases is in the package's tests, a family a file; the random
// sequences of calls are in random_test.go.
package oracle
