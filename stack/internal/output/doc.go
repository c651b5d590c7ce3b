// Package output sends: it is the way of a datagram from a path down to the link.
//
// A [Path] is all that sending to one destination needs. What is sent along it is built in
// a [Buffer], which one sender at a time has, and leaves by a [WayOut] of a [Device]: the
// link's own, or one that is a socket's alone. A [Sender] is what a socket sends with: it
// sees that what was built leaves in order, is charged to the socket, and waits where a
// call may wait.
//
// What leaves later stays here meanwhile: for a neighbour that does not answer yet in the
// device's table ([Device.Neighbours]), for its time in the schedule, for room in the device
// in the socket's backlog. What the stack itself has to send, and what has waited, leaves by
// the outbox, in the order in which it was posted there.
//
// The package knows no sockets, no interfaces and no stack: what it asks of them is in
// [Socket], [DeviceHost] and [Host].
package output
