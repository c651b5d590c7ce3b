package udp

import (
	"encoding/binary"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
)

// Sums in this file are those of package checksum, not yet complemented.

// PseudoSum returns the sum of the pseudo-header: addresses, protocol, and the
// length in bytes of the UDP header and payload (RFC 768).
func PseudoSum(src, dst ipv4.Addr, length int) uint16 {
	return checksum.Fold(uint64(binary.BigEndian.Uint32(src[:])) +
		uint64(binary.BigEndian.Uint32(dst[:])) + Protocol + uint64(length))
}

// PartialSum returns the sum of all that stays the same from datagram to
// datagram of one path: the pseudo-header and the ports, without the lengths.
func PartialSum(src, dst ipv4.Addr, sport, dport uint16) uint32 {
	return uint32(checksum.Fold(uint64(binary.BigEndian.Uint32(src[:])) +
		uint64(binary.BigEndian.Uint32(dst[:])) + Protocol + uint64(sport) + uint64(dport)))
}

// FinishChecksum returns the checksum field of a datagram, never 0: from its
// path's PartialSum, its length in bytes with the header, and the sum of its
// payload.
func FinishChecksum(partial uint32, udpLen int, payloadSum uint16) uint16 {
	// The length counts twice: in the pseudo-header and in the header.
	sum := ^checksum.Fold(uint64(partial) + 2*uint64(udpLen) + uint64(payloadSum))
	if sum == 0 {
		return 0xffff // RFC 768: 0 means that none was computed
	}
	return sum
}

// VerifyChecksum reports whether the checksum of a datagram, cut to its length
// as Parse returns it, is right. A field of 0 is right: the sender computed
// none, and the receiver has to take the datagram (RFC 1122, 4.1.3.4).
func VerifyChecksum(src, dst ipv4.Addr, datagram []byte) bool {
	if datagram[6]|datagram[7] == 0 {
		return true
	}
	return checksum.Sum(datagram, PseudoSum(src, dst, len(datagram))) == 0xffff
}
