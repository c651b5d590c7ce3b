// Package ipv4 is the Internet Protocol, version 4, for a host: everything that
// a stack must know about datagrams between the link below and the transport
// above, and nothing of either.
//
// It does no I/O: bytes, addresses and the time go in; headers, datagrams and
// the next deadline come out. No function starts a goroutine, reads a clock or
// makes a system call. Times are int64 nanoseconds of any one monotonic clock;
// a deadline of math.MaxInt64 means never. Addresses are Addr, in the order
// in which they stand on the wire.
//
// # The way of a datagram in
//
//  1. [Parse] checks version, lengths and header checksum once, and cuts off
//     what the link padded. The getters of [Header] check nothing after that.
//  2. [CheckMartian] drops addresses that cannot have come from a wire, and
//     [RouteTable.CheckSource] those that are our own.
//  3. [ParseOptions] looks at the options, if there are any.
//  4. A [RouteTable] tells whether the destination is ours.
//  5. A [Reassembler] takes fragments, and gives the datagram when it is whole.
//
// # The way of a datagram out
//
//  1. The [RouteTable] gives interface and gateway, [SelectSource] the source
//     address, and [PathMTU] what the path can carry.
//  2. An [Identifier] gives the identification.
//  3. [Fields.Put] writes the header; a [Fragmenter] writes one per fragment if
//     the datagram is too long for the path. Who sends to one destination
//     again and again keeps the header, and patches it with [Patch].
//
// # Where Linux is not followed
//
// Linux is the specification, but for these:
//
//   - If reassembly has used up its memory, the oldest incomplete datagram
//     makes room. Linux refuses the new one, so that a flood stops
//     reassembly for 30 seconds.
//   - An ICMP message without an MTU lowers the path MTU to the next plateau of
//     RFC 1191, section 7.1. Linux goes to the floor at once.
//
// Nothing here is safe for concurrent use unless it says so: the stack holds a
// lock. [Identifier] is safe, and so are lookups in a [RouteTable] that is not
// being changed.
package ipv4
