package icmp

import "github.com/outband/outband/ipv4"

// A Trigger is what MayAnswer has to know of the datagram that an error would
// be about.
type Trigger struct {
	Src, Dst       ipv4.Addr
	Protocol       uint8
	ICMPType       uint8 // of the message, if Protocol is ICMP and FragmentOffset 0
	FragmentOffset int   // bytes
	LinkBroadcast  bool  // came by link-layer broadcast or multicast
	DstBroadcast   bool  // Dst is a broadcast address of an interface's network
}

// MayAnswer returns CauseNone if an error may be sent about a datagram, or why
// not (RFC 1122, 3.2.2 and RFC 1812, 4.3.2.7).
//
// The RFCs also forbid errors to loopback addresses. Those are for the code that drops
// them from the wire: on a loopback link they are right, and Linux answers.
func MayAnswer(t Trigger) Cause {
	switch {
	case t.LinkBroadcast:
		return CauseLinkBroadcast
	case t.DstBroadcast || notOneHost(t.Dst):
		return CauseBroadcast
	case t.FragmentOffset != 0:
		return CauseFragment
	case t.Src[0] == 0 || notOneHost(t.Src):
		return CauseSource
	case t.Protocol == Protocol && IsError(t.ICMPType):
		return CauseError
	}
	return CauseNone
}

// notOneHost reports whether an address is a multicast group, reserved
// (class E), or the limited broadcast address.
func notOneHost(a ipv4.Addr) bool { return a[0] >= 224 }

// ErrorTOS returns the type of service of an error about a datagram with tos:
// the same, but with the precedence of internetwork control (RFC 1812, 4.3.2.5).
func ErrorTOS(tos uint8) uint8 { return tos&tosMask | precedenceControl }

const (
	tosMask           = 0x1e // RFC 1349: delay, throughput, reliability, cost
	precedenceControl = 0xc0 // RFC 791, 3.1: internetwork control
)
