package icmp

import (
	"encoding/binary"

	"github.com/outband/outband/internal/checksum"
)

const (
	// MaxErrorPacket is how long in bytes the IP packet of an error may be: as
	// much of the datagram as possible is quoted without exceeding what every
	// host can receive (RFC 1812, 4.3.2.3).
	MaxErrorPacket = 576
	// MaxQuote is how much of a datagram an error quotes, in bytes, when its own
	// IP header has no options.
	MaxQuote = MaxErrorPacket - 20 - HeaderLen
	// TimestampLen is the length in bytes of Timestamp and TimestampReply: the
	// header and three times (RFC 792).
	TimestampLen = HeaderLen + 12
)

// appendHeader appends a header without checksum.
func appendHeader(b []byte, typ, code uint8, rest uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, typ, code, 0, 0), rest)
}

// seal writes the checksum of the message that begins at b[start].
func seal(b []byte, start int) []byte {
	m := b[start:]
	binary.BigEndian.PutUint16(m[2:4], ^checksum.Sum(m, 0))
	return b
}

// AppendEcho appends an Echo or EchoReply, as typ says, and returns the longer
// slice. Like the other functions here it allocates only if b has no room.
func AppendEcho(b []byte, typ uint8, ident, seq uint16, data []byte) []byte {
	start := len(b)
	b = appendHeader(b, typ, 0, uint32(ident)<<16|uint32(seq))
	return seal(append(b, data...), start)
}

// AppendEchoReply appends the answer to an Echo: the same message, data and
// all, with another type (RFC 1122, 3.2.2.6). req must not overlap with the room
// behind b.
func AppendEchoReply(b []byte, req Message) []byte {
	start := len(b)
	b = appendHeader(b, EchoReply, req.Code(), req.Rest())
	return seal(append(b, req.Data()...), start)
}

// AppendTimestampReply appends the answer to a Timestamp that was received and
// is answered msSinceMidnightUT milliseconds after midnight, universal time. It
// appends nothing if req is too short to have the time when it was sent; Linux
// asks for no more of it either (icmp_timestamp).
func AppendTimestampReply(b []byte, req Message, msSinceMidnightUT uint32) []byte {
	if len(req) < HeaderLen+4 {
		return b
	}
	start := len(b)
	b = appendHeader(b, TimestampReply, 0, req.Rest())
	b = append(b, req[HeaderLen:HeaderLen+4]...)
	b = binary.BigEndian.AppendUint32(b, msSinceMidnightUT)
	return seal(binary.BigEndian.AppendUint32(b, msSinceMidnightUT), start)
}

// AppendError appends an error about the IP packet quoted, header first, of
// which at most MaxQuote bytes go into it. Where its own IP header has options,
// or the path's MTU is below MaxErrorPacket, the caller shortens quoted. rest is
// what the type wants (FragmentationRest, PointerRest), else 0.
func AppendError(b []byte, typ, code uint8, rest uint32, quoted []byte) []byte {
	start := len(b)
	b = appendHeader(b, typ, code, rest)
	return seal(append(b, quoted[:min(len(quoted), MaxQuote)]...), start)
}

// Shorten cuts a message to n bytes, and makes its checksum right again.
func Shorten(m []byte, n int) []byte {
	clear(m[2:4])
	return seal(m[:n], 0)
}

// FragmentationRest returns AppendError's rest for CodeFragmentation: the MTU
// in bytes (RFC 1191, 4).
func FragmentationRest(mtu int) uint32 { return uint32(mtu) & 0xffff }

// PointerRest returns AppendError's rest for a ParameterProblem: the offset in
// bytes of the fault (RFC 792).
func PointerRest(offset int) uint32 { return uint32(offset) << 24 }
