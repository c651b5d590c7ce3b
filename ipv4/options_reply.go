package ipv4

import "encoding/binary"

// Stamp enters a host in a header's record route and timestamp options: its
// address, and the time in milliseconds since midnight UT (RFC 791, section
// 3.1). A host does so with the datagrams that it receives and that it sends.
// Where there is no room nothing is entered, and the timestamp counts that up
// to 15. The header's checksum is brought up to date.
//
// header is a whole header whose options [ParseOptions] has accepted; set is
// what it returned.
func (set OptionSet) Stamp(header []byte, own Addr, ms uint32) {
	if set.RecordRoute == 0 && set.Timestamp == 0 {
		return
	}
	if set.RecordRoute != 0 {
		opt := header[set.RecordRoute:]
		if p := int(opt[optionPointerAt]); p+3 <= int(opt[optionLenAt]) {
			copy(opt[p-1:p+3], own[:])
			opt[optionPointerAt] += 4
		}
	}
	if set.Timestamp != 0 {
		opt := header[set.Timestamp:]
		stampTime(opt[:opt[optionLenAt]], own, ms)
	}
	binary.BigEndian.PutUint16(header[10:12], Checksum(header))
}

// stampTime enters a host in a timestamp option.
func stampTime(opt []byte, own Addr, ms uint32) {
	flag := opt[timestampFlagAt] & timestampFlagsMask
	p := int(opt[optionPointerAt])
	size := timestampSlot(flag)
	if p+size-1 > len(opt) {
		if flag != TimestampPrespec && opt[timestampFlagAt]>>4 < timestampOverflow {
			opt[timestampFlagAt] += 1 << 4
		}
		return
	}
	slot := opt[p-1 : p-1+size]
	switch flag {
	case TimestampOnly:
	case TimestampAddress:
		copy(slot, own[:])
	case TimestampPrespec:
		if Addr(slot) != own {
			return
		}
	default:
		return
	}
	binary.BigEndian.PutUint32(slot[size-4:], ms)
	opt[optionPointerAt] += uint8(size)
}

// AppendReplyOptions appends the options that an answer to a datagram carries,
// as IP_RETOPTS delivers them and as an echo reply needs them (RFC 1122,
// sections 3.2.1.8 and 3.2.2.6; Linux' __ip_options_echo): record route and
// timestamp as they came, a source route turned around, a security label as it
// is; padded to a multiple of 4 bytes. firstHop is where the answer goes first:
// the last host of the source route, 0.0.0.0 without one. In the header's
// route the answer's destination, the source of h, stands last.
//
// h's options are ones that [ParseOptions] has accepted; set is what it
// returned.
func AppendReplyOptions(b []byte, h Header, set OptionSet) (options []byte, firstHop Addr) {
	start := len(b)
	for _, at := range [...]uint8{set.RecordRoute, set.Timestamp} {
		if at != 0 {
			b = append(b, optionAt(h, at)...)
		}
	}
	if set.SourceRoute != 0 {
		b, firstHop = appendReverse(b, optionAt(h, set.SourceRoute), h.Src())
	}
	if set.CIPSO != 0 {
		b = append(b, optionAt(h, set.CIPSO)...)
	}
	for (len(b)-start)%4 != 0 {
		b = append(b, byte(OptionEnd))
	}
	return b, firstHop
}

// optionAt returns the option at an offset of the header.
func optionAt(h Header, at uint8) []byte {
	return h[at : int(at)+int(h[at+optionLenAt])]
}

// appendReverse appends a source route that goes back the way that opt, as it
// arrived, has come: the hosts before the pointer, the last first. The first of
// them is not in the route but the header's destination, the source src is the
// route's end. A route that begins with src already has it once only (RFC 1812,
// section 5.2.4.1 tells of such hosts).
func appendReverse(b, opt []byte, src Addr) (_ []byte, firstHop Addr) {
	end := min(int(opt[optionPointerAt]), len(opt)+1) - 1
	n := (end - routeDataAt) / 4
	if n < 1 {
		return b, firstHop
	}
	hop := func(i int) []byte { return opt[routeDataAt+4*i : routeDataAt+4*i+4] }
	last := 0
	if Addr(hop(0)) == src {
		if n == 1 {
			return b, firstHop
		}
		last = 1
	}
	firstHop = Addr(hop(n - 1))
	at := len(b)
	b = append(b, opt[0], 0, routeDataAt+1)
	for i := n - 2; i >= last; i-- {
		b = append(b, hop(i)...)
	}
	b = append(b, src[:]...)
	b[at+optionLenAt] = uint8(len(b) - at)
	return b, firstHop
}
