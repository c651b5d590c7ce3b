package ether

import "encoding/binary"

// TagLen is the length in bytes of a VLAN tag in a frame: its type and its
// contents.
const TagLen = 4

// A Tag is the contents of a VLAN tag (IEEE 802.1Q, clause 9.6): priority, whether
// the frame may be dropped first, and identifier.
type Tag uint16

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

// SkipPriorityTags passes over tags that name no VLAN, of which a frame may have any
// number, of either type. t is the type in the header, and payload what follows it.
// It returns the first type that is no such tag, and what follows that. ok is false if
// the frame ends within a tag.
func SkipPriorityTags(t Type, payload []byte) (next Type, rest []byte, ok bool) {
	for t.IsTag() {
		tag, next, rest, ok := ParseTag(payload)
		if !ok {
			return t, nil, false
		}
		if tag.VLAN() != 0 {
			break
		}
		t, payload = next, rest
	}
	return t, payload, true
}
