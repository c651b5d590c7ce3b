// Package icmp is the Internet Control Message Protocol for IPv4 (RFC 792, as
// RFC 1122 section 3.2.2 and RFC 1812 section 4.3 have it): messages read and
// written, what an error quotes and which errno it means, and whether an error
// may be sent at all.
//
// The package does no I/O and keeps no time. None of it is safe for concurrent
// use where it has state (Limiter).
//
// # Receiving
//
//	m, cause := icmp.Parse(ipPayload)
//	switch {
//	case m.Type() == icmp.Echo:
//		reply = icmp.AppendEchoReply(nil, m)
//	case icmp.IsError(m.Type()):
//		q, ok := icmp.ParseQuote(m)                  // whose datagram was it?
//		errno, hard, ok := icmp.Errno(m.Type(), m.Code())
//	}
//
// An error is hearsay: anybody can send one. Deliver it only to the socket that
// sent the quoted datagram.
//
// # Sending an error
//
//	cause := icmp.MayAnswer(trigger)                 // about this datagram?
//	ok := limiter.Allow(now, trigger.Src, icmp.DestinationUnreachable)
//	b = icmp.AppendError(b, icmp.DestinationUnreachable, icmp.CodePort, 0, datagram)
package icmp

import (
	"encoding/binary"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
)

// HeaderLen is the length in bytes of what all messages have: type, code,
// checksum, and four bytes that each type uses in its own way (RFC 792).
const HeaderLen = 8

// Protocol is ICMP's number in the IPv4 header (RFC 792).
const Protocol = 1

// Message types.
const (
	EchoReply              = 0  // RFC 792
	DestinationUnreachable = 3  // RFC 792
	SourceQuench           = 4  // RFC 792; deprecated, RFC 6633
	Redirect               = 5  // RFC 792
	Echo                   = 8  // RFC 792
	RouterAdvertisement    = 9  // RFC 1256
	RouterSolicitation     = 10 // RFC 1256
	TimeExceeded           = 11 // RFC 792
	ParameterProblem       = 12 // RFC 792
	Timestamp              = 13 // RFC 792
	TimestampReply         = 14 // RFC 792
	InformationRequest     = 15 // RFC 792; deprecated, RFC 6918
	InformationReply       = 16 // RFC 792; deprecated, RFC 6918
	AddressMaskRequest     = 17 // RFC 950; deprecated, RFC 6918
	AddressMaskReply       = 18 // RFC 950; deprecated, RFC 6918
	ExtendedEcho           = 42 // RFC 8335
	ExtendedEchoReply      = 43 // RFC 8335

	// maxType is the highest type that Linux knows as an error or a query
	// (NR_ICMP_TYPES); what is above counts as an error.
	maxType = 18
)

// Codes of DestinationUnreachable.
const (
	CodeNet                = 0  // RFC 792: net unreachable
	CodeHost               = 1  // RFC 792: host unreachable
	CodeProtocol           = 2  // RFC 792: protocol unreachable
	CodePort               = 3  // RFC 792: port unreachable
	CodeFragmentation      = 4  // RFC 792, 1191: fragmentation needed and DF set
	CodeSourceRoute        = 5  // RFC 792: source route failed
	CodeNetUnknown         = 6  // RFC 1122: destination network unknown
	CodeHostUnknown        = 7  // RFC 1122: destination host unknown
	CodeHostIsolated       = 8  // RFC 1122: source host isolated
	CodeNetProhibited      = 9  // RFC 1122: network administratively prohibited
	CodeHostProhibited     = 10 // RFC 1122: host administratively prohibited
	CodeNetTOS             = 11 // RFC 1122: network unreachable for type of service
	CodeHostTOS            = 12 // RFC 1122: host unreachable for type of service
	CodeFiltered           = 13 // RFC 1812: communication administratively prohibited
	CodePrecedence         = 14 // RFC 1812: host precedence violation
	CodePrecedenceCutoff   = 15 // RFC 1812: precedence cutoff in effect
	maxUnreachCode         = 15 // Linux' NR_ICMP_UNREACH
	numDestinationUnreachs = maxUnreachCode + 1
)

// Codes of TimeExceeded.
const (
	CodeTTL        = 0 // RFC 792: time to live exceeded in transit
	CodeReassembly = 1 // RFC 792: fragment reassembly time exceeded
)

// Codes of ParameterProblem.
const (
	CodePointer       = 0 // RFC 792: the pointer indicates the error
	CodeOptionMissing = 1 // RFC 1122: required option is missing
	CodeLength        = 2 // RFC 1812: bad length
)

// A Cause is why a message was not accepted, or an error not sent.
type Cause uint8

const (
	CauseNone          Cause = iota // accepted, or may be sent
	CauseTooShort                   // received: fewer than 8 bytes
	CauseChecksum                   // received: the checksum is wrong
	CauseLinkBroadcast              // not sent: the datagram came by link-layer broadcast or multicast
	CauseBroadcast                  // not sent: the datagram was for a broadcast or multicast address
	CauseFragment                   // not sent: the datagram is not its first fragment
	CauseSource                     // not sent: the datagram's source is not one host
	CauseError                      // not sent: the datagram is an ICMP error, or may be
	CauseRateGlobal                 // not sent: too many errors to all together
	CauseRateHost                   // not sent: too many errors to one host
	NumCauses                       // how many causes there are, for arrays of counters
)

var causes = [NumCauses]string{
	"none", "ICMP header incomplete", "ICMP checksum wrong", "error about link-layer broadcast",
	"error about broadcast or multicast", "error about later fragment", "error to no single host",
	"error about ICMP error", "rate limit of all errors", "rate limit of the host",
}

// String returns the cause in a few words.
func (c Cause) String() string {
	if c >= NumCauses {
		return "unknown"
	}
	return causes[c]
}

// IsError reports whether messages of a type report errors, and so must never
// be answered by an error. Types that nobody assigned count as errors, as in
// Linux (icmp_pointers).
func IsError(typ uint8) bool {
	switch typ {
	case EchoReply, Echo, Timestamp, TimestampReply, InformationRequest, InformationReply,
		AddressMaskRequest, AddressMaskReply:
		return false
	}
	return true
}

// MayBroadcast reports whether a message of a type means anything if it is
// addressed to a broadcast address or a group: requests for an echo, a timestamp or
// an address mask, and the answer to the last (RFC 1122, sections 3.2.2.6, 3.2.2.8
// and 3.2.2.9). Errors, and replies to what nobody can have asked, do not. As in Linux
// the rule is for the messages of RFC 792 only, not for requests of extended echoes (RFC 8335).
func MayBroadcast(typ uint8) bool {
	switch typ {
	case Echo, Timestamp, AddressMaskRequest, AddressMaskReply, ExtendedEcho:
		return true
	}
	return false
}

// Known reports whether a type is one that Linux deals with, if only by dropping it.
func Known(typ uint8) bool { return typ <= maxType || typ == ExtendedEcho || typ == ExtendedEchoReply }

// A Message is a view of a whole ICMP message. The getters need a Message that
// Parse returned; they check nothing. A getter for what only some types have
// returns what stands there in any.
type Message []byte

// Parse validates the length and the checksum of the message b, the payload of
// an IP packet. The Message is a view of b.
func Parse(b []byte) (Message, Cause) {
	if len(b) < HeaderLen {
		return nil, CauseTooShort
	}
	if checksum.Sum(b, 0) != 0xffff {
		return nil, CauseChecksum
	}
	return b, CauseNone
}

// Checksum returns what bytes 2 and 3 of a message, which hold 0, must be (RFC 792).
// Of a message that holds its own it returns 0.
func Checksum(message []byte) uint16 { return ^checksum.Sum(message, 0) }

// Type returns what kind of message it is (RFC 792).
func (m Message) Type() uint8 { return m[0] }

// Code returns what kind of the type it is (RFC 792).
func (m Message) Code() uint8 { return m[1] }

// Checksum returns the checksum field (RFC 792).
func (m Message) Checksum() uint16 { return binary.BigEndian.Uint16(m[2:4]) }

// Rest returns the four bytes that each type uses in its own way.
func (m Message) Rest() uint32 { return binary.BigEndian.Uint32(m[4:8]) }

// Ident returns an echo's or timestamp's identifier (RFC 792).
func (m Message) Ident() uint16 { return binary.BigEndian.Uint16(m[4:6]) }

// Seq returns an echo's or timestamp's sequence number (RFC 792).
func (m Message) Seq() uint16 { return binary.BigEndian.Uint16(m[6:8]) }

// MTU returns the next hop's MTU in bytes from DestinationUnreachable with
// CodeFragmentation, 0 from routers that know only RFC 792 (RFC 1191, 4).
func (m Message) MTU() int { return int(binary.BigEndian.Uint16(m[6:8])) }

// IsFragmentationNeeded reports whether the message is a DestinationUnreachable
// with CodeFragmentation.
func (m Message) IsFragmentationNeeded() bool {
	return m[0] == DestinationUnreachable && m[1] == CodeFragmentation
}

// Info returns what an error says beside its type and code, as Linux tells sockets
// of it (ee_info in ip(7)): the MTU, the pointer, or the gateway; else 0.
func (m Message) Info() uint32 {
	switch {
	case m.IsFragmentationNeeded():
		return uint32(m.MTU())
	case m[0] == ParameterProblem:
		return uint32(m.Pointer())
	case m[0] == Redirect:
		return m.Rest()
	}
	return 0
}

// Pointer returns the offset in bytes of the fault in the datagram that a
// ParameterProblem quotes (RFC 792).
func (m Message) Pointer() uint8 { return m[4] }

// Gateway returns the router that a Redirect points to (RFC 792).
func (m Message) Gateway() ipv4.Addr { return ipv4.Addr(m[4:8]) }

// Data returns what follows the first eight bytes.
func (m Message) Data() []byte { return m[HeaderLen:] }
