package ipv4

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

var (
	near  = Addr{10, 0, 0, 1}
	far   = Addr{10, 0, 0, 2}
	other = Addr{192, 0, 2, 7}
)

// equal fails the test unless got is want.
func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// unhex reads hexadecimal digits with any white space between them.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// naiveChecksum is RFC 1071, section 4.1, word for word.
func naiveChecksum(header []byte) uint16 {
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		if i == 10 {
			continue
		}
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
		for sum>>16 != 0 {
			sum = sum&0xffff + sum>>16
		}
	}
	return ^uint16(sum)
}

// fix writes the right checksum into a header.
func fix(b []byte) []byte {
	n := int(b[0]&15) * 4
	binary.BigEndian.PutUint16(b[10:], naiveChecksum(b[:n]))
	return b
}

// datagram returns a whole datagram.
func datagram(f Fields, payload []byte) []byte {
	b := make([]byte, f.HeaderLen()+len(payload))
	n := f.Put(b, len(payload))
	copy(b[n:], payload)
	return b
}

// pattern returns n bytes that differ from their neighbours.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13)
	}
	return b
}

// Datagrams as they look on a wire, Ethernet header removed.
var (
	// A DNS query, DF clear.
	frameDNS = fix(unhex(`4500 0034 7c1d 0000 4011 0000 c0a8 0102 c0a8 0101
		cf5c 0035 0020 5e0d 1f2a 0100 0001 0000 0000 0000 0776 6563 746f 7200 0001 0001`))
	// ping's echo request, DF set, padded by Ethernet to 46 bytes.
	framePing = fix(unhex(`4500 0021 1c46 4000 4001 0000 0a00 0001 0a00 0002
		0800 f7ea 0001 0014 0000 0000 00 00 0000 0000 0000 0000 0000 0000`))
	// An IGMPv2 report with the router alert option, TTL 1 (RFC 2236, section 2).
	frameIGMP = fix(unhex(`46c0 0020 0000 4000 0102 0000 0a00 0001 e000 00fb 9404 0000
		1600 0904 e000 00fb`))
)
