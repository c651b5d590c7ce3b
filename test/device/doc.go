// Package device judges what becomes of sockets when something happens to the device
// that they send and receive by. The same calls are made on a host whose stack is the
// kernel's and on one that is ours, before, while and after the device is down, has no
// carrier, is dormant, gone, renamed, elsewhere, of another MTU or MAC; and what the
// calls return, what the peer gets, and what comes afterwards is compared.
//
//	namespace near, device near0 ---- veth ---- far0, namespace far
//	     the host, 10.9.0.1                     the kernel, 10.9.0.2
//
// So they are on one whose stack is ours on the addresses of the kernel's (package shared).
//
// After each change the host's administrator is played as well: what Linux forgets with
// a device (addresses, routes by gateways) is added again.
package device
