package igmp

import (
	"slices"

	"github.com/outband/outband/internal/clock"
	"github.com/outband/outband/internal/index"
	"github.com/outband/outband/ipv4"
)

// Update replaces one socket's filter of a group by another: to join, from [NotMember]
// to another; to leave, the other way round. The filters of all sockets are merged
// by counting, and if the result is another than before, that is reported ReportDelay
// later, when [Host.Advance] is called, together with other changes. The cost is that
// of the sources that differ; that of all the group's sources if the number of
// sockets in mode EXCLUDE changes.
//
// The caller sees to it that old is what it said last for that socket. A group that is
// not multicast is ignored. Update keeps neither filter.
func (h *Host) Update(now int64, group ipv4.Addr, old, new Filter) {
	now = h.clock(now)
	if !group.IsMulticast() || !old.isMember() && !new.isMember() {
		return
	}
	g := h.Lookup(group)
	if g == nil {
		if !new.isMember() {
			return
		}
		g = h.join(group.Uint32())
	}
	joined := g.users == 0
	changed := h.merge(g, old, new)
	g.users = max(0, g.users+members(new)-members(old))
	switch {
	case g.users == 0:
		h.left(now, g)
	case changed:
		h.schedule(now, g)
	case h.version != 3 && joined:
		h.announce(now, g)
	}
}

// members returns 1 if the filter makes its socket a member.
func members(f Filter) int {
	if f.isMember() {
		return 1
	}
	return 0
}

// join adds a group that nobody is a member of yet; that it was left is perhaps still
// to be repeated.
func (h *Host) join(k uint32) *Group {
	g := h.leaving.Get(k, h.seed)
	if g != nil {
		h.leaving.Remove(k, h.seed)
	} else {
		g = &Group{addr: k, seed: h.seed, silent: h.neverReported(ipv4.AddrFrom(k))}
	}
	h.groups.Put(k, g, h.seed)
	h.stats.Joins++
	return g
}

// neverReported reports whether a group is not to be talked about (RFC 3376 section 5,
// RFC 2236 section 6; igmp_link_local_mcast_reports).
func (h *Host) neverReported(ip ipv4.Addr) bool {
	return ip == AllSystems || !h.cfg.LinkLocalReports && [3]byte(ip[:3]) == [3]byte{224, 0, 0}
}

// tracks reports whether changes of the group's filter are reported.
func (h *Host) tracks(g *Group) bool { return h.up && h.version == 3 && !g.silent }

// merge replaces one filter among those merged, marks what that changes, and reports
// whether there is anything to report.
func (h *Host) merge(g *Group, old, new Filter) bool {
	excludes := max(0, g.excludes+new.excludes()-old.excludes())
	modeChange := (excludes > 0) != (g.excludes > 0)
	if modeChange {
		h.forgetChanges(g) // the whole list is reported instead
	} else if excludes != g.excludes {
		for s := range g.sources.All() {
			h.touch(g, s)
		}
	}
	difference(old, new,
		func(k uint32) {
			if s := g.sources.Get(k, h.seed); s != nil && s.count[old.Mode] > 0 {
				h.touch(g, s)
				s.count[old.Mode]--
			}
		},
		func(k uint32) {
			s := g.sources.Get(k, h.seed)
			if s == nil {
				s = &source{addr: k}
				g.sources.Put(k, s, h.seed)
			}
			h.touch(g, s)
			s.count[new.Mode]++
		})
	g.excludes = excludes
	if modeChange && h.tracks(g) {
		g.modeLeft = uint8(h.robustness)
		h.stats.ModeChanges++
	}
	marked := h.markTouched(g, !modeChange && h.tracks(g))
	if h.dead > h.cfg.MaxDeadSources && g.changed() {
		h.forgetChanges(g)
		g.modeLeft = uint8(h.robustness)
		h.stats.WholeFilters++
		return true
	}
	return marked || modeChange && h.tracks(g)
}

// touch notes what a source was before the filters change.
func (h *Host) touch(g *Group, s *source) {
	if !s.touched {
		s.touched, s.listed = true, g.lists(s)
		h.touched = append(h.touched, s)
	}
}

// markTouched marks the sources that have come to the group's list or gone from it
// to be reported (RFC 3376 section 5.1), if report holds. It returns whether there
// are any.
func (h *Host) markTouched(g *Group, report bool) (marked bool) {
	for _, s := range h.touched {
		s.touched = false
		if report && s.listed != g.lists(s) {
			h.mark(g, s)
			marked = true
		}
		h.settle(g, s)
	}
	clear(h.touched)
	if h.touched = h.touched[:0]; cap(h.touched) > keepScratch {
		h.touched = nil
	}
	return marked
}

// keepScratch is the capacity beyond which memory for one call is given back.
const keepScratch = 1 << 16

// mark has a source reported in the next reports.
func (h *Host) mark(g *Group, s *source) {
	if s.left == 0 {
		g.pending = append(g.pending, s)
	}
	s.left = uint8(h.robustness)
	h.stats.SourceChanges++
}

// settle keeps count of the sources that no filter names any more, and removes
// those that need not be reported either.
func (h *Host) settle(g *Group, s *source) {
	dead := s.count == [2]uint32{}
	switch {
	case dead && s.left == 0:
		if s.dead {
			h.dead--
		}
		g.sources.Remove(s.addr, h.seed)
	case dead && !s.dead:
		h.dead++
		s.dead = true
	case !dead && s.dead:
		h.dead--
		s.dead = false
	}
}

// schedule has the group's change reported soon. One that has waited already is not
// put off.
func (h *Host) schedule(now int64, g *Group) {
	if g.list != &h.fresh {
		g.push(&h.fresh)
	}
	h.freshAt = min(h.freshAt, clock.After(now, int64(h.cfg.ReportDelay)))
}

// announce has a join reported, in versions 1 and 2 (RFC 2236 section 3). The
// robustness is the configured one, as on Linux: queriers of these versions tell none.
func (h *Host) announce(now int64, g *Group) {
	if h.up && !g.silent {
		g.unsolicited = uint8(h.cfg.Robustness)
		h.timers.Set(&g.timer, clock.After(now, int64(h.cfg.ReportDelay)), g)
	}
}

// left removes a group that nobody is a member of any more. In version 3 it is kept
// among those that leave until that has been reported; in version 2 a leave is sent
// if nobody else has reported the group since we did (RFC 2236 section 3); in version
// 1 there is nothing to say.
func (h *Host) left(now int64, g *Group) {
	h.stats.Leaves++
	h.groups.Remove(g.addr, h.seed)
	h.forgetResponse(g)
	if h.version == 2 && h.up && g.reporter {
		h.sendLeave(g)
	}
	g.reporter = false
	switch {
	case !g.changed():
		g.unlink()
	case h.leaving.Len() < h.cfg.MaxLeaving:
		h.leaving.Put(g.addr, g, h.seed)
		h.schedule(now, g)
	default:
		h.count(CauseManyLeaves)
		p := packer{h: h}
		h.packChange(&p, g)
		p.flush()
		h.forgetChanges(g)
	}
}

// rejoin reports all memberships as if they were new.
func (h *Host) rejoin(now int64) {
	if !h.up {
		return
	}
	for _, g := range h.sorted(&h.groups) {
		switch {
		case h.version != 3:
			h.announce(now, g)
		case !g.silent:
			h.remark(g)
			h.schedule(now, g)
		}
	}
}

// remark marks all of a group's filter to be reported: TO_EX, or ALLOW as for sources
// that are new.
func (h *Host) remark(g *Group) {
	if g.excludes > 0 {
		h.forgetChanges(g)
		g.modeLeft = uint8(h.robustness)
		return
	}
	for s := range g.sources.All() {
		if g.lists(s) {
			h.mark(g, s)
		}
	}
}

// sorted returns the groups by address, until it is called again.
func (h *Host) sorted(x *index.Index[Group]) []*Group {
	h.order = h.order[:0]
	for g := range x.All() {
		h.order = append(h.order, g)
	}
	slices.SortFunc(h.order, func(a, b *Group) int {
		if a.addr < b.addr {
			return -1
		}
		return 1
	})
	return h.order
}
