package icmp

import (
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/outband/outband/ipv4"
)

// LimiterConfig says how many errors may be sent, by the names and in the sense
// of Linux' sysctls (ip-sysctl.rst).
type LimiterConfig struct {
	// MsgsPerSec is how many limited messages a second may be sent to all
	// hosts together on average, and MsgsBurst how many at once
	// (icmp_msgs_per_sec, icmp_msgs_burst).
	MsgsPerSec, MsgsBurst int
	// RateLimit is the time between two limited messages to one host on
	// average; 6 may be sent at once. 0 means no such limit (icmp_ratelimit).
	RateLimit time.Duration
	// RateMask is the types that are limited, bit n for type n. Types from 19
	// on never are (icmp_ratemask).
	RateMask uint32
	// MaxHosts bounds for how many hosts the limiter keeps account. The one
	// that got nothing for longest is forgotten first. It is rounded up to a
	// power of two, at least 4.
	MaxHosts int
}

// DefaultLimiterConfig returns Linux' defaults (Linux 6.18): 1000 a second,
// bursts of 50, one a second to one host, of destination unreachable, source
// quench, time exceeded and parameter problem.
func DefaultLimiterConfig() LimiterConfig {
	return LimiterConfig{
		MsgsPerSec: 1000,
		MsgsBurst:  50,
		RateLimit:  time.Second,
		RateMask:   1<<DestinationUnreachable | 1<<SourceQuench | 1<<TimeExceeded | 1<<ParameterProblem,
		MaxHosts:   4096,
	}
}

const (
	// hostBurst is how many messages to one host may come at once (Linux'
	// XRLIM_BURST_FACTOR).
	hostBurst = 6
	// minRefill is the least time between two refills of the global bucket
	// (icmp_global_allow: HZ/50), and maxRefill how much time one counts.
	minRefill = int64(20 * time.Millisecond)
	maxRefill = int64(time.Second)
	// ways is how many hosts share a set: where the limiter looks for one.
	ways = 4
)

// A Limiter says whether one more error may be sent. Errors without bound would
// make a reflector for attacks, and let strangers find out what ports are in
// use (RFC 1812, 4.3.2.8). It does what Linux does: a token bucket for all
// hosts, which leaks at random so that it cannot be used to count, and one for
// each host.
type Limiter struct {
	cfg    LimiterConfig
	rnd    func() uint64
	key    [2]uint64
	credit int
	stamp  int64 // when the global bucket was filled
	filled bool  // stamp is set
	hosts  [][ways]host
	stats  LimiterStats
}

// A host is the account of one destination.
type host struct {
	addr   ipv4.Addr
	known  bool
	tokens int64 // nanoseconds, RateLimit each message
	last   int64 // when tokens was brought up to date
}

// LimiterStats counts what a Limiter did.
type LimiterStats struct {
	Global  uint64 // denied by the limit for all (IcmpOutRateLimitGlobal)
	Host    uint64 // denied by the limit for one host (IcmpOutRateLimitHost)
	Evicted uint64 // accounts forgotten because MaxHosts was reached
}

// NewLimiter returns a limiter. rnd returns unpredictable numbers.
func NewLimiter(cfg LimiterConfig, rnd func() uint64) *Limiter {
	return &Limiter{cfg: cfg, rnd: rnd, key: [2]uint64{rnd(), rnd()}}
}

// Allow reports whether a message of a type may be sent to dst now, and if so
// counts it as sent. It is not asked for messages on loopback links.
func (l *Limiter) Allow(now int64, dst ipv4.Addr, typ uint8) bool {
	return l.Check(now, dst, typ) == CauseNone
}

// Check is Allow with the reason.
func (l *Limiter) Check(now int64, dst ipv4.Addr, typ uint8) Cause {
	if typ > maxType || l.cfg.RateMask>>typ&1 == 0 {
		return CauseNone
	}
	// In this order since Linux 6.12: the global bucket is asked first, so
	// that no flood fills the table of hosts, but pays last, so that nobody
	// can drain it by what his own limit stops.
	if !l.globalAllow(now) {
		l.stats.Global++
		return CauseRateGlobal
	}
	if !l.hostAllow(now, dst) {
		l.stats.Host++
		return CauseRateHost
	}
	// 0, 1 or 2: one on average, but not to be counted from outside.
	r, _ := bits.Mul64(l.rnd(), 3)
	l.credit -= int(r)
	return CauseNone
}

// Stats returns the counters.
func (l *Limiter) Stats() LimiterStats { return l.stats }

// globalAllow is Linux' icmp_global_allow.
func (l *Limiter) globalAllow(now int64) bool {
	if l.credit > 0 {
		return true
	}
	delta := maxRefill
	if l.filled {
		delta = min(now-l.stamp, maxRefill)
	}
	if delta < minRefill {
		return false
	}
	incr := int(int64(l.cfg.MsgsPerSec) * delta / int64(time.Second))
	if incr <= 0 {
		return false
	}
	l.stamp, l.filled = now, true
	l.credit = min(l.credit+incr, l.cfg.MsgsBurst)
	return l.credit > 0
}

// hostAllow is Linux' inet_peer_xrlim_allow.
func (l *Limiter) hostAllow(now int64, dst ipv4.Addr) bool {
	limit := int64(l.cfg.RateLimit)
	if limit <= 0 {
		return true
	}
	h := l.host(dst)
	if !h.known {
		*h = host{addr: dst, known: true, tokens: hostBurst * limit, last: now}
	}
	h.tokens = min(h.tokens+max(now-h.last, 0), hostBurst*limit)
	h.last = max(h.last, now)
	if h.tokens < limit {
		return false
	}
	h.tokens -= limit
	return true
}

// host returns dst's account, or an unknown one in its place.
func (l *Limiter) host(dst ipv4.Addr) *host {
	if l.hosts == nil {
		n := 1
		for n*ways < l.cfg.MaxHosts {
			n *= 2
		}
		l.hosts = make([][ways]host, n)
	}
	hi, lo := bits.Mul64(uint64(binary.NativeEndian.Uint32(dst[:]))^l.key[0], l.key[1]|1)
	set := &l.hosts[(hi^lo)&uint64(len(l.hosts)-1)]
	oldest := &set[0]
	for i := range set {
		h := &set[i]
		if h.known && h.addr == dst {
			return h
		}
		if oldest.known && (!h.known || h.last < oldest.last) {
			oldest = h
		}
	}
	if oldest.known {
		l.stats.Evicted++
		oldest.known = false
	}
	return oldest
}
