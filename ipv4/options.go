package ipv4

// OptionType is the first byte of an option (RFC 791, section 3.1): a bit that
// says whether it is copied into all fragments, two bits of class, five of
// number.
type OptionType uint8

// The options that are known here. All others are skipped by their length, as
// RFC 1122, section 3.2.1.8 wants.
const (
	OptionEnd                OptionType = 0   // ends the list; no length (RFC 791)
	OptionNop                OptionType = 1   // fills a byte; no length (RFC 791)
	OptionRecordRoute        OptionType = 7   // each router adds its address (RFC 791)
	OptionTimestamp          OptionType = 68  // each host adds its time (RFC 791)
	OptionSecurity           OptionType = 130 // RFC 1108
	OptionLooseSourceRoute   OptionType = 131 // by way of these hosts (RFC 791)
	OptionCIPSO              OptionType = 134 // commercial security label
	OptionStreamID           OptionType = 136 // obsolete (RFC 6814)
	OptionStrictSourceRoute  OptionType = 137 // by way of these hosts and no others (RFC 791)
	OptionRouterAlert        OptionType = 148 // routers look at the datagram closely (RFC 2113)
	optionCopied                        = 0x80
	optionRouterAlertLen                = 4
	optionRouteHeaderLen                = 3 // type, length, pointer
	optionTimestampHeaderLen            = 4 // type, length, pointer, overflow and flag
)

// Copied reports whether the option belongs in every fragment.
func (t OptionType) Copied() bool { return t&optionCopied != 0 }

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
	if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
		return nil, nil, false
	}
	n := int(o[1])
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

// keepCopied makes no-operations of the options that stand in the first
// fragment only.
func (o Options) keepCopied() {
	for opt, rest, ok := o.Next(); ok; opt, rest, ok = rest.Next() {
		if !OptionType(opt[0]).Copied() {
			for i := range opt {
				opt[i] = byte(OptionNop)
			}
		}
	}
}
