package ipv4

import (
	"encoding/binary"
	"math/bits"
)

// sumWords returns the sum of b's 32-bit words as the machine reads them, whose
// remainder modulo 65535 is the one's complement sum in that byte order. b is a
// header: at most 15 words, so the sum cannot overflow. A tail of fewer than 4
// bytes is not counted; a header has none.
func sumWords(b []byte) uint64 {
	var sum uint64
	for len(b) >= 4 {
		sum += uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	return sum
}

// Checksum returns the checksum of a header, its options included, as RFC 791,
// section 3.1 says: the checksum field itself counts as zero. It is to be
// stored in network byte order. header is 20 to 60 bytes, a multiple of 4.
func Checksum(header []byte) uint16 {
	sum := sumWords(header) - uint64(binary.LittleEndian.Uint32(header[8:12])&^0xffff)
	folded := uint16(sum % 0xffff)
	if folded == 0 && sum != 0 {
		folded = 0xffff
	}
	return ^bits.ReverseBytes16(folded)
}

// PartialSum returns the sum of all fields of a header but total length,
// identification and checksum, whatever these hold. Who sends many datagrams
// with the same header otherwise keeps it, and finishes it for each by
// [FinishChecksum] (RFC 1624 is about the same saving). template is 20 to 60
// bytes, a multiple of 4.
func PartialSum(template []byte) uint32 {
	sum := uint32(binary.BigEndian.Uint16(template[0:2])) +
		uint32(binary.BigEndian.Uint16(template[6:8])) +
		uint32(binary.BigEndian.Uint16(template[8:10]))
	for b := template[12:]; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	return sum
}

// FinishChecksum returns the checksum of the header that [PartialSum] added
// up, with this total length in bytes and this identification. It is to be
// stored in network byte order.
func FinishChecksum(sum uint32, totalLen, id uint16) uint16 {
	sum += uint32(totalLen) + uint32(id)
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	return ^uint16(sum)
}

// Patch writes total length (bytes, header included), identification and
// checksum into a header whose [PartialSum] is sum.
func Patch(header []byte, sum uint32, totalLen, id uint16) {
	_ = header[11]
	binary.BigEndian.PutUint16(header[2:4], totalLen)
	binary.BigEndian.PutUint16(header[4:6], id)
	binary.BigEndian.PutUint16(header[10:12], FinishChecksum(sum, totalLen, id))
}
