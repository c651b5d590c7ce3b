package arp

// Stats are a table's counters since it was made. The names are those of
// /proc/net/stat/arp_cache where that has the same.
type Stats struct {
	Entries      int // entries in the table now
	Pending      int // datagrams waiting now
	PendingBytes int // bytes that they are counted for

	Causes [NumCauses]uint64 // by cause; Causes[CauseNone] stays 0

	RxRequests  uint64 // valid requests received, probes not counted
	RxReplies   uint64 // valid replies received
	RxProbes    uint64 // valid probes received (RFC 5227)
	TxRequests  uint64 // requests sent to resolve or verify
	TxReplies   uint64 // replies sent
	TxProbes    uint64 // probes sent (RFC 5227)
	TxAnnounces uint64 // announcements sent (RFC 5227)

	Allocs         uint64 // entries made
	Destroys       uint64 // entries removed, for whatever reason
	ForcedGC       uint64 // of those, evicted because the table was full (forced_gc_runs)
	PeriodicGC     uint64 // of those, collected because they were idle
	Resolved       uint64 // INCOMPLETE or FAILED entries whose MAC became known
	ResFailed      uint64 // entries that FAILED
	MACChanges     uint64 // a known MAC was replaced by what a packet said
	UnresDiscards  uint64 // datagrams dropped from a full queue
	Flushed        uint64 // waiting datagrams sent on
	Unreachable    uint64 // waiting datagrams reported unreachable, or purged
	SourceMismatch uint64 // sender hardware address was not the frame's source, accepted or not
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Entries = t.entries.Len()
	s.Pending, s.PendingBytes = t.pending, t.pendingBytes+t.answers.bytes
	return s
}

// count counts a cause, and returns it.
func (t *Table) count(c Cause) Cause {
	if c != CauseNone {
		t.stats.Causes[c]++
	}
	return c
}
