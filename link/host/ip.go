package host

import (
	"encoding/binary"

	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/internal/checksum"
)

// The protocol rooms are above a link, so what it takes of IPv4 and UDP is here.
const (
	ipMinHeaderLen = 20    // bytes, without options (RFC 791, section 3.1)
	ipMaxLen       = 65535 // bytes of a datagram (RFC 791, section 3.1)
	udpHeaderLen   = 8     // bytes (RFC 768)
	icmpHeaderLen  = 8     // bytes of an error (RFC 792)
	protocolICMP   = 1     // protocol numbers, IANA
	protocolUDP    = 17    // protocol numbers, IANA

	icmpUnreachable      = 3  // types (RFC 792)
	icmpParameterProblem = 12 // types (RFC 792)
)

// An ipHeader is a view of a datagram's header, the datagram being its capacity.
type ipHeader []byte

// datagram returns the whole datagram.
func (h ipHeader) datagram() []byte { return h[:cap(h)] }

// tos returns the type of service byte (RFC 2474), source and destination the addresses.
func (h ipHeader) tos() uint8           { return h[1] }
func (h ipHeader) source() [4]byte      { return [4]byte(h[12:16]) }
func (h ipHeader) destination() [4]byte { return [4]byte(h[16:20]) }

// parseIP views the datagram at the beginning of b, without the padding behind it. It
// checks the lengths only: what else there is to check the kernel does.
func parseIP(b []byte) (h ipHeader, ok bool) {
	if len(b) < ipMinHeaderLen || b[0]>>4 != 4 {
		return nil, false
	}
	n, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if n < ipMinHeaderLen || n > total || total > len(b) {
		return nil, false
	}
	return ipHeader(b[:n:total]), true
}

// An ipFields is an IPv4 header to be written. Identification and flags are 0: the kernel
// does not tell them.
type ipFields struct {
	tos, ttl, protocol  byte
	source, destination [4]byte
	options             []byte
}

// len returns the length in bytes of the header.
func (f *ipFields) len() int { return ipMinHeaderLen + (len(f.options)+3)&^3 }

// put writes the header to b, for a payload of so many bytes behind it, and returns what of
// b is behind it.
func (f *ipFields) put(b []byte, payload int) []byte {
	h := b[:f.len()]
	clear(h) // options end with 0 too
	h[0] = 0x40 | byte(len(h)/4)
	h[1] = f.tos
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+payload))
	h[8], h[9] = f.ttl, f.protocol
	copy(h[12:], f.source[:])
	copy(h[16:], f.destination[:])
	copy(h[ipMinHeaderLen:], f.options)
	binary.BigEndian.PutUint16(h[10:], ^checksum.Sum(h, 0))
	return b[len(h):]
}

// putUDP writes a UDP header to b (RFC 768), without a checksum: the kernel has verified it.
func putUDP(b []byte, from, to uint16, payload int) {
	binary.BigEndian.PutUint16(b[0:], from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], uint16(udpHeaderLen+payload))
	binary.BigEndian.PutUint16(b[6:], 0)
}

// putICMP writes the header of an ICMP error to b, which has the whole of it (RFC 792).
func putICMP(b []byte, e *holder.ICMPError) {
	clear(b[:icmpHeaderLen])
	b[0], b[1] = e.Type, e.Code
	switch e.Type {
	case icmpUnreachable:
		binary.BigEndian.PutUint16(b[6:], uint16(e.Info)) // the next hop's MTU (RFC 1191, section 4)
	case icmpParameterProblem:
		b[4] = byte(e.Info) // the pointer
	}
	binary.BigEndian.PutUint16(b[2:], ^checksum.Sum(b, 0))
}
