// Package arp is a neighbour table for IPv4 on Ethernet: which hardware
// address belongs to an IPv4 address on one link, found out by the Address
// Resolution Protocol (RFC 826, RFC 1122 section 2.3.2) and kept true by
// probing, as Linux does it (net/core/neighbour.c, net/ipv4/arp.c). It also
// announces and defends the addresses of this host (RFC 5227).
//
// The package does no input or output and knows no clock. A caller brings
// packets ([Table.Input]), wishes ([Table.Resolve]) and the time
// ([Table.Advance], due at [Table.Deadline]), and fetches what comes out of
// them with [Table.Next]: ARP packets to transmit, datagrams that waited and may
// go now, datagrams whose neighbour does not answer, conflicts. A Table is not
// safe for concurrent use; only [Entry.Version] may be called without the
// caller's lock.
//
// # The life of a neighbour
//
// The states are those of ip-neighbour(8):
//
//	           Resolve                  reply
//	(absent) -----------> INCOMPLETE ----------> REACHABLE <----------+
//	                       |  ^                   |  no news for      |
//	    3 broadcasts, 1 s  |  | Resolve           |  15 to 45 s       |
//	    apart, no answer   v  |                   v                   | reply, or
//	                      FAILED                STALE                 | Confirm
//	                          ^                   |  Resolve          |
//	                          |                   v                   |
//	                          |                 DELAY ----------------+
//	                          |                   |  5 s              |
//	                          |                   v                   |
//	                          +---------------- PROBE ----------------+
//	                       3 unicasts, 1 s apart, no answer
//
// PERMANENT and NOARP entries are set by hand ([Table.Set]) and never change by
// themselves.
//
// An entry is made because somebody wants to send, and by nothing else: not by
// a request for our address, not by an unsolicited reply, not by a gratuitous
// announcement. Those only update an entry that exists. So a flood of ARP
// packets cannot grow the table. (Linux also makes an entry for a host that asks for
// its address; this table does not.)
//
// # How a sender uses the table, and how rarely
//
// A sender asks [Table.Resolve] for the [Entry] of its next hop, builds its
// frames with the entry's MAC, and remembers [Entry.Version]. As long as
// Version is what it was, the MAC holds and the table need not be asked again:
// a datagram costs one atomic load here, no lock and no lookup.
//
// The price is that the table does not see each use. Linux notes the time of
// every datagram, and starts to verify a neighbour whose reachable time is over
// only if it was used lately. Here the same comes about in another way: when the
// reachable time is over, the entry becomes STALE and its Version changes. A
// busy sender notices with its next datagram and comes back to Resolve; that is
// the use that Linux would have seen, and makes STALE a DELAY. The sender
// remembers the new Version and goes on with the same MAC, which DELAY and
// PROBE leave alone: if a probe is answered from the same MAC, Version does
// not change, and the next time anybody must ask is at the end of the next
// reachable time. So a busy sender asks once per reachable time (30 s on
// average, and the probing), and the wire shows what it would show for Linux:
// 5 s after the reachable time, one unicast request and its reply.
// A sender that is idle does not come back, and the entry stays STALE, also as
// on Linux.
//
// Version changes when
//   - a MAC becomes known, or becomes another;
//   - REACHABLE ends by time (STALE), since the table wants to know which neighbours are still in use;
//   - the neighbour has failed;
//   - the entry leaves the table (deleted, evicted, collected, link down);
//   - the entry is set by hand, or our own hardware address changes.
//
// If the last Resolve was less than 5 s (DelayProbeTime) before the end of the
// reachable time, the use is known already, and the entry goes to DELAY without
// asking, as on Linux.
//
// # Which ARP packets change what
//
// Linux' defaults hold: arp_accept=0, arp_ignore=0, arp_announce=0,
// drop_gratuitous_arp=0, and no proxy ARP. For a neighbour in the table:
//
//   - A reply sent to our MAC confirms: REACHABLE. A reply sent to all, or any
//     request, tells a MAC but confirms nothing: a new MAC makes the entry
//     STALE, the same MAC changes nothing.
//   - A packet with another MAC than the one known is believed only if the entry
//     has not changed for more than LockTime (1 s), so that the first of two
//     answers wins and the entry does not flap. Gratuitous packets (sender and
//     target address the same) and requests for our address are exempt.
//   - PERMANENT and NOARP entries are never changed by packets.
//
// Where this differs from Linux on purpose: a reply that LockTime rejects does
// not confirm the MAC that it contradicts. As on Linux any sender hardware address
// is accepted: a group (RFC 1812 section 3.3.2 is against that, but clusters have
// them), our own (with another IP address: several hosts behind one MAC), and one
// that is not the frame's source address, since bridges and redundancy protocols do
// that in earnest; that is counted, and Config.StrictSource refuses it.
//
// Requests for addresses of the host's other interfaces are answered too, if the
// table has a [Host] (arp_ignore=0); packets whose sender claims to be one of those are
// not.
//
// # Bounds
//
// Entries, datagrams waiting for one neighbour, bytes waiting for one and for all
// neighbours, own addresses and events not yet fetched all have limits in
// [Config]. A full table makes room: first entries that FAILED, then STALE ones,
// those longest stale first, then INCOMPLETE ones, oldest first, and the
// entries in use last, the least recently resolved first. PERMANENT entries never
// go; if there are no others, [CauseTableFull] says so. STALE order is the order
// in which entries became stale: until then a sender may have used them without
// the table's knowledge.
//
// STALE entries idle for GCStaleTime (60 s) and FAILED ones are collected when
// the table holds GCThreshold (128) entries or more. No work is ever done per
// entry and second: an entry costs O(log n) when it changes its state, and
// nothing in between.
package arp
