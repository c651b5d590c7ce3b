package cmsg

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// PutInet writes a struct sockaddr_in of 16 bytes.
func PutInet(b []byte, ip [4]byte, port uint16) {
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	binary.BigEndian.PutUint16(b[2:], port)
	copy(b[4:8], ip[:])
}
