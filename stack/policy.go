package stack

import (
	"github.com/outband/outband/arp"
	"github.com/outband/outband/stack/internal/counter"
)

// A Policy says what the stack does on an interface of its own accord, beside bringing
// sockets what is theirs: what it answers, what it tells the link. The zero value does
// all that a host has to do, for a stack that has its addresses alone. Whatever is left
// out is the host's whose device it is, and nothing else in the stack asks why. What was
// not answered is counted, by the counter that a field names.
type Policy struct {
	// ARP says which of the stack's addresses ARP requests are answered for: of all its
	// interfaces, of this one, or of none. With [arp.AnswerNone] the interface's
	// addresses are not probed for, announced or defended either. "OutbandArpIgnored".
	ARP arp.Answers
	// IgnoreEcho leaves echo requests without an answer (RFC 1122, 3.2.2.6; as Linux'
	// icmp_echo_ignore_all): "OutbandEchoIgnored". IgnoreTimestamp leaves timestamp
	// requests without (3.2.2.8): "OutbandTimestampIgnored".
	IgnoreEcho, IgnoreTimestamp bool
	// IgnorePorts sends no port unreachable about UDP datagrams that no socket is for:
	// "OutbandPortIgnored". IgnoreProtocols sends no protocol unreachable (RFC 1122,
	// 3.2.2.1): "OutbandProtocolIgnored".
	IgnorePorts, IgnoreProtocols bool
	// IgnoreBroken sends no errors about datagrams that have bad options, or of which
	// fragments are missing (RFC 1122, 3.2.2.5 and 3.3.2): "OutbandBrokenIgnored".
	IgnoreBroken bool
	// IgnoreGroups sends no IGMP messages about the groups that sockets are in (RFC
	// 3376), whose frames the link lets through all the same: "OutbandGroupsIgnored".
	IgnoreGroups bool
	// KeepHost leaves the host its part: its addresses are not refused, and nothing is
	// asked of a [link.Claimer], so that the host goes on receiving, and answering, what
	// is for the interface's addresses.
	KeepHost bool
}

// SharedPolicy returns the policy for addresses that are the kernel's, which the stack
// uses too: the kernel answers and reports, the stack nothing.
func SharedPolicy() Policy {
	return Policy{ARP: arp.AnswerNone, IgnoreEcho: true, IgnoreTimestamp: true, IgnorePorts: true,
		IgnoreProtocols: true, IgnoreBroken: true, IgnoreGroups: true, KeepHost: true}
}

// Policy returns what the interface was made with.
func (i *Interface) Policy() Policy { return i.policy }

// ignores reports whether an error of that kind is not sent, and what counts that.
func (p *Policy) ignores(kind icmpKind) (counter.Kind, bool) {
	switch kind {
	case errPortUnreachable:
		return counter.PortIgnored, p.IgnorePorts
	case errProtocolUnreachable:
		return counter.ProtocolIgnored, p.IgnoreProtocols
	default:
		return counter.BrokenIgnored, p.IgnoreBroken
	}
}
