package igmp

import (
	"math"
	"time"
)

// Config is how a [Host] behaves. A field that is 0 takes the value that
// [DefaultConfig] gives it, but for the booleans. Names in parentheses are those of
// Linux in /proc/sys/net/ipv4, whose values are the defaults.
type Config struct {
	// Robustness is how often each change is reported, so that the loss of all
	// but one report does no harm (igmp_qrv; RFC 3376 section 8.1). At most 255. A
	// version 3 querier that tells its own overrides it.
	Robustness int
	// UnsolicitedV2 bounds the random time between repetitions of a report in
	// versions 1 and 2 (igmpv2_unsolicited_report_interval; RFC 2236 section 8.10).
	UnsolicitedV2 time.Duration
	// UnsolicitedV3 is the same in version 3 (igmpv3_unsolicited_report_interval;
	// RFC 3376 section 8.11).
	UnsolicitedV3 time.Duration
	// ReportDelay is how long the first report of a change waits for other changes,
	// to share a message with them. RFC 3376 section 5.1 has it sent immediately;
	// Linux waits two ticks. -1: until Advance is called.
	ReportDelay time.Duration
	// Version is 0 to follow the queriers, or the version that is forced
	// (conf/*/force_igmp_version). As on Linux, 2 yields to a version 1 querier. 3
	// heeds no older querier (Linux takes it for 0), which is the remedy against
	// forged old queries, by which source filters are lost.
	Version int
	// LinkLocalReports says if groups within 224.0.0.0/24 are reported at all
	// (igmp_link_local_mcast_reports). Routers forward none of them, but snooping
	// switches may want to know.
	LinkLocalReports bool

	// AnyTTL accepts messages of any TTL, as Linux does. All are sent with TTL 1
	// (RFC 3376 section 4), so that one with another has come from afar, or is forged.
	AnyTTL bool
	// RequireRouterAlert refuses queries of versions 2 and 3 without the router
	// alert option, with which they are sent (RFC 3376 section 4). Linux accepts them.
	RequireRouterAlert bool

	// MTU is the link's MTU in bytes until SetMTU is called.
	MTU int
	// MaxLeaving is how many groups that nobody is a member of any more are kept
	// to repeat that. The leaves of others are sent once.
	MaxLeaving int
	// MaxDeadSources is how many sources that no filter names any more are kept, in
	// all groups, to repeat that. A group with more changes reports its whole
	// filter instead.
	MaxDeadSources int
	// MaxQuerySources is how many sources of group-and-source queries are kept, for
	// all groups, until the response. Of groups beyond, the whole filter is reported
	// (RFC 3376 section 9.1 is about the attack).
	MaxQuerySources int
	// MaxQueue is how many bytes of messages may wait for Next. Others are not
	// sent, and counted; they count as sent, and are repeated as such.
	MaxQueue int
}

// DefaultConfig returns Linux' defaults.
func DefaultConfig() Config {
	return Config{
		Robustness:       2,
		UnsolicitedV2:    10 * time.Second,
		UnsolicitedV3:    time.Second,
		ReportDelay:      2 * time.Millisecond,
		LinkLocalReports: true,

		MTU:             1500,
		MaxLeaving:      65536,
		MaxDeadSources:  65536,
		MaxQuerySources: 65536,
		MaxQueue:        8 << 20,
	}
}

const (
	// queryInterval is the time between general queries of a querier that does not
	// tell it (RFC 3376 section 8.2).
	queryInterval = 125 * time.Second
	// minResponse is the least time over which responses are spread, a unit of
	// the code in a query, so that a storm of queries that want their answer at
	// once causes no storm of reports.
	minResponse = time.Second / 10
	// responseGap is the least time between responses of one kind in version 3, in
	// nanoseconds: within minResponse, however many queries come meanwhile, each of
	// which may choose an earlier time.
	responseGap = int64(minResponse / 2)
	// minMTU is the least MTU of IPv4 (RFC 791 section 3.2).
	minMTU = 68
	// headerLen is the length of the IPv4 header with the router alert option.
	headerLen = 24

	maxDuration = 366 * 24 * time.Hour
	// maxNow keeps sums of times and durations from overflow.
	maxNow = math.MaxInt64 - 4*int64(maxDuration)
	never  = math.MaxInt64
)

// complete returns the configuration with every field in its range.
func (c Config) complete() Config {
	d := DefaultConfig()
	for _, f := range []struct{ v, def *time.Duration }{
		{&c.UnsolicitedV2, &d.UnsolicitedV2}, {&c.UnsolicitedV3, &d.UnsolicitedV3}, {&c.ReportDelay, &d.ReportDelay},
	} {
		if *f.v == 0 {
			*f.v = *f.def
		}
		*f.v = min(max(*f.v, 0), maxDuration)
	}
	for _, f := range []struct{ v, def *int }{
		{&c.Robustness, &d.Robustness}, {&c.MTU, &d.MTU}, {&c.MaxLeaving, &d.MaxLeaving},
		{&c.MaxDeadSources, &d.MaxDeadSources}, {&c.MaxQuerySources, &d.MaxQuerySources}, {&c.MaxQueue, &d.MaxQueue},
	} {
		if *f.v <= 0 {
			*f.v = *f.def
		}
		*f.v = min(*f.v, math.MaxInt32)
	}
	c.Robustness = min(c.Robustness, math.MaxUint8)
	if c.Version < 0 || c.Version > 3 {
		c.Version = 0
	}
	return c
}
