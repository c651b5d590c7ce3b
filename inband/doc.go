// Package inband is all that this module takes from the kernel or tells it: which
// addresses it has, who holds which, what keeps it off a stack's addresses, capabilities,
// and plain in-band UDP sockets. None of it lies on the way of a datagram through the
// out-of-band stack.
package inband
