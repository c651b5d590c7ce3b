package sockapi

import (
	"encoding/binary"
	"net"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// addrSize is the size of a struct sockaddr_storage, which holds the address
// of any family (socket(7)).
const addrSize = 128

// Lengths in bytes of the addresses of the families.
const (
	inet4Len   = unix.SizeofSockaddrInet4
	inet6Len   = unix.SizeofSockaddrInet6
	netlinkLen = unix.SizeofSockaddrNetlink
	vsockLen   = unix.SizeofSockaddrVM
	packetLen  = unix.SizeofSockaddrLinklayer
	packetHead = packetLen - 8 // sockaddr_ll before sll_addr
	familyLen  = 2             // sa_family
	unixPath   = 108           // sun_path
	maxHalen   = 32            // MAX_ADDR_LEN of the kernel
)

// RawSockaddr returns an address of a family that has no constructor here;
// data is what follows the family in its struct sockaddr, at most 126 bytes.
func RawSockaddr(family uint16, data []byte) Sockaddr {
	return Sockaddr{Family: family, path: string(data[:min(len(data), addrSize-familyLen)])}
}

// Raw returns the address as its struct sockaddr has it, family included.
func (a Sockaddr) Raw() []byte {
	var buf [addrSize]byte
	return slices.Clone(buf[:a.encode(&buf)])
}

// ParseSockaddr returns the address in a struct sockaddr, of which what is beyond 128 bytes
// is not looked at: the zero one if raw is too short for a family, an address of the
// family alone if it is too short for that family's.
func ParseSockaddr(raw []byte) Sockaddr {
	var buf [addrSize]byte
	return decodeSockaddr(&buf, copy(buf[:], raw))
}

// PutRaw stores the address as its struct sockaddr has it, as much as fits in b, and returns
// the whole's length.
func (a *Sockaddr) PutRaw(b []byte) int {
	var buf [addrSize]byte
	n := a.encode(&buf)
	copy(b, buf[:n])
	return n
}

// encode stores the struct sockaddr of a in buf, which is zero, and returns its
// length. An AF_UNIX path that is too long gives a length that Linux refuses,
// with EINVAL.
func (a *Sockaddr) encode(buf *[addrSize]byte) int {
	binary.NativeEndian.PutUint16(buf[:], a.Family)
	switch a.Family {
	case unix.AF_INET, unix.AF_UNSPEC:
		// Linux' bind takes AF_UNSPEC for AF_INET, so that it has a port too.
		binary.BigEndian.PutUint16(buf[2:], a.Port)
		copy(buf[4:8], a.addr[:])
		return inet4Len
	case unix.AF_INET6:
		binary.BigEndian.PutUint16(buf[2:], a.Port)
		binary.BigEndian.PutUint32(buf[4:], a.Extra)
		copy(buf[8:24], a.addr[:])
		binary.NativeEndian.PutUint32(buf[24:], a.IfIndex)
		return inet6Len
	case unix.AF_UNIX:
		return a.encodeUnix(buf)
	case unix.AF_PACKET:
		return a.encodePacket(buf)
	case unix.AF_NETLINK:
		binary.NativeEndian.PutUint32(buf[4:], a.IfIndex)
		binary.NativeEndian.PutUint32(buf[8:], a.Extra)
		return netlinkLen
	case unix.AF_VSOCK:
		binary.NativeEndian.PutUint32(buf[4:], a.Extra)
		binary.NativeEndian.PutUint32(buf[8:], a.IfIndex)
		buf[12] = a.Pkttype
		return vsockLen
	default:
		return familyLen + copy(buf[familyLen:], a.path)
	}
}

// notInet returns why a, of another family, is no AF_INET address: Linux looks at
// the length first.
func (a *Sockaddr) notInet() unix.Errno {
	var buf [addrSize]byte
	if a.encode(&buf) < inet4Len {
		return unix.EINVAL
	}
	return unix.EAFNOSUPPORT
}

// encodeUnix follows unix(7): no path is the family alone, an abstract name
// has a NUL before it and none after it, a pathname ends with a NUL if there
// is room.
func (a *Sockaddr) encodeUnix(buf *[addrSize]byte) int {
	n := copy(buf[familyLen:], a.path)
	switch {
	case n == 0:
	case a.path[0] == '@':
		buf[familyLen] = 0
	case n < unixPath:
		n++
	}
	return familyLen + n
}

// encodePacket follows packet(7). Hardware addresses that addr has no room for
// (InfiniBand's, of 20 bytes) are in path.
func (a *Sockaddr) encodePacket(buf *[addrSize]byte) int {
	binary.BigEndian.PutUint16(buf[2:], uint16(a.Extra))
	binary.NativeEndian.PutUint32(buf[4:], a.IfIndex)
	binary.NativeEndian.PutUint16(buf[8:], a.Hatype)
	buf[10], buf[11] = a.Pkttype, a.Halen
	n := copy(buf[packetHead:packetHead+maxHalen], a.hardware())
	return packetHead + max(n, 8)
}

// hardware returns the hardware address of AF_PACKET.
func (a *Sockaddr) hardware() string {
	if a.path != "" {
		return a.path
	}
	return string(a.addr[:min(int(a.Halen), len(a.addr))])
}

// scope returns the scope that a zone of an IPv6 address names, 0 for none.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	nic, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(nic.Index)
}

// decodeSockaddr returns the address in the first n bytes of buf, as the kernel
// stored it: the zero one if n is too short for a family, an address of the
// family alone if n is too short for that family's.
func decodeSockaddr(buf *[addrSize]byte, n int) Sockaddr {
	n = min(n, addrSize)
	if n < familyLen {
		return Sockaddr{}
	}
	a := Sockaddr{Family: binary.NativeEndian.Uint16(buf[:])}
	switch a.Family {
	case unix.AF_UNSPEC:
	case unix.AF_INET:
		if n >= inet4Len {
			a.Port = binary.BigEndian.Uint16(buf[2:])
			copy(a.addr[:], buf[4:8])
		}
	case unix.AF_INET6:
		// RFC 2133's sockaddr_in6, which Linux takes still, had no scope.
		if n >= inet6Len-4 {
			a.Port = binary.BigEndian.Uint16(buf[2:])
			a.Extra = binary.BigEndian.Uint32(buf[4:])
			copy(a.addr[:], buf[8:24])
		}
		if n >= inet6Len {
			a.IfIndex = binary.NativeEndian.Uint32(buf[24:])
		}
	case unix.AF_UNIX:
		a.path = decodeUnix(buf[familyLen:n])
	case unix.AF_PACKET:
		if n >= packetHead {
			a.decodePacket(buf[:n])
		}
	case unix.AF_NETLINK:
		if n >= netlinkLen {
			a.IfIndex = binary.NativeEndian.Uint32(buf[4:])
			a.Extra = binary.NativeEndian.Uint32(buf[8:])
		}
	case unix.AF_VSOCK:
		if n >= vsockLen {
			a.Extra = binary.NativeEndian.Uint32(buf[4:])
			a.IfIndex = binary.NativeEndian.Uint32(buf[8:])
			a.Pkttype = buf[12]
		}
	default:
		a.path = string(buf[familyLen:n])
	}
	return a
}

// decodeUnix returns the path in a sun_path: "" for none, with an "@" in place
// of the NUL for an abstract name, which may have further NULs.
func decodeUnix(path []byte) string {
	if len(path) == 0 {
		return ""
	}
	if path[0] == 0 {
		return "@" + string(path[1:])
	}
	return unix.ByteSliceToString(path)
}

func (a *Sockaddr) decodePacket(raw []byte) {
	a.Extra = uint32(binary.BigEndian.Uint16(raw[2:]))
	a.IfIndex = binary.NativeEndian.Uint32(raw[4:])
	a.Hatype = binary.NativeEndian.Uint16(raw[8:])
	a.Pkttype, a.Halen = raw[10], raw[11]
	hw := raw[packetHead:]
	hw = hw[:min(len(hw), int(a.Halen), maxHalen)]
	if len(hw) > len(a.addr) {
		a.path = string(hw)
		return
	}
	copy(a.addr[:], hw)
}
