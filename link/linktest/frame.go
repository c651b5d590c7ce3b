package linktest

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
)

// Parts of a frame of the suite.
const (
	ipHeaderLen = 20 // IPv4 without options (RFC 791)
	udpStart    = link.HeaderLen + ipHeaderLen
	payloadAt   = udpStart + 8
	udpCsumAt   = 6 // of the checksum in the UDP header (RFC 768)

	// MinFrame is the shortest frame of the suite in bytes: Ethernet, IPv4 and UDP
	// headers and a serial number.
	MinFrame = payloadAt + 8

	// port is the UDP port at both ends: discard (RFC 863), so that a kernel
	// beside us keeps calm. The serial number starts with magic.
	port  = 9
	magic = 0x6f62 // "ob"
)

// Frame returns a frame of n bytes, at least MinFrame: a UDP datagram with a serial
// number of up to 48 bits and bytes that depend on it, and with valid checksums.
func Frame(dst, src link.MAC, serial uint64, n int) []byte {
	f := make([]byte, n)
	ether.Put(f, dst, src, ether.TypeIPv4)
	ip, udp := f[link.HeaderLen:], f[udpStart:]
	ip[0] = 0x45 // version 4, 5 words
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[6:], 0x4000) // don't fragment
	ip[8], ip[9] = 64, 17                      // TTL, protocol UDP
	copy(ip[12:], []byte{192, 0, 2, 1})
	copy(ip[16:], []byte{192, 0, 2, 2})
	binary.BigEndian.PutUint16(ip[10:], ^checksum.Checksum(ip[:ipHeaderLen], 0))
	binary.BigEndian.PutUint16(udp[0:], port)
	binary.BigEndian.PutUint16(udp[2:], port)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	binary.BigEndian.PutUint64(udp[8:], magic<<48|serial&(1<<48-1))
	for i := range udp[16:] {
		udp[16+i] = byte(serial) + byte(i)
	}
	binary.BigEndian.PutUint16(udp[udpCsumAt:], pseudoSum(f))
	binary.BigEndian.PutUint16(udp[udpCsumAt:], fold(udp))
	return f
}

// pseudoSum is the sum of the pseudo-header of a datagram (RFC 768), not inverted.
func pseudoSum(f []byte) uint16 {
	sum := checksum.Checksum(f[link.HeaderLen+12:udpStart], 17)
	return checksum.Combine(sum, uint16(len(f)-udpStart))
}

// fold returns the checksum of a UDP segment whose field holds the pseudo-header's
// sum, as it is transmitted.
func fold(udp []byte) uint16 {
	if sum := ^checksum.Checksum(udp, 0); sum != 0 {
		return sum
	}
	return 0xffff
}

// Serial returns the serial number of a frame from Frame, or false if it is none.
func Serial(f []byte) (uint64, bool) {
	if len(f) < MinFrame || ether.Header(f).Type() != ether.TypeIPv4 || f[link.HeaderLen+9] != 17 {
		return 0, false
	}
	n := binary.BigEndian.Uint64(f[payloadAt:])
	return n & (1<<48 - 1), n>>48 == magic && binary.BigEndian.Uint16(f[udpStart+2:]) == port
}

// Intact reports whether a frame from Frame arrived as it was sent, but for its UDP
// checksum: by its lengths and its bytes.
func Intact(f []byte) bool {
	serial, ok := Serial(f)
	if !ok || int(binary.BigEndian.Uint16(f[link.HeaderLen+2:])) != len(f)-link.HeaderLen {
		return false
	}
	for i, b := range f[MinFrame:] {
		if b != byte(serial)+byte(i) {
			return false
		}
	}
	return true
}

// ChecksumOK reports whether the UDP checksum of a frame from Frame is right.
func ChecksumOK(f []byte) bool {
	return checksum.Checksum(f[udpStart:], pseudoSum(f)) == 0xffff
}

// partial turns a frame from Frame into one that leaves its checksum to the link.
func partial(f []byte) link.TxFrame {
	binary.BigEndian.PutUint16(f[udpStart+udpCsumAt:], pseudoSum(f))
	return link.TxFrame{Data: f, PartialChecksum: true, CsumStart: udpStart, CsumOffset: udpCsumAt}
}
