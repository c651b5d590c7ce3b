package ipv4

import (
	"encoding/binary"
	"math/bits"
)

// Lengths, in bytes.
const (
	// MinHeaderLen is a header without options (RFC 791, section 3.1).
	MinHeaderLen = 20
	// MaxHeaderLen is what a header length field of 4 bits can say.
	MaxHeaderLen = 60
	// MaxOptionsLen is the room for options in a header.
	MaxOptionsLen = MaxHeaderLen - MinHeaderLen
	// MaxLen is the longest datagram, header included: the total length is a
	// field of 16 bits.
	MaxLen = 65535
)

// Protocol numbers (RFC 790 and its successors).
const (
	ProtocolICMP = 1  // RFC 792
	ProtocolIGMP = 2  // RFC 1112, 2236, 3376
	ProtocolUDP  = 17 // RFC 768
)

// Bits of the fragment field (RFC 791, section 3.1).
const (
	flagDF     = 0x4000 // don't fragment
	flagMF     = 0x2000 // more fragments
	offsetMask = 0x1fff // fragment offset, in units of 8 bytes
)

// A Header is a view of a datagram's header, options included. It comes from
// [Parse], [ParseNoChecksum] or [ParseQuoted], which check everything that the
// getters rely on; no getter checks again, and none of them panics. The view
// shares its memory with what was parsed.
//
// Its length is the header's, its capacity the datagram's.
type Header []byte

// Parse checks the datagram at the start of b, and returns views of its header
// and payload. Bytes past the total length, which links add as padding, belong
// to neither. Unless the cause is CauseNone both are nil.
//
// The checks and their order are Linux' ip_rcv: version, header length,
// checksum, total length (RFC 1122, section 3.2.1). It allocates nothing.
func Parse(b []byte) (h Header, payload []byte, c Cause) {
	if len(b) < MinHeaderLen {
		return nil, nil, CauseTooShort
	}
	if b[0] != 0x45 {
		return parseAny(b)
	}
	// The one's complement sum is the same in any byte order and of any word
	// size, up to the folding (RFC 1071, section 2), and folding is what
	// remains of a division by 65535. It cannot be zero here: b[0] is not.
	sum, carry := bits.Add64(binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:16]), 0)
	sum, carry = bits.Add64(sum, uint64(binary.LittleEndian.Uint32(b[16:20])), carry)
	if (sum+carry)%0xffff != 0 {
		return nil, nil, CauseBadChecksum
	}
	total := int(binary.BigEndian.Uint16(b[2:4]))
	if total > len(b) {
		return nil, nil, CauseTruncated
	}
	if total < MinHeaderLen {
		return nil, nil, CauseBadTotalLength
	}
	return Header(b[:MinHeaderLen:total]), b[MinHeaderLen:total:total], CauseNone
}

// parseAny is Parse for headers with options, and for broken ones.
func parseAny(b []byte) (Header, []byte, Cause) {
	n, c := headerLen(b)
	if c != CauseNone {
		return nil, nil, c
	}
	if sumWords(b[:n])%0xffff != 0 {
		return nil, nil, CauseBadChecksum
	}
	return split(b, n)
}

// ParseNoChecksum is [Parse] without the checksum: for datagrams that the
// device has checked, or that were never on a wire.
func ParseNoChecksum(b []byte) (h Header, payload []byte, c Cause) {
	n, c := headerLen(b)
	if c != CauseNone {
		return nil, nil, c
	}
	return split(b, n)
}

// ParseQuoted views a datagram that an ICMP error quotes. The quote may have
// been cut anywhere after the header, and routers have changed TTL and
// checksum, so neither the checksum nor the total length's upper bound is
// looked at (RFC 792; RFC 1812, section 4.3.2.3). payload is what there is of
// it. ok is false if there is no whole header.
func ParseQuoted(b []byte) (h Header, payload []byte, ok bool) {
	n, c := headerLen(b)
	if c != CauseNone {
		return nil, nil, false
	}
	total := int(binary.BigEndian.Uint16(b[2:4]))
	if total < n {
		return nil, nil, false
	}
	total = min(total, len(b))
	return Header(b[:n:total]), b[n:total:total], true
}

// headerLen checks version and header length, and that b holds the header.
func headerLen(b []byte) (int, Cause) {
	if len(b) < MinHeaderLen {
		return 0, CauseTooShort
	}
	if b[0]>>4 != 4 {
		return 0, CauseBadVersion
	}
	n := int(b[0]&15) * 4
	if n < MinHeaderLen {
		return 0, CauseBadHeaderLength
	}
	if n > len(b) {
		return 0, CauseTooShort
	}
	return n, CauseNone
}

// split checks the total length, and cuts b behind a header of n bytes.
func split(b []byte, n int) (Header, []byte, Cause) {
	total := int(binary.BigEndian.Uint16(b[2:4]))
	if total > len(b) {
		return nil, nil, CauseTruncated
	}
	if total < n {
		return nil, nil, CauseBadTotalLength
	}
	return Header(b[:n:total]), b[n:total:total], CauseNone
}

// HeaderLen returns the header's length in bytes, 20 to 60, options included
// (RFC 791, section 3.1, Internet Header Length).
func (h Header) HeaderLen() int { return int(h[0]&15) * 4 }

// TOS returns the type of service byte: the DSCP in the upper six bits (RFC
// 2474, section 3), ECN in the lower two (RFC 3168, section 5).
func (h Header) TOS() uint8 { return h[1] }

// ECN returns the two bits of explicit congestion notification: 0 not capable,
// 1 ECT(1), 2 ECT(0), 3 congestion experienced (RFC 3168, section 5).
func (h Header) ECN() uint8 { return h[1] & 3 }

// TotalLen returns the datagram's length in bytes, header included (RFC 791,
// section 3.1). A quoted datagram may hold less.
func (h Header) TotalLen() int { return int(binary.BigEndian.Uint16(h[2:4])) }

// ID returns the identification. It means something only in a fragment (RFC
// 6864, section 4.1).
func (h Header) ID() uint16 { return binary.BigEndian.Uint16(h[4:6]) }

// DontFragment reports whether no router may fragment the datagram (RFC 791,
// section 3.1, flag DF).
func (h Header) DontFragment() bool { return h[6]&(flagDF>>8) != 0 }

// MoreFragments reports whether this is a fragment, and not the last one (RFC
// 791, section 3.1, flag MF).
func (h Header) MoreFragments() bool { return h[6]&(flagMF>>8) != 0 }

// FragmentOffset returns where in the whole datagram's payload this payload
// belongs, in bytes; the field counts in units of 8 (RFC 791, section 3.1).
func (h Header) FragmentOffset() int {
	return int(binary.BigEndian.Uint16(h[6:8])&offsetMask) * 8
}

// IsFragment reports whether this is only a part of a datagram: it has an
// offset, or more fragments follow.
func (h Header) IsFragment() bool {
	return binary.BigEndian.Uint16(h[6:8])&(flagMF|offsetMask) != 0
}

// TTL returns the time to live, in hops (RFC 791, section 3.1; RFC 1122,
// section 3.2.1.7).
func (h Header) TTL() uint8 { return h[8] }

// Protocol returns the number of the protocol that the payload is (RFC 791,
// section 3.1).
func (h Header) Protocol() uint8 { return h[9] }

// Checksum returns the header checksum as it stands in the header (RFC 791,
// section 3.1).
func (h Header) Checksum() uint16 { return binary.BigEndian.Uint16(h[10:12]) }

// Src returns the source address (RFC 791, section 3.1).
func (h Header) Src() Addr { return Addr(h[12:16]) }

// Dst returns the destination address (RFC 791, section 3.1).
func (h Header) Dst() Addr { return Addr(h[16:20]) }

// Options returns a view of the options, padding included: 0 to 40 bytes, a
// multiple of 4. [ParseOptions] tells whether they make sense.
func (h Header) Options() Options { return Options(h[MinHeaderLen:len(h):len(h)]) }

// Payload returns a view of what follows the header, up to the total length or
// to where a quote was cut.
func (h Header) Payload() []byte { return h[len(h):cap(h):cap(h)] }

// Datagram returns a view of header and payload together.
func (h Header) Datagram() []byte { return h[:cap(h):cap(h)] }
