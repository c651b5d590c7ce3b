package igmp

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/outband/outband/ipv4"
)

// GroupInfo is a snapshot of a group: what /proc/net/igmp and /proc/net/mcfilter show,
// and more.
type GroupInfo struct {
	Group   ipv4.Addr
	Mode    Mode // of the merged filter
	Users   int  // sockets that are members
	Exclude int  // those of them in mode EXCLUDE
	Sources []SourceInfo
	// Timer is when a response to a query for this group is due, or a report in
	// versions 1 and 2; math.MaxInt64 if there is none.
	Timer int64
	// Reporter says that in versions 1 and 2 nobody else has reported the group
	// since we did, so that a leave is ours to send.
	Reporter bool
	// Changes is in how many more reports the last change is to be.
	Changes int
	// Silent says that the group is never reported.
	Silent bool
}

// SourceInfo is a source that sockets' filters of a group name.
type SourceInfo struct {
	Addr    ipv4.Addr
	Include int  // sockets that include it
	Exclude int  // sockets that exclude it
	Listed  bool // in the list of the merged filter
}

// Groups returns a snapshot of the groups that sockets are members of, with their
// sources, both by address.
func (h *Host) Groups() []GroupInfo {
	all := make([]GroupInfo, 0, h.groups.Len())
	for _, g := range h.sorted(&h.groups) {
		all = append(all, h.info(g))
	}
	return all
}

// info returns a snapshot of the group.
func (h *Host) info(g *Group) GroupInfo {
	i := GroupInfo{Group: ipv4.AddrFrom(g.addr), Mode: g.Mode(), Users: g.users, Exclude: g.excludes,
		Timer: h.timers.When(g.timer), Reporter: g.reporter, Changes: int(g.modeLeft), Silent: g.silent}
	for _, s := range g.pending {
		i.Changes = max(i.Changes, int(s.left))
	}
	for s := range g.sources.All() {
		if !s.dead {
			i.Sources = append(i.Sources, SourceInfo{ipv4.AddrFrom(s.addr),
				int(s.count[Include]), int(s.count[Exclude]), g.lists(s)})
		}
	}
	slices.SortFunc(i.Sources, func(a, b SourceInfo) int { return cmp.Compare(a.Addr.Uint32(), b.Addr.Uint32()) })
	return i
}

// Status is a snapshot of what a host knows of its link. Times are those of its
// clock, math.MaxInt64 for never.
type Status struct {
	Version    int  // spoken now
	LinkUp     bool // and LeaveAll was not called
	Address    ipv4.Addr
	Robustness int // in force: the querier's, or the configured one

	Querier        ipv4.Addr     // the source of the last query; 0.0.0.0 if there was none, or a switch
	QuerierVersion int           // of that query; 0 if there was none
	QuerierHeard   int64         // when that was
	MaxResponse    time.Duration // that it allowed
	QueryInterval  time.Duration // between general queries: as told by version 3 queriers, or 125 s
	V1Until        int64         // until when a version 1 querier counts as present
	V2Until        int64         // the same for version 2

	GeneralTimer int64 // when the response to a general query is due
	ChangeTimer  int64 // when the next report of changes is due
}

// Status returns what the host knows of its link.
func (h *Host) Status() Status {
	s := Status{
		Version: h.version, LinkUp: h.up, Address: h.addr, Robustness: h.robustness,
		Querier: h.querier.addr, QuerierVersion: h.querier.version, QuerierHeard: h.querier.heard,
		MaxResponse: h.querier.maxResponse, QueryInterval: h.interval,
		V1Until: math.MaxInt64, V2Until: math.MaxInt64,
		GeneralTimer: h.generalAt, ChangeTimer: min(h.freshAt, h.repeatAt),
	}
	if h.v1Until > h.now {
		s.V1Until = h.v1Until
	}
	if h.v2Until > h.now {
		s.V2Until = h.v2Until
	}
	return s
}
