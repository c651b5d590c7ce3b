// Package ether is the Ethernet header (IEEE 802.3, clause 3.2) and the tags of
// VLANs (IEEE 802.1Q, clause 9): views that are validated once, and then read by
// getters that cannot panic.
//
// It is below links and protocols, which both carry what it describes, and does no I/O.
package ether

import "encoding/binary"

// HeaderLen is the length in bytes of a header without tags: destination, source,
// type.
const HeaderLen = 14

// A Type says what a frame carries, in host order.
type Type uint16

// Types of frames (IANA, "EtherTypes").
const (
	TypeIPv4 Type = 0x0800 // RFC 894
	TypeARP  Type = 0x0806 // RFC 826
	TypeVLAN Type = 0x8100 // IEEE 802.1Q: a tag of a customer's network
	TypeIPv6 Type = 0x86dd // RFC 2464
	TypeQinQ Type = 0x88a8 // IEEE 802.1ad: a tag of a provider's network
)

// MinType is the smallest type. A number below it is the length of an IEEE 802.3
// frame, which says by its own header what it carries (clause 3.2.6).
const MinType Type = 0x0600

// IsTag reports whether a VLAN tag follows.
func (t Type) IsTag() bool { return t == TypeVLAN || t == TypeQinQ }

// A Header is a view of a frame from its beginning on. The getters need one that
// Parse returned.
type Header []byte

// Parse views a frame: ok is false if it holds no whole header. payload is what
// follows the header, tags among it. Both are views of the frame.
func Parse(frame []byte) (h Header, payload []byte, ok bool) {
	if len(frame) < HeaderLen {
		return nil, nil, false
	}
	return Header(frame[:HeaderLen:HeaderLen]), frame[HeaderLen:], true
}

// Destination returns the address that the frame is for.
func (h Header) Destination() MAC { return MAC(h[0:6]) }

// Source returns the address that the frame says it comes from.
func (h Header) Source() MAC { return MAC(h[6:12]) }

// Type returns what follows the header; below MinType it is a length in bytes.
func (h Header) Type() Type { return Type(binary.BigEndian.Uint16(h[12:14])) }

// Put writes a header to b, which has room for HeaderLen bytes. For a frame with tags
// AppendTag writes these between the addresses and the type.
func Put(b []byte, dst, src MAC, t Type) {
	_ = b[HeaderLen-1]
	copy(b[0:6], dst[:])
	copy(b[6:12], src[:])
	binary.BigEndian.PutUint16(b[12:14], uint16(t))
}
