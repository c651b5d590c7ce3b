// Package inband is all that this module takes from the kernel or tells it:
// network namespaces, devices, addresses, neighbours, CPU affinity,
// capabilities, and plain in-band UDP sockets. None of it lies on the way of a
// datagram through the out-of-band stack.
//
// # Namespaces and threads
//
// A network namespace belongs to a thread, and a goroutine moves between
// threads. [Namespace.Do] therefore runs a function on a thread of its own that
// has entered the namespace, and brings the thread back, or gives it up, before
// anything else can run there. A socket stays in the namespace in which it was
// opened, so only opening needs Do; a process that the function starts is born
// in the namespace.
//
// # Privileges
//
// To make a namespace takes CAP_SYS_ADMIN, to make devices in it CAP_NET_ADMIN,
// and to open packet sockets there CAP_NET_RAW: all in the user namespace that
// owns it. A process without them can run itself again in a user namespace of
// its own, where it has them all: see [InUserNamespace].
package inband
