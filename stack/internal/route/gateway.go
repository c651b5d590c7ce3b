package route

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/ipv4"
)

// Several routes of the same prefix and metric by different gateways are one's list of
// gateways (ip route append): the first whose gateway is not known to have failed is
// taken (RFC 1122, 3.3.1.5; Linux' fib_select_default). A gateway has failed if it does
// not answer ARP any more.

// Gateways remembers which gateways have failed. They are gateways of routes, so their
// number is bounded by that.
type Gateways struct {
	any    atomic.Bool // some have
	mu     sync.Mutex  // a leaf
	failed map[Gateway]struct{}
}

// A Gateway is a neighbour that routes lead over.
type Gateway struct {
	Index int32
	Addr  ipv4.Addr
}

// alive reports whether nothing says that a gateway has failed.
func (g *Gateways) alive(at Gateway) bool {
	if !g.any.Load() {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, failed := g.failed[at]
	return !failed
}

// Set takes in that a gateway has failed, or is there again. It returns false if that is
// known, and whether it is the first that has failed.
func (g *Gateways) Set(at Gateway, failed bool) (changed, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.failed[at]; known == failed {
		return false, false
	}
	if !failed {
		delete(g.failed, at)
	} else {
		if g.failed == nil {
			g.failed = make(map[Gateway]struct{})
		}
		g.failed[at] = struct{}{}
	}
	g.any.Store(len(g.failed) > 0)
	return true, failed && len(g.failed) == 1
}

// Failed returns those that have failed.
func (g *Gateways) Failed() (out []Gateway) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for at := range g.failed {
		out = append(out, at)
	}
	return out
}

// choose returns the route to take instead of r, which is by a gateway: the first of its
// prefix and metric, over the device if one is wanted, whose gateway is alive; r if none
// is.
func (g *Gateways) choose(n *Network, r ipv4.Route, device int32) ipv4.Route {
	if g.alive(Gateway{int32(r.Iface), r.Gateway}) {
		return r
	}
	for o := range n.routes.Beside(r) {
		if !o.Gateway.IsUnspecified() && (device == 0 || int32(o.Iface) == device) &&
			g.alive(Gateway{int32(o.Iface), o.Gateway}) {
			return o
		}
	}
	return r
}

// addSpares notes the gateways of two routes that follow each other in the table, if one
// may stand in for the other.
func (n *Network) addSpares(a, b *ipv4.Route) {
	if a.Prefix != b.Prefix || a.Metric != b.Metric || a.Gateway.IsUnspecified() || b.Gateway.IsUnspecified() {
		return
	}
	if n.spares == nil {
		n.spares = make(map[Gateway]struct{})
	}
	for _, r := range []*ipv4.Route{a, b} {
		n.spares[Gateway{int32(r.Iface), r.Gateway}] = struct{}{}
	}
}

// HasSpares reports whether there are gateways that stand in for one another.
func (n *Network) HasSpares() bool { return n.spares != nil }

// IsSpare reports whether a gateway is one of those.
func (n *Network) IsSpare(at Gateway) bool {
	_, spare := n.spares[at]
	return spare
}
