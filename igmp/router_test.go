package igmp

import (
	"maps"
	"slices"
	"time"

	"github.com/outband/outband/ipv4"
)

// A router is the other side: RFC 3376 section 6, for one host and without elections.
type router struct {
	rv      int
	groups  map[ipv4.Addr]*routed
	queries []planned // to send
	general int64     // when to send the next general query
}

// A routed is what a router knows of a group (RFC 3376 section 6.2).
type routed struct {
	mode    Mode
	timer   int64            // in mode EXCLUDE
	sources map[uint32]int64 // when the source's timer ends; 0 if it has: not forwarded, in mode EXCLUDE
}

// A planned query goes out at a time.
type planned struct {
	at      int64
	group   ipv4.Addr
	sources []uint32
}

const (
	routerInterval = 125 * sec
	lastMember     = sec // last member query interval, and what it allows
)

func newRouter(rv int, now int64) *router {
	return &router{rv: rv, groups: map[ipv4.Addr]*routed{}, general: now}
}

// membership returns the group membership interval (RFC 3376 section 8.4).
func (r *router) membership() int64 { return int64(r.rv)*routerInterval + 10*sec }

// deadline returns when something is to be done.
func (r *router) deadline() int64 {
	d := r.general
	for _, q := range r.queries {
		d = min(d, q.at)
	}
	for _, g := range r.groups {
		if g.mode == Exclude {
			d = min(d, g.timer)
		}
		for _, at := range g.sources {
			if at > 0 {
				d = min(d, at)
			}
		}
	}
	return d
}

// advance runs the timers, and returns the queries that are due.
func (r *router) advance(now int64) (out []planned) {
	for addr, g := range r.groups {
		g.expire(now)
		if g.mode == Include && len(g.sources) == 0 {
			delete(r.groups, addr)
		}
	}
	if r.general <= now {
		out = append(out, planned{})
		r.general = now + routerInterval
	}
	r.queries = slices.DeleteFunc(r.queries, func(q planned) bool {
		if q.at <= now {
			out = append(out, q)
		}
		return q.at <= now
	})
	return out
}

// expire runs a group's timers (RFC 3376 sections 6.3 and 6.5).
func (g *routed) expire(now int64) {
	for s, at := range g.sources {
		switch {
		case at == 0 || at > now:
		case g.mode == Include:
			delete(g.sources, s)
		default:
			g.sources[s] = 0
		}
	}
	if g.mode == Exclude && g.timer <= now {
		g.mode = Include
		maps.DeleteFunc(g.sources, func(_ uint32, at int64) bool { return at == 0 })
	}
}

// forwards reports whether the router forwards what s sends to the group.
func (r *router) forwards(group ipv4.Addr, s uint32) bool {
	g := r.groups[group]
	if g == nil {
		return false
	}
	at, known := g.sources[s]
	if !known {
		return g.mode == Exclude
	}
	return at > 0
}

// query sends as many queries as the last member query count, for these sources or for
// the group, and lowers the timers.
func (r *router) query(now int64, group ipv4.Addr, sources []uint32, whole bool) {
	if len(sources) == 0 && !whole {
		return
	}
	g, last := r.groups[group], now+int64(r.rv)*lastMember
	for i := range r.rv {
		r.queries = append(r.queries, planned{now + int64(i)*lastMember, group, sources})
	}
	if whole {
		g.timer = min(g.timer, last)
	}
	for _, s := range sources {
		g.sources[s] = min(g.sources[s], last)
	}
}

// record handles a group record (RFC 3376 section 6.4).
func (r *router) record(now int64, t RecordType, group ipv4.Addr, b map[uint32]bool) {
	g := r.groups[group]
	if g == nil {
		g = &routed{mode: Include, sources: map[uint32]int64{}}
		r.groups[group] = g
	}
	gmi := now + r.membership()
	refresh := func() {
		for s := range b {
			g.sources[s] = gmi
		}
	}
	// others are sources asked for that the record does not list.
	others := g.forwarded(func(s uint32) bool { return !b[s] })
	switch t {
	case IsInclude, AllowNewSources:
		refresh()
	case ToInclude:
		refresh()
		r.query(now, group, others, g.mode == Exclude)
		if g.mode == Exclude {
			r.query(now, group, nil, true)
		}
	case BlockOldSources:
		if g.mode == Exclude {
			for s := range b {
				if _, known := g.sources[s]; !known {
					g.sources[s] = g.timer
				}
			}
		}
		r.query(now, group, g.forwarded(func(s uint32) bool { return b[s] }), false)
	case IsExclude, ToExclude:
		for s := range b {
			if _, known := g.sources[s]; !known {
				switch {
				case g.mode == Include:
					g.sources[s] = 0
				case t == IsExclude:
					g.sources[s] = gmi
				default:
					g.sources[s] = g.timer
				}
			}
		}
		maps.DeleteFunc(g.sources, func(s uint32, _ int64) bool { return !b[s] })
		g.mode, g.timer = Exclude, gmi
		if t == ToExclude {
			r.query(now, group, g.forwarded(func(uint32) bool { return true }), false)
		}
	}
}

// forwarded returns the sources whose timer runs and that ok is true of.
func (g *routed) forwarded(ok func(uint32) bool) (all []uint32) {
	for s, at := range g.sources {
		if at > 0 && ok(s) {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}

// message returns the query as it is sent.
func (q planned) message(rv int) []byte {
	code := byte(lastMember / int64(time.Second/10))
	if q.group.IsUnspecified() {
		code = 100
	}
	b := queryV3(code, q.group)
	b[8], b[11] = byte(rv), byte(len(q.sources))
	for _, s := range q.sources {
		a := ipv4.AddrFrom(s)
		b = append(b, a[:]...)
	}
	return seal(b)
}
