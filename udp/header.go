// Package udp is the User Datagram Protocol over IPv4 (RFC 768, RFC 1122
// section 4.1): the header, its checksum, and the table that finds the socket a
// datagram is for.
//
// The package does no I/O and keeps no time. Bytes and addresses go in, owners
// of bindings come out.
//
// # Receiving
//
//	h, payload, cause := udp.Parse(ipPayload) // lengths
//	ok := udp.VerifyChecksum(src, dst, h)     // unless the device did it
//	owner, ok := table.Lookup(dst, h.DstPort(), src, h.SrcPort(), dev)
//
// A unicast datagram goes to the one binding that fits it best
// ([Table.Lookup]), a broadcast or multicast one to all that fit
// ([Table.Each]).
//
// # Sending
//
// [Put] writes a whole header. Who sends many datagrams on one path computes
// [PartialSum] once, copies each payload with [CopySum], and gets the checksum
// from [FinishChecksum].
package udp

import (
	"encoding/binary"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
)

// HeaderLen is the length of the header in bytes (RFC 768).
const HeaderLen = 8

// MaxPayload is the longest payload in bytes that fits an IPv4 packet without
// options: 65535 less 20 of IPv4 header and 8 of UDP header (RFC 791, 3.1).
const MaxPayload = 65535 - 20 - HeaderLen

// Protocol is UDP's number in the IPv4 header (RFC 768).
const Protocol = 17

// A Cause is why a datagram was not accepted.
type Cause uint8

const (
	CauseNone        Cause = iota // accepted
	CauseNoHeader                 // fewer than 8 bytes
	CauseLengthSmall              // the length field is less than the header's 8 bytes; 0 too, which only IPv6 jumbograms may use (RFC 2675)
	CauseLengthLarge              // the length field exceeds the IP payload: the datagram is cut
	CauseChecksum                 // the checksum is wrong; for the caller of VerifyChecksum
	NumCauses                     // how many causes there are, for arrays of counters
)

// String returns the cause in a few words.
func (c Cause) String() string {
	switch c {
	case CauseNone:
		return "none"
	case CauseNoHeader:
		return "UDP header incomplete"
	case CauseLengthSmall:
		return "UDP length below 8"
	case CauseLengthLarge:
		return "UDP length beyond packet"
	case CauseChecksum:
		return "UDP checksum wrong"
	default:
		return "unknown"
	}
}

// A Header is a view of a UDP datagram, header first. The getters need a
// Header that Parse returned, or at least 8 bytes; they check nothing.
type Header []byte

// Parse validates the lengths of the UDP datagram that b, the payload of an IP
// packet, starts with. It returns the datagram, cut to its own length, and its
// payload; both are views of b. What lies behind the datagram is padding and is
// ignored, as Linux does. The checksum is not looked at.
func Parse(b []byte) (h Header, payload []byte, c Cause) {
	if len(b) < HeaderLen {
		return nil, nil, CauseNoHeader
	}
	n := int(binary.BigEndian.Uint16(b[4:6]))
	if n > len(b) {
		return nil, nil, CauseLengthLarge
	}
	if n < HeaderLen {
		return nil, nil, CauseLengthSmall
	}
	return Header(b[:n:n]), b[HeaderLen:n:n], CauseNone
}

// SrcPort returns the sender's port, 0 if it wants no answer (RFC 768).
func (h Header) SrcPort() uint16 { return binary.BigEndian.Uint16(h[0:2]) }

// DstPort returns the port that the datagram is for (RFC 768).
func (h Header) DstPort() uint16 { return binary.BigEndian.Uint16(h[2:4]) }

// Length returns the length of header and payload in bytes (RFC 768).
func (h Header) Length() int { return int(binary.BigEndian.Uint16(h[4:6])) }

// Checksum returns the checksum field; 0 means that the sender computed none
// (RFC 768).
func (h Header) Checksum() uint16 { return binary.BigEndian.Uint16(h[6:8]) }

// Payload returns what follows the header.
func (h Header) Payload() []byte { return h[HeaderLen:] }

// PutHeader writes a header with the given checksum field at b[0:8], as it is:
// 0 says that none was computed (SO_NO_CHECK).
func PutHeader(b []byte, sport, dport uint16, payloadLen int, sum uint16) {
	_ = b[7]
	binary.BigEndian.PutUint16(b[0:2], sport)
	binary.BigEndian.PutUint16(b[2:4], dport)
	binary.BigEndian.PutUint16(b[4:6], uint16(HeaderLen+payloadLen))
	binary.BigEndian.PutUint16(b[6:8], sum)
}

// Put writes a header at b[0:8] for the payload that stands at
// b[8:8+payloadLen] already, with its checksum. A checksum of 0 is written as
// 0xffff (RFC 768). payloadLen is at most MaxPayload.
func Put(b []byte, src, dst ipv4.Addr, sport, dport uint16, payloadLen int) {
	sum := checksum.Sum(b[HeaderLen:HeaderLen+payloadLen], 0)
	sum = FinishChecksum(PartialSum(src, dst, sport, dport), HeaderLen+payloadLen, sum)
	PutHeader(b, sport, dport, payloadLen, sum)
}

// PutPartial writes a header at b[0:8] whose checksum a device or a peer's
// kernel is to fill in: the field holds the pseudo-header's sum, to which the
// sum of header and payload is still to be added. It does not read the payload.
func PutPartial(b []byte, src, dst ipv4.Addr, sport, dport uint16, payloadLen int) {
	PutHeader(b, sport, dport, payloadLen, PseudoSum(src, dst, HeaderLen+payloadLen))
}
