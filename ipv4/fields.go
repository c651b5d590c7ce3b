package ipv4

import "encoding/binary"

// Fields is a header to be written: what of it the sender chooses.
type Fields struct {
	// TOS is the type of service byte: DSCP and ECN (RFC 2474, RFC 3168).
	TOS uint8
	// TTL is the time to live in hops; 0 is not replaced by anything.
	TTL uint8
	// Protocol is the number of the payload's protocol.
	Protocol uint8
	// ID is the identification; see [Identifier].
	ID uint16
	// DontFragment forbids routers to fragment the datagram.
	DontFragment bool
	// MoreFragments says that this is not the datagram's last fragment.
	MoreFragments bool
	// FragmentOffset is where the payload belongs in the whole datagram's, in
	// bytes: a multiple of 8.
	FragmentOffset int
	// Src and Dst are the addresses.
	Src, Dst Addr
	// Options is up to 40 bytes, written as they are and padded with
	// end-of-list to a multiple of 4.
	Options []byte
}

// HeaderLen returns the length in bytes of the header that Put would write.
func (f *Fields) HeaderLen() int { return MinHeaderLen + (len(f.Options)+3)&^3 }

// Put writes the header with its checksum to the start of b, for a payload of
// payloadLen bytes that follows it, and returns the header's length in bytes.
// It writes nothing and returns 0 if there is no such header: options over 40
// bytes, an offset that is no multiple of 8 or past the field, a datagram over
// 65535 bytes, or no room in b.
func (f *Fields) Put(b []byte, payloadLen int) int {
	n := f.HeaderLen()
	total := n + payloadLen
	if n > MaxHeaderLen || n > len(b) || payloadLen < 0 || total > MaxLen ||
		f.FragmentOffset&7 != 0 || uint(f.FragmentOffset) > offsetMask*8 {
		return 0
	}
	b = b[:n]
	b[0] = 0x40 | uint8(n/4)
	b[1] = f.TOS
	binary.BigEndian.PutUint16(b[2:4], uint16(total))
	binary.BigEndian.PutUint16(b[4:6], f.ID)
	binary.BigEndian.PutUint16(b[6:8], f.fragmentField())
	b[8] = f.TTL
	b[9] = f.Protocol
	copy(b[12:16], f.Src[:])
	copy(b[16:20], f.Dst[:])
	if n > MinHeaderLen {
		clear(b[MinHeaderLen+copy(b[MinHeaderLen:], f.Options):])
	}
	binary.BigEndian.PutUint16(b[10:12], Checksum(b))
	return n
}

// fragmentField returns flags and offset as they stand in the header.
func (f *Fields) fragmentField() uint16 {
	v := uint16(f.FragmentOffset >> 3)
	if f.DontFragment {
		v |= flagDF
	}
	if f.MoreFragments {
		v |= flagMF
	}
	return v
}

// Fields returns what the header says, in a form that can be written again. The
// options are a view of the header's.
func (h Header) Fields() Fields {
	return Fields{
		TOS: h.TOS(), TTL: h.TTL(), Protocol: h.Protocol(), ID: h.ID(),
		DontFragment: h.DontFragment(), MoreFragments: h.MoreFragments(),
		FragmentOffset: h.FragmentOffset(), Src: h.Src(), Dst: h.Dst(), Options: h.Options(),
	}
}
