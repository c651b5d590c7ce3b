package bpf

import "encoding/binary"

// attributeLen is the length of a struct nlattr, and attributeType the part of its
// type that is no flag (linux/netlink.h).
const (
	attributeLen  = 4
	attributeType = 0x3fff
)

// findAttribute returns the offset of the first netlink attribute of a type, from
// an offset on; 0 if there is none.
func findAttribute(data []byte, from, typ uint32) uint32 {
	for at := int(from); at >= 0 && at <= len(data)-attributeLen; {
		n := int(binary.NativeEndian.Uint16(data[at:]))
		if n < attributeLen || n > len(data)-at {
			break
		}
		if uint32(binary.NativeEndian.Uint16(data[at+2:])&attributeType) == typ {
			return uint32(at)
		}
		at += (n + 3) &^ 3
	}
	return 0
}

// findNested is findAttribute for those in the attribute at an offset.
func findNested(data []byte, at, typ uint32) uint32 {
	if int(at) < 0 || int(at) > len(data)-attributeLen {
		return 0
	}
	n := int(binary.NativeEndian.Uint16(data[at:]))
	if n > len(data)-int(at) {
		return 0
	}
	return findAttribute(data[:int(at)+n], at+attributeLen, typ)
}
