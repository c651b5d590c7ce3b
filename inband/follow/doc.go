// Package follow asks the kernel for routes and follows what it does to devices,
// addresses, routes and neighbours, so that a stack that shares the kernel's addresses
// sends as the kernel would.
//
// Routes are asked for and not mirrored. [Kernel.Route] does one RTM_GETROUTE, so that
// rules, tables, multipath, nexthop objects, preferred sources, metrics and learnt path
// MTUs are all in the answer. A mirror would be wrong: a link that goes down takes its
// routes with it and the kernel sends no message about those. The caller keeps answers
// until [Events].RoutesMoved.
//
// Nothing here needs a privilege, and nothing goes through Go's netpoller: the messages
// of rtnetlink(7) are written and parsed by hand.
package follow
