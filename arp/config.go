package arp

import (
	"math"
	"time"
)

// Config is how a [Table] behaves. A field that is 0 takes the value that
// [DefaultConfig] gives it; a negative count means none, where none makes sense.
// Times and counts of neighbours are named after the files in
// /proc/sys/net/ipv4/neigh (arp(7)), which give the defaults.
type Config struct {
	// ReachableTime is the base of how long a confirmation holds
	// (base_reachable_time_ms). The time itself is drawn between half and one
	// and a half times that, and drawn again every 5 minutes, so that the hosts
	// of a link do not fall into step.
	ReachableTime time.Duration
	// RetransTime is the time between two requests for one address
	// (retrans_time_ms). RFC 1122 section 2.3.2.1 wants at least a second.
	RetransTime time.Duration
	// DelayProbeTime is how long a stale entry in use waits for somebody else's
	// confirmation before it is probed (delay_first_probe_time).
	DelayProbeTime time.Duration
	// LockTime is how long after a change another MAC is not believed (locktime).
	LockTime time.Duration

	// UcastSolicit is how many unicast requests are sent to verify a known MAC
	// (ucast_solicit). -1: none, a stale entry fails when it should be probed.
	UcastSolicit int
	// McastSolicit is how many broadcast requests are sent to resolve an address
	// (mcast_solicit). -1: none, only entries set by hand work.
	McastSolicit int
	// McastResolicit is how many broadcast requests follow unanswered unicast
	// ones (mcast_resolicit, 0).
	McastResolicit int

	// QueueLen is how many datagrams wait for one unresolved neighbour (unres_qlen).
	QueueLen int
	// QueueBytes is how many bytes wait for one unresolved neighbour
	// (unres_qlen_bytes), PendingOverhead counted for each datagram.
	QueueBytes int
	// TotalQueueBytes is how many bytes wait for all unresolved neighbours.
	// Linux has no such limit; there the senders' socket buffers bound it.
	TotalQueueBytes int

	// AnswerQueueLen is how many answers to strangers wait for one neighbour, and
	// AnswerQueueBytes how many bytes of them for all; the oldest give way.
	AnswerQueueLen, AnswerQueueBytes int
	// MaxAnswering is how many neighbours are asked for at once to answer strangers
	// only; the oldest give way. Each costs a request to everybody, so that forged
	// sources would make a storm of those (Linux: gc_thresh3).
	MaxAnswering int

	// MaxEntries is how many neighbours the table holds (gc_thresh3; Linux' 1024
	// is small for a host with many peers on one link).
	MaxEntries int
	// GCThreshold is the number of entries from which idle ones are collected
	// (gc_thresh1).
	GCThreshold int
	// GCStaleTime is how long an entry stays stale before it may be collected
	// (gc_stale_time).
	GCStaleTime time.Duration
	// GCInterval is the time between two collections. Linux' is half of
	// ReachableTime, and so is the default.
	GCInterval time.Duration
	// MaxEvents is how many ARP packets to transmit and conflicts to report may
	// wait for Next. Replies and announcements beyond are not sent, and counted;
	// timers wait.
	MaxEvents int

	// MaxAddresses is how many own addresses there may be.
	MaxAddresses int
	// StrictSource refuses packets whose sender hardware address is not the
	// source address of their frame. Linux accepts them.
	StrictSource bool

	// Probe makes an own address wait until probes have shown that nobody else
	// uses it (RFC 5227 section 2.1.1). An AddressReady event says when it is
	// usable: 4 to 7 seconds later. Linux does not probe.
	Probe bool
	// ProbeWait is the longest random time before the first probe (PROBE_WAIT).
	ProbeWait time.Duration
	// ProbeNum is how many probes are sent (PROBE_NUM).
	ProbeNum int
	// ProbeMin and ProbeMax bound the random time between two probes (PROBE_MIN,
	// PROBE_MAX).
	ProbeMin, ProbeMax time.Duration
	// AnnounceWait is the time after the last probe in which a conflict may
	// still come (ANNOUNCE_WAIT).
	AnnounceWait time.Duration
	// AnnounceNum is how often an address is announced (ANNOUNCE_NUM). -1: never.
	AnnounceNum int
	// AnnounceInterval is the time between announcements (ANNOUNCE_INTERVAL).
	AnnounceInterval time.Duration
	// DefendInterval is the shortest time between two announcements made, and two
	// Conflict events reported, in defence of one address (DEFEND_INTERVAL).
	DefendInterval time.Duration
	// MaxConflicts is after how many conflicts of probed addresses new ones are
	// probed for only every RateLimitInterval (MAX_CONFLICTS).
	MaxConflicts int
	// RateLimitInterval is the time between two addresses probed for then
	// (RATE_LIMIT_INTERVAL).
	RateLimitInterval time.Duration
}

// DefaultConfig returns Linux' defaults for neighbours, but for MaxEntries, and
// the constants of RFC 5227 section 1.1 for own addresses.
func DefaultConfig() Config {
	return Config{
		ReachableTime:  30 * time.Second,
		RetransTime:    time.Second,
		DelayProbeTime: 5 * time.Second,
		LockTime:       time.Second,
		UcastSolicit:   3,
		McastSolicit:   3,

		QueueLen:        101,
		QueueBytes:      212992,
		TotalQueueBytes: 16 << 20,

		AnswerQueueLen:   16,
		AnswerQueueBytes: 4 << 20,
		MaxAnswering:     1024,

		MaxEntries:   131072,
		GCThreshold:  128,
		GCStaleTime:  60 * time.Second,
		GCInterval:   15 * time.Second,
		MaxEvents:    4096,
		MaxAddresses: 4096,

		ProbeWait:         time.Second,
		ProbeNum:          3,
		ProbeMin:          time.Second,
		ProbeMax:          2 * time.Second,
		AnnounceWait:      2 * time.Second,
		AnnounceNum:       2,
		AnnounceInterval:  2 * time.Second,
		DefendInterval:    10 * time.Second,
		MaxConflicts:      10,
		RateLimitInterval: 60 * time.Second,
	}
}

const (
	// reachableRedraw is how often the random reachable time is drawn again
	// (net/core/neighbour.c, neigh_periodic_work: 300 s; RFC 4861 section 6.3.4
	// has hours).
	reachableRedraw = int64(300 * time.Second)
	// maxDuration and maxCount keep sums of configured values far from overflow.
	maxDuration = 366 * 24 * time.Hour
	maxCount    = math.MaxInt16
)

// complete returns the configuration with every field in its range.
func (c Config) complete() Config {
	d := DefaultConfig()
	if c.GCInterval <= 0 && c.ReachableTime > 0 {
		d.GCInterval = max(c.ReachableTime/2, 1)
	}
	for _, f := range []struct{ v, def *time.Duration }{
		{&c.ReachableTime, &d.ReachableTime}, {&c.RetransTime, &d.RetransTime},
		{&c.DelayProbeTime, &d.DelayProbeTime}, {&c.LockTime, &d.LockTime},
		{&c.GCStaleTime, &d.GCStaleTime}, {&c.GCInterval, &d.GCInterval},
		{&c.ProbeWait, &d.ProbeWait}, {&c.ProbeMin, &d.ProbeMin}, {&c.ProbeMax, &d.ProbeMax},
		{&c.AnnounceWait, &d.AnnounceWait}, {&c.AnnounceInterval, &d.AnnounceInterval},
		{&c.DefendInterval, &d.DefendInterval}, {&c.RateLimitInterval, &d.RateLimitInterval},
	} {
		if *f.v <= 0 {
			*f.v = *f.def
		}
		*f.v = min(*f.v, maxDuration)
	}
	c.ProbeMax = max(c.ProbeMax, c.ProbeMin)
	for _, f := range []struct{ v, def *int }{
		{&c.QueueLen, &d.QueueLen}, {&c.QueueBytes, &d.QueueBytes}, {&c.TotalQueueBytes, &d.TotalQueueBytes},
		{&c.AnswerQueueLen, &d.AnswerQueueLen}, {&c.AnswerQueueBytes, &d.AnswerQueueBytes}, {&c.MaxAnswering, &d.MaxAnswering},
		{&c.MaxEntries, &d.MaxEntries}, {&c.GCThreshold, &d.GCThreshold}, {&c.MaxEvents, &d.MaxEvents},
		{&c.MaxAddresses, &d.MaxAddresses}, {&c.ProbeNum, &d.ProbeNum},
	} {
		if *f.v <= 0 {
			*f.v = *f.def
		}
	}
	c.ProbeNum = min(c.ProbeNum, maxCount)
	for _, f := range []struct{ v, def *int }{
		{&c.UcastSolicit, &d.UcastSolicit}, {&c.McastSolicit, &d.McastSolicit},
		{&c.McastResolicit, &d.McastResolicit}, {&c.AnnounceNum, &d.AnnounceNum}, {&c.MaxConflicts, &d.MaxConflicts},
	} {
		if *f.v == 0 {
			*f.v = *f.def
		}
		*f.v = min(max(*f.v, 0), maxCount)
	}
	return c
}
