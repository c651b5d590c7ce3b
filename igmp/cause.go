package igmp

// A Cause says why a message had no effect. Each but CauseNone is counted in
// [Stats].
type Cause uint8

// The causes. Those of [Parse] come first, then those of [Host.Input], then those
// of the host's own work.
const (
	CauseNone Cause = iota // all is well

	CauseTooShort    // fewer bytes than the type, or its counts, need
	CauseChecksum    // wrong checksum
	CauseType        // a type that hosts do not know (RFC 3376 section 4: silently ignored)
	CauseQueryLength // a query of 9 to 11 bytes (RFC 3376 section 7.1: silently ignored)

	CauseLinkDown      // the link is down, or LeaveAll was called
	CauseTTL           // TTL is not 1, so the message may not be from this link
	CauseRouterAlert   // no router alert option, and Config.RequireRouterAlert is set
	CauseSource        // the source address is not that of one host, nor 0.0.0.0
	CauseDestination   // the destination is not one that this type of message is sent to
	CauseGroup         // the group is not multicast, or a general query lists sources
	CauseNotMember     // about a group that is not joined here, or that is never reported
	CauseReflected     // our own report, come back
	CauseRouterOnly    // a version 3 report or a leave of another host: for routers
	CauseNotSuppressed // a report of another host, in version 3, where it suppresses nothing (RFC 3376 appendix A.2)

	CauseBacklog     // a message was not sent: too many bytes wait to be fetched with Next
	CauseManyLeaves  // a leave is sent once only: too many groups left wait for their repetition
	CauseManySources // a query's sources were not recorded: the whole group is reported instead

	NumCauses // how many causes there are
)

var causeNames = [NumCauses]string{
	"none",
	"too short", "checksum", "type", "query length",
	"link down", "TTL is not 1", "no router alert", "source address", "destination address", "group address",
	"not a member", "reflected", "for routers", "nothing to suppress",
	"message backlog", "too many groups left", "too many sources queried",
}

// String returns a few words for people.
func (c Cause) String() string {
	if c >= NumCauses {
		return "unknown"
	}
	return causeNames[c]
}
