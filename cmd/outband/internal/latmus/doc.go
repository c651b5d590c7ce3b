// Package latmus measures the latency of an out-of-band path between two hosts, as
// the network test of EVL's latmus does. Each host sends the other a packet every
// period, so that each measures what it sends and what it receives:
//
//	rx sched   from the device's time stamp to a receiver that takes the packet
//	rx user    from the device's time stamp to the socket
//	tx sched   from the call that sends to the packet's hand-over to the link
//	tx user    from the call that sends to the link that has taken it
//
// The times are those of SO_TIMESTAMP_OOB in package sockapi. The packets carry a
// serial number and a checksum, which the receiver checks.
package latmus
