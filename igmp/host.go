package igmp

import (
	"time"

	"github.com/outband/outband/internal/heap"
	"github.com/outband/outband/internal/index"
	"github.com/outband/outband/internal/list"
	"github.com/outband/outband/ipv4"
)

// A Host is the memberships of one interface, and what it tells about them. It is
// not safe for concurrent use.
//
// The times that its methods take are nanoseconds of one monotonic clock, not
// negative. A time that is before an earlier one counts as that one.
type Host struct {
	cfg  Config
	rnd  func() uint64
	seed index.Seed // of the hash tables
	now  int64      // the latest time seen
	up   bool       // the link carries frames, and LeaveAll was not called
	addr ipv4.Addr
	room int // bytes of IGMP that a datagram holds

	groups  index.Index[Group] // those that sockets are members of
	leaving index.Index[Group] // those left, until that has been repeated often enough

	// Changes to report. fresh are those of which nothing has been sent yet.
	fresh, repeat     list.List[Group]
	freshAt, repeatAt int64

	generalAt int64 // when to respond to a general query
	// When responses were sent last, in version 3: to general queries, and to others.
	generalSent, groupSent int64
	timers                 heap.Heap[*Group]

	version          int   // compatibility mode in force
	v1Until, v2Until int64 // how long queriers of these versions count as present
	robustness       int
	interval         time.Duration // between general queries
	querier          querier

	dead  int // sources that no filter names, in all groups
	asked int // sources asked for, in all groups

	out     outbox
	stats   Stats
	touched []*source // scratch
	keys    []uint32  // scratch
	order   []*Group  // scratch
}

// A querier is the router that sent the last query.
type querier struct {
	addr        ipv4.Addr
	version     int
	heard       int64
	maxResponse time.Duration
}

// New returns a host without memberships, whose link is up. rnd returns random
// numbers that others cannot predict, and must not be nil.
func New(cfg Config, rnd func() uint64) *Host {
	h := &Host{
		cfg: cfg.complete(), rnd: rnd, seed: index.Seed(rnd()), up: true,
		freshAt: never, repeatAt: never, generalAt: never, generalSent: -responseGap, groupSent: -responseGap,
		version: 3, interval: queryInterval, querier: querier{heard: never},
	}
	h.robustness = h.cfg.Robustness
	h.version = h.compatibility()
	h.SetMTU(h.cfg.MTU)
	return h
}

// Lookup returns the group if a socket is a member of it, otherwise nil.
// 224.0.0.1, of which every host is a member (RFC 1112 section 4), is no exception:
// that is the caller's to know.
func (h *Host) Lookup(group ipv4.Addr) *Group { return h.groups.Get(group.Uint32(), h.seed) }

// Len returns how many groups sockets are members of.
func (h *Host) Len() int { return h.groups.Len() }

// SetMTU says how long an IPv4 datagram on the link may be, in bytes. Reports made
// from now on are no longer. A value that IPv4 does not allow counts as the nearest.
func (h *Host) SetMTU(mtu int) {
	h.room = min(max(mtu, minMTU), 65535) - headerLen
}

// SetAddress says which address messages are sent from: not known is 0.0.0.0
// (RFC 3376 section 4.2.13). If that changes, all memberships are reported afresh.
// Own reports that come back are known by it.
func (h *Host) SetAddress(now int64, addr ipv4.Addr) {
	now = h.clock(now)
	if addr == h.addr {
		return
	}
	h.addr = addr
	h.rejoin(now)
}

// LinkUp says that the link carries frames again: all memberships are reported afresh.
// It ends the silence after LeaveAll.
func (h *Host) LinkUp(now int64) {
	now = h.clock(now)
	h.up = true
	h.robustness = h.cfg.Robustness
	h.rejoin(now)
}

// LinkDown says that the link carries no frames. Nothing is sent until LinkUp, and
// what waits for Next is dropped. Memberships stay, and can be changed.
func (h *Host) LinkDown(now int64) {
	h.clock(now)
	h.cancel()
	h.up = false
	h.out = outbox{}
}

// LeaveAll is for the end: messages that leave all groups come out of Next at once,
// each once, and nothing more is sent until LinkUp. The memberships stay, so that
// sockets that are closed later find theirs.
func (h *Host) LeaveAll(now int64) {
	h.clock(now)
	if !h.up {
		return
	}
	h.reportLeaves()
	h.cancel()
	h.up = false
}

// Version returns the version of IGMP that is spoken now: that of the oldest querier
// heard lately, or the one that is forced (RFC 3376 section 7.2.1).
func (h *Host) Version() int { return h.version }

// Deadline returns when Advance is to be called at the latest; math.MaxInt64 if
// there is nothing to wait for. Every call that takes a time can change it.
func (h *Host) Deadline() int64 {
	d := min(h.freshAt, h.repeatAt, h.generalAt, h.timers.Next())
	if h.v1Until > h.now {
		d = min(d, h.v1Until)
	}
	if h.v2Until > h.now {
		d = min(d, h.v2Until)
	}
	return d
}

// Advance does what is due at now. Messages come out of Next.
func (h *Host) Advance(now int64) {
	now = h.clock(now)
	if h.repeatAt <= now {
		h.repeatAt = never
		h.reportChanges(now, &h.repeat)
	}
	if h.freshAt <= now {
		h.freshAt = never
		h.reportChanges(now, &h.fresh)
	}
	if h.generalAt <= now {
		h.generalAt, h.generalSent = never, now
		h.reportAll()
	}
	h.respond(now)
}

// clock takes note of the time, and returns it.
func (h *Host) clock(now int64) int64 {
	if now > h.now {
		h.now = min(now, maxNow)
		h.followQueriers()
	}
	return h.now
}

// followQueriers finds the version to be spoken. "Whenever a host changes its
// compatibility mode, it cancels all its pending responses and retransmission
// timers" (RFC 3376 section 7.2.1).
func (h *Host) followQueriers() {
	if v := h.compatibility(); v != h.version {
		h.version = v
		h.stats.VersionChanges++
		h.cancel()
	}
}

// compatibility returns the version to be spoken now.
func (h *Host) compatibility() int {
	switch {
	case h.cfg.Version == 3:
		return 3
	case h.cfg.Version == 1, h.now < h.v1Until:
		return 1
	case h.cfg.Version == 2, h.now < h.v2Until:
		return 2
	}
	return 3
}

// cancel stops all timers, and drops all that is still to be reported.
func (h *Host) cancel() {
	h.freshAt, h.repeatAt, h.generalAt = never, never, never
	for g := range h.leaving.All() {
		h.forgetChanges(g)
	}
	h.leaving = index.Index[Group]{}
	for g := range h.groups.All() {
		h.forgetChanges(g)
		h.forgetResponse(g)
	}
}

// forgetChanges drops the changes of a group that are still to be reported.
func (h *Host) forgetChanges(g *Group) {
	g.unlink()
	g.modeLeft = 0
	for _, s := range g.pending {
		s.left = 0
		h.settle(g, s)
	}
	g.pending = nil
}

// forgetResponse drops a group's response and its repeated reports.
func (h *Host) forgetResponse(g *Group) {
	h.timers.Stop(&g.timer)
	h.forgetAsked(g)
	g.unsolicited = 0
}

// random returns a random time from 1 to d nanoseconds.
func (h *Host) random(d time.Duration) int64 {
	return 1 + int64(h.rnd()%uint64(max(d, 1)))
}
