package stack

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
)

// Several routes of the same prefix and metric by different gateways are one's list of
// gateways (ip route append): the first whose gateway is not known to have failed is
// taken (RFC 1122, 3.3.1.5; Linux' fib_select_default). A gateway has failed if it does
// not answer ARP any more. It is asked each minute if it is there again.

// gatewayRetry is the time between two questions to a failed gateway, in nanoseconds:
// Linux forgets after gc_stale_time that a neighbour has failed.
const gatewayRetry = int64(60e9)

// gateways remembers which gateways have failed. They are gateways of routes, so their
// number is bounded by that.
type gateways struct {
	any    atomic.Bool // some have
	mu     sync.Mutex  // a leaf
	failed map[gateway]struct{}
	timer  *timer
}

// A gateway is a neighbour that routes lead over.
type gateway struct {
	index int32
	addr  ipv4.Addr
}

// alive reports whether nothing says that a gateway has failed.
func (g *gateways) alive(at gateway) bool {
	if !g.any.Load() {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, failed := g.failed[at]
	return !failed
}

// set takes in that a gateway has failed, or is there again. It returns false if that is
// known, and whether it is the first that has failed.
func (g *gateways) set(at gateway, failed bool) (changed, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.failed[at]; known == failed {
		return false, false
	}
	if !failed {
		delete(g.failed, at)
	} else {
		if g.failed == nil {
			g.failed = make(map[gateway]struct{})
		}
		g.failed[at] = struct{}{}
	}
	g.any.Store(len(g.failed) > 0)
	return true, failed && len(g.failed) == 1
}

// all returns those that have failed.
func (g *gateways) all() (out []gateway) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for at := range g.failed {
		out = append(out, at)
	}
	return out
}

// gatewayChanged takes in that a neighbour has failed, or is there again. If it is a
// gateway that another stands in for, all find their way anew.
func (i *Interface) gatewayChanged(addr ipv4.Addr, failed bool) {
	s, at := i.s, gateway{i.index, addr}
	if _, spare := s.net.Load().spares[at]; !spare {
		return
	}
	changed, first := s.gateways.set(at, failed)
	if first {
		s.timers.set(s.gateways.timer, s.clock.Now()+gatewayRetry)
	}
	if changed {
		s.gen.changed()
	}
}

// retryGateways asks for the gateways that have failed. Those that answer are heard of by
// gatewayChanged. The receive lock is held.
func (s *Stack) retryGateways(now int64) {
	n, next := s.net.Load(), int64(never)
	for _, at := range s.gateways.all() {
		i := n.byIndex[at.index]
		if _, spare := n.spares[at]; !spare || i == nil {
			s.gateways.set(at, false) // no route leads there any more
			continue
		}
		next = now + gatewayRetry
		src, _ := ipv4.SelectSource(n.addresses, at.addr, ipv4.Addr{}, int(at.index))
		i.neighMu.Lock()
		e := i.neigh.Solicit(now, at.addr, src)
		there := e != nil && e.State() == arp.Reachable
		i.afterReceiveLocked()
		i.neighMu.Unlock()
		if there {
			i.gatewayChanged(at.addr, false)
		}
	}
	s.timers.set(s.gateways.timer, next)
}

// choose returns the route to take instead of r, which is by a gateway: the first of its
// prefix and metric, over the device if one is wanted, whose gateway is alive; r if none
// is.
func (s *Stack) choose(n *network, r ipv4.Route, device int32) ipv4.Route {
	if s.gateways.alive(gateway{int32(r.Iface), r.Gateway}) {
		return r
	}
	for o := range n.routes.Beside(r) {
		if !o.Gateway.IsUnspecified() && (device == 0 || int32(o.Iface) == device) &&
			s.gateways.alive(gateway{int32(o.Iface), o.Gateway}) {
			return o
		}
	}
	return r
}

// addSpares notes the gateways of two routes that follow each other in the table, if one
// may stand in for the other.
func (n *network) addSpares(a, b *ipv4.Route) {
	if a.Prefix != b.Prefix || a.Metric != b.Metric || a.Gateway.IsUnspecified() || b.Gateway.IsUnspecified() {
		return
	}
	if n.spares == nil {
		n.spares = make(map[gateway]struct{})
	}
	for _, r := range []*ipv4.Route{a, b} {
		n.spares[gateway{int32(r.Iface), r.Gateway}] = struct{}{}
	}
}
