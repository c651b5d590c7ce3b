package icmp

import (
	"encoding/binary"

	"github.com/outband/outband/internal/checksum"
)

// Lengths in bytes of an extension structure's header and of the header of each
// object in it (RFC 4884, section 7), and the version that there is.
const (
	extensionHeaderLen = 4
	objectHeaderLen    = 4
	extensionVersion   = 2
)

// An Extension says where the extensions of an error are (RFC 4884).
type Extension struct {
	// At is where they begin, counted from the end of the quoted headers.
	At int
	// Invalid says that they are malformed: the checksum is wrong, or an object
	// is longer than there is.
	Invalid bool
}

// ParseExtension finds the extensions of an error that quotes headers of so many
// bytes. ok is false if the error has none, or they would lie among the quoted
// headers or behind the message. The rules are those of Linux'
// ip_icmp_error_rfc4884: a structure of another version is not looked into, and a
// checksum of 0 is none.
func ParseExtension(m Message, headers int) (x Extension, ok bool) {
	switch m.Type() {
	case DestinationUnreachable, TimeExceeded, ParameterProblem:
	default:
		return Extension{}, false
	}
	// RFC 4884, section 4: the length of what is quoted, in words of four bytes.
	at := int(m[5]) * 4
	if at < minExtended || at < headers || at+extensionHeaderLen > len(m.Data()) {
		return Extension{}, false
	}
	return Extension{At: at - headers, Invalid: !validExtension(m.Data()[at:])}, true
}

// validExtension checks an extension structure, which ends with b.
func validExtension(b []byte) bool {
	if b[0]>>4 != extensionVersion {
		return true
	}
	if binary.BigEndian.Uint16(b[2:]) != 0 && checksum.Sum(b, 0) != 0xffff {
		return false
	}
	for b = b[extensionHeaderLen:]; len(b) > 0; {
		if len(b) < objectHeaderLen {
			return false
		}
		n := int(binary.BigEndian.Uint16(b))
		if n < objectHeaderLen || n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}
