package stack

import (
	"sync"

	"github.com/outband/outband/stack/internal/drive"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/route"
)

// reassembly is where fragments wait for the rest of their datagrams: of all lanes, since
// they may come by several links. mu is held while a datagram that is whole again is given
// to its sockets: it lies in the reassembler's memory.
type reassembly struct {
	mu    sync.Mutex // taken with a lane's lock held
	r     *ipv4.Reassembler
	timer *drive.Timer
}

// fragmentInput takes in a fragment, and the datagram that it makes whole.
func (l *lane) fragmentInput(a *arrival, payload []byte) {
	s := l.s
	s.reasm.mu.Lock()
	defer s.reasm.mu.Unlock()
	now := s.clock.Now()
	if now >= s.reasm.r.Deadline() {
		l.reassemblyTimersLocked(now) // what Input gives up itself nobody would be told of
	}
	datagram, done, c := s.reasm.r.Input(now, a.h, payload, int(a.ifc.dev.Index))
	s.timers.Set(s.reasm.timer, s.reasm.r.Deadline())
	if c != ipv4.CauseNone {
		l.count[counter.DropFragment]++
	}
	if !done {
		return
	}
	if a.h, payload, c = ipv4.Parse(datagram); c != ipv4.CauseNone {
		l.badHeader(c)
		return
	}
	a.frag = s.reasm.r.MaxFragSize()
	l.wholeInput(a, payload)
}

// reassemblyTimers gives up datagrams whose time is over, and tells their
// senders.
func (l *lane) reassemblyTimers(now int64) {
	l.s.reasm.mu.Lock()
	defer l.s.reasm.mu.Unlock()
	l.reassemblyTimersLocked(now)
}

func (l *lane) reassemblyTimersLocked(now int64) {
	s := l.s
	s.reasm.r.Advance(now)
	for {
		e, ok := s.reasm.r.Next()
		if !ok {
			break
		}
		ifc := interfaceOf(s.routes.Net().ByIndex(int32(e.Iface)))
		h, _, ok := ipv4.ParseQuoted(e.First)
		if e.First == nil || ifc == nil || !ok {
			continue
		}
		a := arrival{ifc: ifc, meta: &link.Meta{}, h: h, src: h.Src(), dst: h.Dst()}
		if s.routes.Net().IsBroadcast(h.Dst()) {
			a.kind = route.Broadcast
		}
		l.sendErrorAbout(&a, errReassemblyTime, 0, e.First)
	}
	s.timers.Set(s.reasm.timer, s.reasm.r.Deadline())
}

// stats returns the reassembler's counters.
func (r *reassembly) stats() ipv4.ReassemblyStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.Stats()
}
