package igmp

import (
	"slices"
	"time"

	"github.com/outband/outband/ipv4"
)

// A Packet is a received IPv4 datagram whose protocol is IGMP.
type Packet struct {
	Src, Dst    ipv4.Addr
	TTL         uint8
	RouterAlert bool   // the header has the router alert option (RFC 2113)
	Payload     []byte // what follows the header and its options; not kept
	ToHost      bool   // Dst is an address of this host's, be it another than SetAddress said
}

// Input takes a received message: a query, to which a response comes out of Next
// in time, or the report of another host, which makes ours needless in versions 1 and
// 2. The cause says why it had no effect; CauseNone if it had one.
func (h *Host) Input(now int64, p Packet) Cause {
	now = h.clock(now)
	if !h.up {
		return h.count(CauseLinkDown)
	}
	m, c := Parse(p.Payload)
	if c != CauseNone {
		return h.count(c)
	}
	h.stats.note(m)
	if p.TTL != 1 && !h.cfg.AnyTTL {
		return h.count(CauseTTL)
	}
	if !mayReport(p.Src) {
		return h.count(CauseSource)
	}
	switch m.Type() {
	case Query:
		return h.count(h.query(now, m, p))
	case ReportV1, ReportV2:
		return h.count(h.report(m, p))
	}
	return h.count(CauseRouterOnly)
}

// mayReport reports whether ip can be the source of a message: one host's address, or
// 0.0.0.0, which snooping switches (RFC 4541 section 2.1.1) and hosts without an address
// send from (RFC 3376 section 4.2.13).
func mayReport(ip ipv4.Addr) bool { return ip.IsHost() || ip.IsUnspecified() }

// query handles a query.
func (h *Host) query(now int64, m Message, p Packet) Cause {
	version, group := m.QueryVersion(), m.Group()
	if version == 1 {
		group = ipv4.Addr{} // RFC 1112, appendix I: ignored when received
	}
	if c := h.checkQuery(m, p, group); c != CauseNone {
		return c
	}
	h.heard(now, m, p, group.IsUnspecified())
	spread := max(m.MaxResponse(), minResponse)
	if h.version == 1 && version == 3 {
		// To a version 1 host this is a query like others (as on Linux).
		group, spread = ipv4.Addr{}, 10*time.Second
	}
	switch {
	case h.version != 3:
		return h.queryShort(now, group, spread)
	case group.IsUnspecified():
		h.generalAt = min(h.generalAt, max(now+h.random(spread), h.generalSent+responseGap))
		return CauseNone
	}
	return h.querySpecific(now, m, spread)
}

// checkQuery looks at what a query says. "A system MUST accept and process any query
// whose IP destination address field contains any of the addresses (unicast or
// multicast) assigned to the interface" (RFC 3376 section 4.1.12).
func (h *Host) checkQuery(m Message, p Packet, group ipv4.Addr) Cause {
	switch {
	case !p.RouterAlert && m.QueryVersion() > 1 && h.cfg.RequireRouterAlert:
		return CauseRouterAlert
	case p.Dst != AllSystems && !p.ToHost && h.Lookup(p.Dst) == nil && (p.Dst != h.addr || p.Dst.IsUnspecified()):
		return CauseDestination
	case group.IsUnspecified() && m.NumSources() > 0, !group.IsUnspecified() && !group.IsMulticast():
		return CauseGroup
	}
	return CauseNone
}

// heard takes note of the querier: its version, and what it tells in version 3.
func (h *Host) heard(now int64, m Message, p Packet, general bool) {
	if !p.RouterAlert {
		h.stats.NoRouterAlert++
	}
	version := m.QueryVersion()
	if version == 3 {
		h.robustness = h.cfg.Robustness
		if qrv := m.Robustness(); qrv > 0 {
			h.robustness = qrv
		}
		h.interval = queryInterval
		if i := m.QueryInterval(); i > 0 {
			h.interval = i
		}
	}
	h.querier = querier{p.Src, version, now, m.MaxResponse()}
	// The Older Version Querier Present Timeout (RFC 3376 section 8.12), of general
	// queries (section 7.2.1).
	until := now + int64(h.robustness)*int64(h.interval) + int64(m.MaxResponse())
	switch {
	case version == 1:
		h.v1Until = until
	case version == 2 && general:
		h.v2Until = until
	}
	h.followQueriers()
}

// queryShort handles a query in versions 1 and 2: each group has a timer of its own
// (RFC 2236 section 3).
func (h *Host) queryShort(now int64, group ipv4.Addr, spread time.Duration) Cause {
	if !group.IsUnspecified() {
		g := h.Lookup(group)
		if g == nil || g.silent {
			return CauseNotMember
		}
		h.delay(now, g, spread)
		return CauseNone
	}
	for g := range h.groups.All() {
		if !g.silent {
			h.delay(now, g, spread)
		}
	}
	return CauseNone
}

// delay has a group reported within spread. A timer that runs is set anew only if it
// could end later than that.
func (h *Host) delay(now int64, g *Group, spread time.Duration) {
	g.unsolicited = 0
	if !g.timer.Running() || h.timers.When(g.timer)-now > int64(spread) {
		h.timers.Set(&g.timer, now+h.random(spread), g)
	}
}

// querySpecific handles a query for one group in version 3, by the rules of RFC 3376
// section 5.2.
func (h *Host) querySpecific(now int64, m Message, spread time.Duration) Cause {
	g := h.Lookup(m.Group())
	if g == nil || g.silent {
		return CauseNotMember
	}
	at := max(now+h.random(spread), h.groupSent+responseGap)
	if h.generalAt <= at {
		return CauseNone // rule 1: that response says it all
	}
	all := g.timer.Running() && len(g.asked) == 0
	switch {
	case m.NumSources() == 0 || all:
		h.forgetAsked(g) // rules 3 and 4: about the whole group
	default:
		h.ask(g, m) // rules 3 and 5: about these sources, too
	}
	if at < h.timers.When(g.timer) {
		h.timers.Set(&g.timer, at, g)
	}
	return CauseNone
}

// ask adds a query's sources to those that a group is asked for. If there are too
// many, the whole group is.
func (h *Host) ask(g *Group, m Message) {
	n := m.NumSources()
	if h.asked+n > h.cfg.MaxQuerySources {
		h.count(CauseManySources)
		h.forgetAsked(g)
		return
	}
	h.asked -= len(g.asked)
	for i := range n {
		g.asked = append(g.asked, m.Source(i).Uint32())
	}
	slices.Sort(g.asked)
	g.asked = slices.Compact(g.asked)
	h.asked += len(g.asked)
}

// forgetAsked makes what a group is asked for all of it.
func (h *Host) forgetAsked(g *Group) {
	h.asked -= len(g.asked)
	g.asked = nil
}

// report handles the report of another host: in versions 1 and 2 ours is needless
// then, and ours is not the latest report of the group (RFC 2236 section 3). In
// version 3 every host reports for itself.
func (h *Host) report(m Message, p Packet) Cause {
	group := m.Group()
	switch {
	case p.Src == h.addr && !p.Src.IsUnspecified():
		return CauseReflected
	case !group.IsMulticast():
		return CauseGroup
	case p.Dst != group:
		return CauseDestination
	case h.version == 3:
		return CauseNotSuppressed
	}
	g := h.Lookup(group)
	if g == nil || g.silent {
		return CauseNotMember
	}
	if g.timer.Running() {
		h.forgetResponse(g)
		h.stats.Suppressed++
	}
	g.reporter = false
	return CauseNone
}
