package arp

// A State is what the table knows about a neighbour, with Linux' values
// (rtnetlink(7), NUD_*).
type State uint16

// The states, as ip-neighbour(8) describes them.
const (
	None       State = 0x00 // not in the table (any more)
	Incomplete State = 0x01 // being resolved: broadcasts are out, datagrams wait
	Reachable  State = 0x02 // confirmed lately
	Stale      State = 0x04 // MAC known, not confirmed lately; will be verified when used
	Delay      State = 0x08 // used while stale; a little time for somebody else's confirmation
	Probe      State = 0x10 // being verified: unicast requests are out
	Failed     State = 0x20 // did not answer
	NoARP      State = 0x40 // set by hand, needs no verification
	Permanent  State = 0x80 // set by hand, never removed but by hand
)

const (
	valid     = Reachable | Stale | Delay | Probe | NoARP | Permanent // NUD_VALID: the MAC may be used
	connected = Reachable | NoARP | Permanent                         // NUD_CONNECTED: the MAC is known to be right
	static    = NoARP | Permanent                                     // packets change nothing
	timed     = Incomplete | Reachable | Delay | Probe                // NUD_IN_TIMER: a timer runs
)

// String returns the state as ip-neighbour(8) writes it.
func (s State) String() string {
	switch s {
	case None:
		return "NONE"
	case Incomplete:
		return "INCOMPLETE"
	case Reachable:
		return "REACHABLE"
	case Stale:
		return "STALE"
	case Delay:
		return "DELAY"
	case Probe:
		return "PROBE"
	case Failed:
		return "FAILED"
	case NoARP:
		return "NOARP"
	case Permanent:
		return "PERMANENT"
	}
	return "UNKNOWN"
}
