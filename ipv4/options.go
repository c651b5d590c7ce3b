package ipv4

// OptionType is the first byte of an option (RFC 791, section 3.1): a bit that
// says whether it is copied into all fragments, two bits of class, five of
// number.
type OptionType uint8

// The options that are known here. All others are skipped by their length, as
// RFC 1122, section 3.2.1.8 wants.
const (
	OptionEnd               OptionType = 0   // ends the list; no length (RFC 791)
	OptionNop               OptionType = 1   // fills a byte; no length (RFC 791)
	OptionRecordRoute       OptionType = 7   // each router adds its address (RFC 791)
	OptionTimestamp         OptionType = 68  // each host adds its time (RFC 791)
	OptionSecurity          OptionType = 130 // RFC 1108
	OptionLooseSourceRoute  OptionType = 131 // by way of these hosts (RFC 791)
	OptionCIPSO             OptionType = 134 // security label (draft-ietf-cipso-ipsecurity-01)
	OptionStreamID          OptionType = 136 // obsolete (RFC 6814)
	OptionStrictSourceRoute OptionType = 137 // by way of these hosts and no others (RFC 791)
	OptionRouterAlert       OptionType = 148 // routers look at the datagram closely (RFC 2113)
)

// Flags of the timestamp option (RFC 791, section 3.1), in the lower half of
// its fourth byte. The upper half counts the hosts that found no room.
const (
	TimestampOnly      = 0 // times without addresses
	TimestampAddress   = 1 // each time behind the address of the host that entered it
	TimestampPrespec   = 3 // times of the hosts whose addresses are there already
	timestampOverflow  = 15
	timestampFlagsMask = 0x0f
)

// Where in an option what stands (RFC 791, section 3.1). The pointer counts
// from 1, at the option's first byte.
const (
	optionLenAt     = 1
	optionPointerAt = 2
	timestampFlagAt = 3
	routeDataAt     = 3 // of record route and both source routes
	timestampDataAt = 4
	routerAlertLen  = 4
)

// Copied reports whether the option belongs in every fragment.
func (t OptionType) Copied() bool { return t&0x80 != 0 }

// Options is a view of a header's options.
type Options []byte

// Next returns the first option, its type and length bytes included, and the
// options behind it. The fillers OptionNop are options of one byte. ok is
// false at the end of the list, and where an option is cut.
//
//	for opt, rest, ok := o.Next(); ok; opt, rest, ok = rest.Next() {
func (o Options) Next() (opt []byte, rest Options, ok bool) {
	if len(o) == 0 || OptionType(o[0]) == OptionEnd {
		return nil, nil, false
	}
	if OptionType(o[0]) == OptionNop {
		return o[:1:1], o[1:], true
	}
	if len(o) < 2 || o[optionLenAt] < 2 || int(o[optionLenAt]) > len(o) {
		return nil, nil, false
	}
	n := int(o[optionLenAt])
	return o[:n:n], o[n:], true
}

// Find returns the first option of a type, nil if there is none.
func (o Options) Find(t OptionType) []byte {
	for opt, rest, ok := o.Next(); ok; opt, rest, ok = rest.Next() {
		if OptionType(opt[0]) == t {
			return opt
		}
	}
	return nil
}

// OptionSet says where in a header the options are that mean something to a
// host: offsets from the header's first byte, 0 for an option that is not
// there.
type OptionSet struct {
	SourceRoute uint8 // loose or strict; a host that does not forward drops the datagram
	RecordRoute uint8
	Timestamp   uint8
	RouterAlert uint8
	CIPSO       uint8
	Strict      bool // the source route is a strict one
}

// ParseOptions checks a header's options, with the rules of Linux'
// __ip_options_compile for datagrams received. Unless the cause is CauseNone,
// pointer is what an ICMP parameter problem is to carry: the offset, from the
// header's first byte, of what is wrong (RFC 792; RFC 1122, section 3.2.2.5).
// It changes nothing and allocates nothing.
func ParseOptions(o Options) (set OptionSet, pointer int, c Cause) {
	for at := 0; at < len(o); {
		switch OptionType(o[at]) {
		case OptionEnd:
			return set, 0, CauseNone
		case OptionNop:
			at++
			continue
		}
		opt, _, ok := o[at:].Next()
		if !ok {
			return OptionSet{}, MinHeaderLen + at, CauseOptionTruncated
		}
		if wrong, c := set.add(opt, MinHeaderLen+at); c != CauseNone {
			return OptionSet{}, MinHeaderLen + at + wrong, c
		}
		at += len(opt)
	}
	return set, 0, CauseNone
}

// add checks an option that stands at an offset of the header, and enters it.
// wrong is the offset of the bad byte within the option.
func (s *OptionSet) add(opt []byte, at int) (wrong int, c Cause) {
	switch t := OptionType(opt[0]); t {
	case OptionLooseSourceRoute, OptionStrictSourceRoute:
		s.Strict = s.Strict || t == OptionStrictSourceRoute
		return once(&s.SourceRoute, at, opt, checkSourceRoute)
	case OptionRecordRoute:
		return once(&s.RecordRoute, at, opt, checkRecordRoute)
	case OptionTimestamp:
		return once(&s.Timestamp, at, opt, checkTimestamp)
	case OptionRouterAlert:
		if len(opt) < routerAlertLen {
			return optionLenAt, CauseOptionBadLength
		}
		if opt[2] == 0 && opt[3] == 0 {
			s.RouterAlert = uint8(at)
		}
	case OptionCIPSO:
		if s.CIPSO != 0 {
			return 0, CauseOptionRepeated
		}
		s.CIPSO = uint8(at)
	}
	return 0, CauseNone
}

// once enters an option that may stand in a header once, if check likes it.
func once(where *uint8, at int, opt []byte, check func([]byte) (int, Cause)) (int, Cause) {
	if *where != 0 {
		return 0, CauseOptionRepeated
	}
	*where = uint8(at)
	return check(opt)
}

// checkPointer checks the length of an option that has a pointer, and that this
// does not point before the data.
func checkPointer(opt []byte, data int) (int, Cause) {
	if len(opt) < data {
		return optionLenAt, CauseOptionBadLength
	}
	if int(opt[optionPointerAt]) < data+1 {
		return optionPointerAt, CauseOptionBadPointer
	}
	return 0, CauseNone
}

func checkSourceRoute(opt []byte) (int, Cause) { return checkPointer(opt, routeDataAt) }

func checkRecordRoute(opt []byte) (int, Cause) {
	if wrong, c := checkPointer(opt, routeDataAt); c != CauseNone {
		return wrong, c
	}
	if p := int(opt[optionPointerAt]); p <= len(opt) && p+3 > len(opt) {
		return optionPointerAt, CauseOptionBadPointer
	}
	return 0, CauseNone
}

func checkTimestamp(opt []byte) (int, Cause) {
	if wrong, c := checkPointer(opt, timestampDataAt); c != CauseNone {
		return wrong, c
	}
	flag := opt[timestampFlagAt] & timestampFlagsMask
	p := int(opt[optionPointerAt])
	if p > len(opt) {
		if flag != TimestampPrespec && opt[timestampFlagAt]>>4 == timestampOverflow {
			return timestampFlagAt, CauseOptionOverflow
		}
		return 0, CauseNone
	}
	if p+timestampSlot(flag)-1 > len(opt) {
		return optionPointerAt, CauseOptionBadPointer
	}
	return 0, CauseNone
}

// timestampSlot returns how many bytes a host's entry has. Of a flag that means
// nothing Linux asks for as many as of TimestampOnly.
func timestampSlot(flag uint8) int {
	if flag == TimestampAddress || flag == TimestampPrespec {
		return 8
	}
	return 4
}

// AppendRouterAlert appends the router alert option (RFC 2113, section 2.1),
// which IGMP reports carry (RFC 2236, section 2), to b.
func AppendRouterAlert(b []byte) []byte {
	return append(b, byte(OptionRouterAlert), routerAlertLen, 0, 0)
}

// keepCopied makes no-operations of the options that stand in the first
// fragment only (RFC 791, section 3.1; Linux' ip_options_fragment).
func (o Options) keepCopied() {
	for opt, rest, ok := o.Next(); ok; opt, rest, ok = rest.Next() {
		if !OptionType(opt[0]).Copied() {
			for i := range opt {
				opt[i] = byte(OptionNop)
			}
		}
	}
}
