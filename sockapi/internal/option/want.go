package option

// What a socket wants to be told with each datagram: bits of State.Wants.
const (
	WantTimestamp = 1 << iota
	WantTimestampNS
	WantTimestamping
	WantDrops
	WantPktInfo
	WantTTL
	WantTOS
	WantOptions
	WantReturnOptions
	WantOrigDst
	WantFragSize
	WantGRO
	WantAuxdata
	WantMark
	WantPriority
	WantTimestampNew // time stamps come as the _NEW messages
)

// WantTimes are those that ask for time stamps of any kind.
const WantTimes = WantTimestamp | WantTimestampNS | WantTimestamping

// wanted makes a boolean option of a bit of State.Wants.
func wanted(bit uint32, changed func(s *State, on bool)) option {
	return boolean(
		func(s *State) bool { return s.Wants.Load()&bit != 0 },
		func(s *State, on bool) {
			s.want(bit, on)
			if changed != nil {
				changed(s, on)
			}
		})
}

// want sets or clears bits of wants.
func (s *State) want(bits uint32, on bool) {
	if on {
		s.Wants.Or(bits)
	} else {
		s.Wants.And(^bits)
	}
}
