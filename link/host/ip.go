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
	protocolUDP    = 17    // protocol numbers, IANA
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

// headerLenOf returns the length in bytes of the IPv4 header of a holder's datagram.
func headerLenOf(d *holder.Datagram) int { return ipMinHeaderLen + (len(d.Options())+3)&^3 }

// putIP writes the IPv4 header of a holder's datagram to b, which has its length.
func putIP(b []byte, d *holder.Datagram) {
	clear(b) // identification and flags are not known; options end with 0
	b[0] = 0x40 | byte(len(b)/4)
	b[1] = d.TOS
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+udpHeaderLen+d.Len))
	b[8], b[9] = d.TTL, protocolUDP
	copy(b[12:], d.Source[:])
	copy(b[16:], d.Destination[:])
	copy(b[ipMinHeaderLen:], d.Options())
	binary.BigEndian.PutUint16(b[10:], ^checksum.Sum(b, 0))
}

// putUDP writes the UDP header to b (RFC 768), without a checksum: the kernel has
// verified it.
func putUDP(b []byte, d *holder.Datagram) {
	binary.BigEndian.PutUint16(b[0:], d.SourcePort)
	binary.BigEndian.PutUint16(b[2:], d.Port)
	binary.BigEndian.PutUint16(b[4:], uint16(udpHeaderLen+d.Len))
	binary.BigEndian.PutUint16(b[6:], 0)
}
