// Package wire judges what a host does with what comes from the wire: the same
// socket calls, frames and changes of configuration for a kernel's host and for
// ours, one after the other, and what both say is compared: results, error queues,
// the frames that leave, counters. Ours is a stack with addresses of its own, or, for ICMP
// errors, one on the addresses of the kernel's (package shared).
//
//	10.9.0.1/24 near0 ---- 10.9.0.2, played by hand
//	10.8.0.1/24 near1 ---- 10.8.0.2, played by hand
//
// A host answers an echo request only when it has dealt with all frames before:
// that is how a step is known to be over (Host.Settle), without sleeping.
package wire
