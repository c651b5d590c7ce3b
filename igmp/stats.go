package igmp

// Stats are a host's counters since it was made.
type Stats struct {
	Groups         int // groups joined now
	Leaving        int // groups left of which that is still to be repeated
	DeadSources    int // sources that no filter names of which that is still to be repeated
	QuerySources   int // sources asked for now
	QueueBytes     int // bytes that wait for Next, with what they cost
	QueuedMessages int // messages that wait for Next

	Causes [NumCauses]uint64 // by cause; Causes[CauseNone] stays 0

	RxQueries     [4]uint64 // well-formed queries received, by version; [0] stays 0
	RxReportsV1   uint64    // well-formed reports and leaves of others, by type
	RxReportsV2   uint64
	RxReportsV3   uint64
	RxLeaves      uint64
	NoRouterAlert uint64 // queries heeded without the router alert option
	Suppressed    uint64 // responses not sent since another host had reported the group

	TxReportsV1 uint64 // messages queued for Next, by type
	TxReportsV2 uint64
	TxReportsV3 uint64
	TxLeaves    uint64
	TxRecords   [numRecordTypes]uint64 // group records of version 3 reports, by RecordType

	Joins          uint64 // groups that had no member before
	Leaves         uint64 // groups that have none any more
	ModeChanges    uint64 // changes of a group's mode to be reported
	SourceChanges  uint64 // sources to be reported as allowed or blocked
	WholeFilters   uint64 // changes of sources reported as a whole filter: there were too many
	VersionChanges uint64 // changes of the version spoken
}

// Stats returns the counters.
func (h *Host) Stats() Stats {
	s := h.stats
	s.Groups, s.Leaving = h.groups.Len(), h.leaving.Len()
	s.DeadSources, s.QuerySources = h.dead, h.asked
	s.QueueBytes, s.QueuedMessages = h.out.size(), len(h.out.msgs)-h.out.head
	return s
}

// count counts a cause, and returns it.
func (h *Host) count(c Cause) Cause {
	if c != CauseNone {
		h.stats.Causes[c]++
	}
	return c
}

// note counts a message received.
func (s *Stats) note(m Message) {
	switch m.Type() {
	case Query:
		s.RxQueries[m.QueryVersion()]++
	case ReportV1:
		s.RxReportsV1++
	case ReportV2:
		s.RxReportsV2++
	case ReportV3:
		s.RxReportsV3++
	case Leave:
		s.RxLeaves++
	}
}
