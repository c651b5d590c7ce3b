// Package netlab makes networks of the kernel's for what needs one of its own: the
// command's demonstration and benchmarks, and the labs of tests. It has network
// namespaces, devices, addresses, routes and neighbours in them, and user namespaces in
// which a process without privileges may make them.
//
// # Privileges
//
// To make a namespace takes CAP_SYS_ADMIN, to make devices in it CAP_NET_ADMIN,
// and to open packet sockets there CAP_NET_RAW: all in the user namespace that
// owns it. A process without them can run itself again in a user namespace of
// its own, where it has them all: see [InUserNamespace].
package netlab
