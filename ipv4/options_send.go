package ipv4

import "encoding/binary"

// SentOptions are the options of datagrams that a host sends, checked and ready
// to be written. The zero value is no options.
type SentOptions struct {
	b   [MaxOptionsLen]byte
	n   uint8 // a multiple of 4
	set OptionSet
}

// Set takes options as a program gives them (IP_OPTIONS and IP_RETOPTS in ip(7)),
// pads them to a multiple of 4 bytes, and clears what stands behind their end.
// The rules are those of Linux' __ip_options_compile for what is sent; the cause
// is CauseNone if they are kept. A source route's pointer stands at its begin.
func (s *SentOptions) Set(o Options) Cause {
	*s = SentOptions{}
	if len(o) > MaxOptionsLen {
		return CauseOptionTruncated
	}
	var next SentOptions
	next.n = uint8(copy(next.b[:], o)+3) &^ 3
	clear(next.b[behindEnd(next.b[:len(o)]):])
	set, _, c := ParseOptions(next.b[:next.n])
	if c != CauseNone {
		return c
	}
	next.set = set
	if set.SourceRoute != 0 {
		opt := next.at(set.SourceRoute)
		if len(opt) < routeDataAt+4 || (len(opt)-routeDataAt)%4 != 0 {
			return CauseOptionBadLength
		}
		if opt[optionPointerAt] != routeDataAt+1 {
			return CauseOptionBadPointer
		}
	}
	if set.RecordRoute != 0 {
		clearSlot(next.at(set.RecordRoute), 4, 4)
	}
	if set.Timestamp != 0 {
		clearTime(next.at(set.Timestamp))
	}
	*s = next
	return CauseNone
}

// behindEnd returns the index behind the end-of-list option, len(o) if there is
// none, or the list is malformed.
func behindEnd(o Options) int {
	left := o
	for _, rest, ok := left.Next(); ok; _, rest, ok = left.Next() {
		left = rest
	}
	if len(left) > 0 && OptionType(left[0]) == OptionEnd {
		return len(o) - len(left) + 1
	}
	return len(o)
}

// Len returns the length of the options in a header, in bytes.
func (s *SentOptions) Len() int { return int(s.n) }

// Bytes returns the options as getsockopt(IP_OPTIONS) shows them: a view.
func (s *SentOptions) Bytes() []byte { return s.b[:s.n] }

// FirstHop returns where a datagram with a source route goes first: the
// destination of its header. ok is false without a route.
func (s *SentOptions) FirstHop() (hop Addr, ok bool) {
	if s.set.SourceRoute == 0 {
		return hop, false
	}
	return Addr(s.at(s.set.SourceRoute)[routeDataAt:]), true
}

// at returns the option at an offset of the header.
func (s *SentOptions) at(offset uint8) []byte {
	at := offset - MinHeaderLen
	return s.b[at : at+s.b[at+optionLenAt]]
}

// Put writes the options of one datagram to b, which has room for them: its
// sender, own, enters itself in the record route and the timestamp, with the time
// in milliseconds since midnight UT; a source route loses its first hop, which is
// the header's destination, and ends with final, where the datagram is to go.
func (s *SentOptions) Put(b []byte, own, final Addr, ms uint32) {
	var header [MaxHeaderLen]byte
	h := header[:MinHeaderLen+int(s.n)]
	copy(h[MinHeaderLen:], s.b[:s.n])
	s.set.StampSent(h, own, ms)
	if at := s.set.SourceRoute; at != 0 {
		opt := h[at : at+h[at+optionLenAt]]
		copy(opt[routeDataAt:], opt[routeDataAt+4:])
		copy(opt[len(opt)-4:], final[:])
	}
	copy(b, h[MinHeaderLen:])
}

// StampSent is Stamp for a datagram that is sent: a host that finds no room
// itself is not counted as overflow, as in Linux.
func (set OptionSet) StampSent(header []byte, own Addr, ms uint32) {
	if set.Timestamp == 0 {
		set.Stamp(header, own, ms)
		return
	}
	overflow := &header[set.Timestamp+timestampFlagAt]
	counted := *overflow
	set.Stamp(header, own, ms)
	if *overflow != counted {
		*overflow = counted
		binary.BigEndian.PutUint16(header[10:12], Checksum(header))
	}
}

// AppendReturnOptions appends what IP_RETOPTS delivers of a datagram (ip(7);
// Linux' ip_cmsg_recv_retopts): the options that an answer could be sent with.
// These are those of AppendReplyOptions, with the slot that the answer's sender
// would fill cleared. ok is false if an option has room for a part of a slot
// only, for which Linux gives none.
//
// h has been received and stamped; set is what [ParseOptions] has returned.
func AppendReturnOptions(b []byte, h Header, set OptionSet) (options []byte, ok bool) {
	at := len(b)
	b, firstHop := AppendReplyOptions(b, h, set)
	if set.RecordRoute != 0 {
		opt := b[at : at+int(b[at+optionLenAt])]
		if !clearSlot(opt, 4, 4) {
			return b[:at], false
		}
		at += len(opt)
	}
	if set.Timestamp != 0 {
		opt := b[at : at+int(b[at+optionLenAt])]
		if !clearTime(opt) {
			return b[:at], false
		}
		at += len(opt)
	}
	if set.SourceRoute != 0 && !firstHop.IsUnspecified() {
		// The route as a program gives it begins with the first hop, and leaves
		// the destination to the address.
		opt := b[at : at+int(b[at+optionLenAt])]
		copy(opt[routeDataAt+4:], opt[routeDataAt:])
		copy(opt[routeDataAt:], firstHop[:])
	}
	return b, true
}

// AppendReturnOptionsOf is [AppendReturnOptions] for a datagram of which only the
// source and the options, received and stamped, are left. ok is false also if they
// are not well-formed.
func AppendReturnOptionsOf(b []byte, source Addr, received []byte) (options []byte, ok bool) {
	var header [MaxHeaderLen]byte
	copy(header[12:16], source[:])
	n := MinHeaderLen + copy(header[MinHeaderLen:], received)
	set, _, cause := ParseOptions(header[MinHeaderLen:n])
	if cause != CauseNone {
		return b, false
	}
	return AppendReturnOptions(b, header[:n], set)
}

// clearSlot clears the first n bytes of the slot of size bytes that the pointer
// of an option points to, if there is one. It returns false if there is room for
// a part of it only.
func clearSlot(opt []byte, size, n int) bool {
	p := int(opt[optionPointerAt])
	if p > len(opt) {
		return true
	}
	if p+size-1 > len(opt) {
		return false
	}
	clear(opt[p-1 : p-1+n])
	return true
}

// clearTime is clearSlot for a timestamp option. Addresses that are there already
// are kept.
func clearTime(opt []byte) bool {
	switch opt[timestampFlagAt] & timestampFlagsMask {
	case TimestampOnly:
		return clearSlot(opt, 4, 4)
	case TimestampAddress:
		return clearSlot(opt, 8, 8)
	default:
		return true
	}
}
