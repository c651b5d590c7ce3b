package ether

import "encoding/binary"

// TagLen is the length in bytes of a VLAN tag in a frame: its type and its
// contents.
const TagLen = 4

// A Tag is the contents of a VLAN tag (IEEE 802.1Q, clause 9.6): priority, whether
// the frame may be dropped first, and identifier.
type Tag uint16

// MakeTag returns the tag of a VLAN, 0 to 4095, with a priority, 0 to 7.
func MakeTag(vlan, priority int) Tag { return Tag(priority&7<<13 | vlan&0x0fff) }

// VLAN returns the identifier, 0 to 4095. 0 is no VLAN: the tag carries a priority
// only. 4095 is reserved.
func (t Tag) VLAN() int { return int(t & 0x0fff) }

// Priority returns the priority code point, 0 to 7.
func (t Tag) Priority() int { return int(t >> 13) }

// DropEligible reports whether the frame may be dropped first in congestion.
func (t Tag) DropEligible() bool { return t&0x1000 != 0 }

// ParseTag takes the tag that begins payload, which follows a type that IsTag. It
// returns the type behind the tag and what follows that; ok is false if there is no
// whole tag.
func ParseTag(payload []byte) (tag Tag, next Type, rest []byte, ok bool) {
	if len(payload) < TagLen {
		return 0, 0, nil, false
	}
	return Tag(binary.BigEndian.Uint16(payload)), Type(binary.BigEndian.Uint16(payload[2:])), payload[TagLen:], true
}

// AppendTag appends a tag of the type t to what stands before it in a frame: the
// addresses, and other tags. The type of what the frame carries, or another tag, is to
// follow.
func AppendTag(b []byte, t Type, tag Tag) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(t))
	return binary.BigEndian.AppendUint16(b, uint16(tag))
}

// Untag takes the outermost tag out of a frame that has one, as ParseTag has found. The
// addresses are moved up to what is behind it: the frame begins TagLen bytes later then.
func Untag(frame []byte) []byte {
	rest := frame[TagLen:]
	copy(rest, frame[:HeaderLen-2])
	return rest
}

// StripPriorityTags takes the tags that name no VLAN out of a frame whose header is
// whole: it may have any number of them, of either type. ok is false if there is another
// tag behind them, or if the frame ends within one.
func StripPriorityTags(frame []byte) (rest []byte, ok bool) {
	for Header(frame).Type().IsTag() {
		tag, _, _, whole := ParseTag(frame[HeaderLen:])
		if !whole || tag.VLAN() != 0 {
			return frame, false
		}
		frame = Untag(frame)
	}
	return frame, true
}
