package ipv4

import (
	"math"
	"time"

	"github.com/outband/outband/internal/list"
)

const (
	// MinPathMTU is the least path MTU in bytes that an ICMP message is
	// believed: 552, Linux' min_pmtu. Less would only serve an attacker; a
	// path that is really narrower gets datagrams without DF instead.
	MinPathMTU = 552
	// pathMTUTimeout is how long a path MTU is believed: 600 s, Linux'
	// mtu_expires. RFC 1191, section 6.3 wants at least 5, better 10 minutes.
	pathMTUTimeout = int64(600 * time.Second)
)

// A Path is the way that datagrams for a destination take: an interface and the
// neighbour that they are handed to, which is the destination itself if it is on the
// link. The same destination by another way has a path MTU of its own.
type Path struct {
	Dst, Next Addr
	Iface     int32
}

// A PathMTU remembers which paths carry only datagrams shorter than the first link
// would (RFC 1191). It believes what Linux does, and no more: it never raises an
// estimate, never goes below MinPathMTU, and forgets after 10 minutes. That the
// ICMP message quotes a datagram which we have sent its caller must have made sure
// of.
//
// A path that claims less than MinPathMTU is locked: it keeps that floor until it
// is forgotten, whatever else is said of it.
//
// It holds a bounded number of paths; the one updated longest ago makes room. It is
// not safe for concurrent use.
type PathMTU struct {
	max     int
	entries map[Path]*pathMTUEntry
	order   list.List[pathMTUEntry] // the oldest is the first to expire
}

type pathMTUEntry struct {
	path    Path
	mtu     int
	locked  bool
	expires int64
	listed  list.Node[pathMTUEntry]
}

// NewPathMTU returns a cache of up to max paths, 1 at least.
func NewPathMTU(max int) *PathMTU {
	if max < 1 {
		max = 1
	}
	return &PathMTU{max: max, entries: make(map[Path]*pathMTUEntry)}
}

// Lookup returns the MTU of a path in bytes; ok is false if nothing is known, and
// the link's MTU counts. The caller takes the less of both, as a link's MTU can have
// changed. locked says that the path is narrower than MinPathMTU, so that datagrams must
// go without DF for a router to fragment them further, as Linux does then.
func (p *PathMTU) Lookup(now int64, path Path) (mtu int, locked, ok bool) {
	e := p.entries[path]
	if e == nil || e.expires <= now {
		return 0, false, false
	}
	return e.mtu, e.locked, true
}

// Update enters that a router has reported mtu as what it can carry along a path:
// the next-hop MTU of an ICMP fragmentation needed message, for a datagram of ours.
// An mtu of 0 comes from a router older than RFC 1191. As Linux does, it is taken
// for less than MinPathMTU: what the router could carry, which section 7.1 would
// find by trying one plateau after the other, costs a lost datagram each. linkMTU is
// what the first link carries. changed is true if Lookup's answer is another one
// than before, so that what was built upon it is to be built again.
func (p *PathMTU) Update(now int64, path Path, mtu, linkMTU int) (changed bool) {
	p.Advance(now)
	e := p.entries[path]
	believed := linkMTU
	if e != nil {
		if e.locked {
			return false
		}
		believed = min(believed, e.mtu)
	}
	if mtu > believed || mtu == believed && e == nil && mtu >= MinPathMTU {
		return false
	}
	locked := mtu < MinPathMTU
	if locked {
		mtu = min(believed, MinPathMTU)
	}
	if e == nil {
		e = p.add(path)
	}
	changed = e.mtu != mtu || e.locked != locked
	e.mtu, e.locked, e.expires = mtu, locked, now+pathMTUTimeout
	p.order.Renew(&e.listed)
	return changed
}

// add enters a path, and takes out the oldest if there are too many.
func (p *PathMTU) add(path Path) *pathMTUEntry {
	if len(p.entries) >= p.max {
		p.remove(p.order.Oldest())
	}
	e := &pathMTUEntry{path: path}
	p.entries[path] = e
	p.order.Append(&e.listed, e)
	return e
}

// Advance forgets what has expired, and returns how many paths that were.
func (p *PathMTU) Advance(now int64) (expired int) {
	for e := p.order.Oldest(); e != nil && e.expires <= now; e = p.order.Oldest() {
		p.remove(e)
		expired++
	}
	return expired
}

// Deadline returns when Advance has something to forget next, math.MaxInt64 if
// never.
func (p *PathMTU) Deadline() int64 {
	if e := p.order.Oldest(); e != nil {
		return e.expires
	}
	return math.MaxInt64
}

// Forget forgets the paths for which which is true: a route was removed, and the one
// that takes its place may be another.
func (p *PathMTU) Forget(which func(Path) bool) {
	for e := p.order.Oldest(); e != nil; {
		next := e.listed.Newer()
		if which(e.path) {
			p.remove(e)
		}
		e = next
	}
}

// Len returns how many paths are remembered.
func (p *PathMTU) Len() int { return len(p.entries) }

func (p *PathMTU) remove(e *pathMTUEntry) {
	delete(p.entries, e.path)
	p.order.Remove(&e.listed)
}
