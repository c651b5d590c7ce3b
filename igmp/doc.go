// Package igmp is the host's part of the Internet Group Management Protocol: which
// multicast groups, and which sources of them, the sockets of one interface want, and
// how the routers and switches of its link learn that. It speaks version 3 (RFC 3376,
// RFC 9776), and versions 2 (RFC 2236) and 1 (RFC 1112) to queriers of those.
//
// The package does no input or output and knows no clock. A caller brings what sockets
// want ([Host.Update]), messages that came ([Host.Input]) and the time
// ([Host.Advance], due at [Host.Deadline]), and fetches the messages to send with
// [Host.Next]. A Host is not safe for concurrent use.
//
// # What is wanted
//
// Each socket has a [Filter] for each group. The interface's is all of them merged
// (RFC 3376 section 3.2): its mode is EXCLUDE if that of any socket is; it lists, in
// mode INCLUDE, the sources that any socket includes; in mode EXCLUDE, those that
// all sockets of that mode exclude and no other includes. As on Linux that is done by
// counting, so that a change costs what changes. [Host.Lookup] and [Group.Accepts]
// apply the merged filter to datagrams.
//
// # What is said about it
//
// A change of the merged filter is reported unasked, after ReportDelay (2 ms), in which
// others can join it in the same report, and Robustness-1 times more, the repetitions
// within UnsolicitedV3 (1 s) of each other (section 5.1). If the mode has changed, the
// reports are TO_IN or TO_EX with the whole list; otherwise ALLOW and BLOCK with what
// is different, each source for as many reports as are due to it. Later changes are
// merged with what is still to be said. There is one timer for first reports and one
// for repetitions, for all groups: ten thousand joins in a row are some fifty
// datagrams, twice.
//
// A query is answered after a random time within what it allows, by the five rules of
// section 5.2: a general query with the state of all groups, a query for a group
// with its state, one for sources with IS_IN of those that are wanted. (Linux answers
// the last in mode EXCLUDE with all of its list; here it is as in the RFC.)
//
// An older querier that is heard makes the host speak its version until none has
// been heard for the Older Version Querier Present Timeout (section 8.12); responses
// and repetitions that wait are cancelled at each change (section 7.2.1). Source
// filters are not reported then, but still applied here. A leave of version 2 is sent
// only if nobody else has reported the group since.
//
// 224.0.0.1 is never reported, nor is 224.0.0.0/24 if LinkLocalReports is off.
// 232.0.0.0/8 is a range like others: the host is not SSM-aware in the sense of RFC
// 4604 section 2, and neither is Linux. The lightweight version of RFC 5790 needs
// nothing from a host that speaks the full one.
//
// # Which messages are believed
//
// Linux looks at length, checksum and type. Here also:
//   - TTL must be 1, as all versions send it: a query from afar is forged. AnyTTL
//     turns that off.
//   - The source must be a host's address or 0.0.0.0, which snooping switches use.
//   - A query's destination must be 224.0.0.1, a group joined here or the host's own
//     address (section 4.1.12), that of a report its group.
//   - Missing router alert options are counted only, since Linux does not look;
//     RequireRouterAlert refuses such queries.
//   - A version 2 query for one group does not make the host speak version 2, only a
//     general query does (section 7.2.1; Linux falls back for both).
//   - Reports of others suppress ours in versions 1 and 2 only. (In version 3 Linux lets
//     old reports do so; RFC 3376 section 7.2.2 leaves it open.)
//   - A response is spread over 100 ms at least, also if the query allows less, and in
//     version 3 comes no sooner than 50 ms after the last, so that a storm of queries
//     makes no storm of reports.
//
// # Bounds
//
// The memberships are the caller's to limit (igmp_max_memberships, igmp_max_msf). What
// others can add to is limited by [Config]: sources asked for by queries, groups and
// sources left whose reports are repeated, and bytes of messages that wait. Each limit
// falls back to something that is right but says more, or says it once: a whole
// group's state instead of some sources, a whole filter instead of its changes.
package igmp
