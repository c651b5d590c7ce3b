package stack

import (
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/route"
)

// Gateways that have failed are passed over (route.Gateways). Each is asked each minute
// if it is there again.

// gatewayRetry is the time between two questions to a failed gateway, in nanoseconds:
// Linux forgets after gc_stale_time that a neighbour has failed.
const gatewayRetry = int64(60e9)

// gatewayChanged takes in that a neighbour has failed, or is there again. If it is a
// gateway that another stands in for, all find their way anew.
func (i *Interface) gatewayChanged(addr ipv4.Addr, failed bool) {
	s, at := i.s, route.Gateway{Index: i.dev.Index, Addr: addr}
	if !s.routes.Net().IsSpare(at) {
		return
	}
	changed, first := s.routes.Gateways.Set(at, failed)
	if first {
		s.timers.Set(s.gatewayTimer, s.clock.Now()+gatewayRetry)
	}
	if changed {
		s.routes.Generations.Changed()
	}
}

// retryGateways asks for the gateways that have failed. Those that answer are heard of by
// gatewayChanged. The first lane's lock is held.
func (s *Stack) retryGateways(now int64) {
	n, next := s.routes.Net(), int64(never)
	for _, at := range s.routes.Gateways.Failed() {
		i := interfaceOf(n.ByIndex(at.Index))
		if !n.IsSpare(at) || i == nil {
			s.routes.Gateways.Set(at, false) // no route leads there any more
			continue
		}
		next = now + gatewayRetry
		if i.dev.Neighbours.AskFor(now, at.Addr, n.Source(at.Addr, at.Index)) {
			i.gatewayChanged(at.Addr, false)
		}
	}
	s.timers.Set(s.gatewayTimer, next)
}
