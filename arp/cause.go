package arp

// A Cause says why a packet or a call had no effect, or not the ordinary one.
// Each but CauseNone is counted in [Stats].
type Cause uint8

// The causes. Those of [Parse] come first, then those of [Table.Input], then
// those of the table's own calls.
const (
	CauseNone Cause = iota // all is well

	CauseTooShort     // fewer than 28 bytes
	CauseHardwareType // ar$hrd is neither Ethernet nor IEEE 802
	CauseProtocolType // ar$pro is not IPv4
	CauseHardwareLen  // ar$hln is not 6
	CauseProtocolLen  // ar$pln is not 4
	CauseOperation    // ar$op is neither request nor reply

	CauseOtherHost      // the frame was for another host's MAC
	CauseReflected      // our own packet, come back
	CauseSourceMismatch // sender hardware address is not the frame's, and Config.StrictSource is set
	CauseSenderIP       // sender address is not that of one host, or 0.0.0.0 in a reply
	CauseTargetIP       // target address is multicast or loopback
	CauseConflict       // another host uses, or probes for, an address of ours (RFC 5227 section 2.4)
	CauseNotForUs       // a request for another host, from no neighbour of ours: the ordinary broadcast
	CauseUnsolicited    // a reply from a host that nobody here sends to
	CauseLocked         // another MAC within LockTime of the last change
	CauseStatic         // another MAC than that of a PERMANENT or NOARP entry

	CauseTableFull  // no room, and no entry that may go
	CauseBadAddress // not the address of one host
	CauseBadMAC     // the zero hardware address
	CauseBadState   // not a state that can be set
	CauseOwnAddress // the address, or a packet's sender, is ours, of whatever interface
	CauseIgnored    // a request or a probe for an address of ours that SetAnswers says not to answer for
	CauseBacklog    // an ARP packet was not sent: too many events wait to be fetched with Next

	NumCauses // how many causes there are
)

var causeNames = [NumCauses]string{
	"none",
	"too short", "hardware type", "protocol type", "hardware address length", "protocol address length", "operation",
	"for another host", "reflected", "sender is not frame source", "sender address",
	"target address", "address conflict", "not for us", "unsolicited reply", "within lock time", "static entry",
	"table full", "bad address", "bad hardware address", "bad state", "own address", "ignored", "event backlog",
}

// String returns a few words for people.
func (c Cause) String() string {
	if c >= NumCauses {
		return "unknown"
	}
	return causeNames[c]
}
