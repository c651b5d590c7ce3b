package ipv4

import (
	"math"
	"time"
)

const (
	// MinPathMTU is the least path MTU in bytes that an ICMP message is
	// believed: 552, Linux' min_pmtu. Less would only serve an attacker; a
	// path that is really narrower gets datagrams without DF instead.
	MinPathMTU = 552
	// MinMTU is what every link must carry, in bytes (RFC 791, section 3.2).
	MinMTU = 68
	// pathMTUTimeout is how long a path MTU is believed: 600 s, Linux'
	// mtu_expires. RFC 1191, section 6.3 wants at least 5, better 10 minutes.
	pathMTUTimeout = int64(600 * time.Second)
)

// plateaus is RFC 1191, section 7.1: the MTUs, in bytes, that links had.
var plateaus = [...]int{65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, MinMTU}

// Plateau returns the next MTU below length that links are known to have: what
// to try after a router has dropped a datagram of length bytes without saying
// what it could have carried (RFC 1191, section 7.1). It is MinMTU at least.
func Plateau(length int) int {
	for _, p := range plateaus {
		if p < length {
			return p
		}
	}
	return MinMTU
}

// A PathMTU remembers which destinations are reached only by datagrams shorter
// than the first link would carry (RFC 1191). It believes no more than it must:
// it never raises an estimate, never goes below MinPathMTU, and forgets after
// 10 minutes. That the ICMP message quotes a datagram which we have sent its
// caller must have made sure of.
//
// It holds a bounded number of destinations; the one updated longest ago makes
// room. It is not safe for concurrent use.
type PathMTU struct {
	max     int
	entries map[[4]byte]*pathMTUEntry
	oldest  *pathMTUEntry // the first to expire
	newest  *pathMTUEntry
}

type pathMTUEntry struct {
	dst          [4]byte
	mtu          int
	locked       bool
	expires      int64
	older, newer *pathMTUEntry
}

// NewPathMTU returns a cache of up to max destinations, 1 at least.
func NewPathMTU(max int) *PathMTU {
	if max < 1 {
		max = 1
	}
	return &PathMTU{max: max, entries: make(map[[4]byte]*pathMTUEntry)}
}

// Lookup returns the path MTU to dst in bytes; ok is false if nothing is known,
// and the link's MTU counts. The caller takes the less of both, as a link's MTU
// can have changed.
func (p *PathMTU) Lookup(now int64, dst [4]byte) (mtu int, ok bool) {
	mtu, _, ok = p.LookupLocked(now, dst)
	return mtu, ok
}

// LookupLocked is Lookup; locked says that the path is narrower than MinPathMTU,
// so that datagrams must go without DF for a router to fragment them further,
// as Linux does then.
func (p *PathMTU) LookupLocked(now int64, dst [4]byte) (mtu int, locked, ok bool) {
	e := p.entries[dst]
	if e == nil || e.expires <= now {
		return 0, false, false
	}
	return e.mtu, e.locked, true
}

// Update enters that a router has reported mtu as what it can carry towards dst:
// the next-hop MTU of an ICMP fragmentation needed message, for a datagram of
// ours. linkMTU is that of the interface by which dst is reached. An mtu of 0
// comes from a router older than RFC 1191; the next plateau below what was
// believed until now is taken then. changed is true if Lookup's answer is
// another one than before, so that what was built upon it is to be built
// again.
func (p *PathMTU) Update(now int64, dst [4]byte, mtu, linkMTU int) (changed bool) {
	p.Advance(now)
	e := p.entries[dst]
	believed := linkMTU
	if e != nil {
		believed = min(believed, e.mtu)
	}
	if mtu == 0 {
		mtu = Plateau(believed)
	}
	locked := mtu < MinPathMTU
	if locked {
		mtu = min(believed, MinPathMTU)
	}
	if mtu > believed || mtu == believed && e == nil && !locked {
		return false
	}
	if e == nil {
		e = p.add(dst)
	}
	changed = e.mtu != mtu || e.locked != locked
	e.mtu, e.locked, e.expires = mtu, locked, now+pathMTUTimeout
	p.unlink(e)
	p.link(e)
	return changed
}

// add enters a destination, and takes out the oldest if there are too many.
func (p *PathMTU) add(dst [4]byte) *pathMTUEntry {
	if len(p.entries) >= p.max {
		p.remove(p.oldest)
	}
	e := &pathMTUEntry{dst: dst}
	p.entries[dst] = e
	p.link(e)
	return e
}

// Advance forgets what has expired, and returns how many destinations that were.
func (p *PathMTU) Advance(now int64) (expired int) {
	for p.oldest != nil && p.oldest.expires <= now {
		p.remove(p.oldest)
		expired++
	}
	return expired
}

// Deadline returns when Advance has something to forget next, math.MaxInt64 if
// never.
func (p *PathMTU) Deadline() int64 {
	if p.oldest == nil {
		return math.MaxInt64
	}
	return p.oldest.expires
}

// Delete forgets one destination, and reports whether it was known.
func (p *PathMTU) Delete(dst [4]byte) bool {
	e := p.entries[dst]
	if e == nil {
		return false
	}
	p.remove(e)
	return true
}

// Flush forgets everything: for a change of routes, which changes paths.
func (p *PathMTU) Flush() {
	clear(p.entries)
	p.oldest, p.newest = nil, nil
}

// Len returns how many destinations are remembered.
func (p *PathMTU) Len() int { return len(p.entries) }

func (p *PathMTU) remove(e *pathMTUEntry) {
	delete(p.entries, e.dst)
	p.unlink(e)
}

// link puts e at the newest end of the list.
func (p *PathMTU) link(e *pathMTUEntry) {
	e.older, e.newer = p.newest, nil
	if p.newest == nil {
		p.oldest = e
	} else {
		p.newest.newer = e
	}
	p.newest = e
}

func (p *PathMTU) unlink(e *pathMTUEntry) {
	if e.older == nil {
		p.oldest = e.newer
	} else {
		e.older.newer = e.newer
	}
	if e.newer == nil {
		p.newest = e.older
	} else {
		e.newer.older = e.older
	}
}
