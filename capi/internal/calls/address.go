package calls

import (
	"encoding/binary"
	"unsafe"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// storage is the size of a struct sockaddr_storage.
const storage = unix.SizeofSockaddrAny + 16

// inet returns the AF_INET address in raw, if it is one. Hot.
func inet(raw []byte) (a sockapi.Sockaddr, ok bool) {
	if len(raw) < unix.SizeofSockaddrInet4 || binary.NativeEndian.Uint16(raw) != unix.AF_INET {
		return a, false
	}
	return sockapi.Inet4([4]byte(raw[4:8]), binary.BigEndian.Uint16(raw[2:])), true
}

// sockaddr returns the address in raw: EINVAL if it is too short for a family, or longer
// than any.
func sockaddr(raw []byte) (sockapi.Sockaddr, int) {
	if len(raw) < 2 || len(raw) > storage {
		return sockapi.Sockaddr{}, invalid
	}
	if a, ok := inet(raw); ok {
		return a, 0
	}
	switch family := binary.NativeEndian.Uint16(raw); family {
	case unix.AF_INET, unix.AF_UNSPEC, unix.AF_PACKET:
		return sockapi.ParseSockaddr(raw), 0
	default:
		return sockapi.RawSockaddr(family, raw[2:]), 0
	}
}

// destination returns the address that a datagram is sent to: as Linux takes it, AF_UNSPEC
// is AF_INET.
func destination(s *sockapi.Socket, raw []byte) (sockapi.Sockaddr, int) {
	a, ok := inet(raw)
	if ok && len(raw) <= storage || len(raw) == 0 {
		return a, 0
	}
	a, e := sockaddr(raw)
	switch k := s.Is(); {
	case e != 0:
		return a, e
	case k.Domain != unix.AF_INET:
		return a, 0
	case len(raw) < unix.SizeofSockaddrInet4:
		return a, invalid
	case a.Family == unix.AF_UNSPEC && k.Proto != unix.IPPROTO_ICMP:
		return sockapi.Inet4([4]byte(raw[4:8]), binary.BigEndian.Uint16(raw[2:])), 0
	}
	return a, 0
}

// putName stores an address at name, as much as fits in n bytes, and returns its length. Hot.
func putName(a *sockapi.Sockaddr, name *byte, n uint32) uint32 {
	if a.Family == unix.AF_INET && n >= unix.SizeofSockaddrInet4 {
		b := (*[unix.SizeofSockaddrInet4]byte)(unsafe.Pointer(name))
		*b = [unix.SizeofSockaddrInet4]byte{}
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET)
		binary.BigEndian.PutUint16(b[2:], a.Port)
		*(*[4]byte)(b[4:]) = a.IP4()
		return unix.SizeofSockaddrInet4
	}
	if a.IsZero() {
		return 0
	}
	return uint32(a.PutRaw(unsafe.Slice(name, n)))
}
