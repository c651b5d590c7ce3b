// Package shared makes a stack that uses the addresses of the host that it runs on, beside
// the kernel's: the ports of the stack's sockets go out-of-band, all else stays in-band,
// and nothing is configured or left behind.
//
// The rule for all of it: a socket gets every datagram that the same socket in-band would
// get, once; only what comes by a ring comes fast. Three parts see to that, for each port
// of the stack's:
//
//   - an in-band socket that is bound as the stack's is holds it (inband/holder): it is the
//     authority on who may have which port, it keeps the kernel from answering, and what
//     comes by no ring comes by it;
//   - a program at the device keeps the kernel from processing what the ring has
//     (inband/claim), which only saves time;
//   - the ring's own filter, which reads the same tables, keeps what is not the stack's
//     from the ring.
//
// Routes are the kernel's: the stack asks for each path (inband/follow). What is for the
// host itself, and what leaves by a device without a ring, the kernel sends (link/host).
// ARP requests, echo requests and all else that a host answers, the kernel answers; it
// reports groups to routers too (stack.SharedPolicy).
package shared
