package stack

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// SolicitFlags change what Solicit does, as evl_net_solicit's flags.
type SolicitFlags int

const (
	// SolicitPermanent makes the entry permanent once it is resolved.
	SolicitPermanent SolicitFlags = 1 << iota
	// SolicitMayRoute permits a gateway on the path: its neighbour entry is the
	// one that is resolved then.
	SolicitMayRoute
)

// Solicit resolves the neighbour for dst now, verifying one that is stale, and
// waits for the answer at most so long; negative: without end. ETIMEDOUT: no
// answer in time. EHOSTUNREACH: it did not answer any request. EMULTIHOP: the
// path leads over a gateway, and SolicitMayRoute is not given. EINVAL: unknown
// flags. ENETDOWN: the stack is closed. Routing errors as for Socket.Send.
func (s *Stack) Solicit(dst netip.Addr, timeout time.Duration, flags SolicitFlags) error {
	return s.solicitBy(nil, route.Flow{}, dst, timeout, flags)
}

// solicitBy is Solicit for a flow with a source or a device of its own. k is the
// socket whose end ends the wait, or nil.
func (s *Stack) solicitBy(k *Endpoint, f route.Flow, dst netip.Addr, timeout time.Duration, flags SolicitFlags) error {
	ip, ok := as4(dst)
	switch {
	case s.Closed():
		return unix.ENETDOWN
	case !ok:
		return unix.EAFNOSUPPORT
	case flags&^(SolicitPermanent|SolicitMayRoute) != 0:
		return unix.EINVAL
	}
	f.Dst, f.Broadcast = ip, true
	h, e := s.routes.Find(f)
	switch {
	case e != 0:
		return e
	case h.Device.Loopback || h.Kind != route.Unicast:
		return nil // nothing to resolve
	case h.Next != ip && flags&SolicitMayRoute == 0:
		return unix.EMULTIHOP
	}
	a := &solicitation{next: h.Next, k: k}
	a.waiter = s.NewWaiter(a.over)
	if k != nil {
		w := &Watch{Notify: func(uint32) bool { return a.waiter.Wake() }}
		if k.Watch(w) != nil {
			return unix.EBADF
		}
		defer k.Unwatch(w)
	}
	return interfaceOf(h.Device).solicit(a, h.Src, s.Deadline(timeout), flags)
}

// A solicitation is somebody who waits for a neighbour.
type solicitation struct {
	next   ipv4.Addr
	k      *Endpoint // nil: none
	waiter *Waiter
	answer atomic.Int32 // one of the following
}

const (
	unanswered int32 = iota
	answered
	noAnswer // to any request
)

func (a *solicitation) over() bool { return a.answer.Load() != unanswered || a.k != nil && a.k.ended() }

// solicitors are those who wait for neighbours of an interface.
type solicitors struct {
	mu  sync.Mutex // a leaf
	all map[ipv4.Addr][]*solicitation
}

// add enters a solicitation. It is to be added before the neighbour is asked for.
func (l *solicitors) add(a *solicitation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make(map[ipv4.Addr][]*solicitation)
	}
	l.all[a.next] = append(l.all[a.next], a)
}

// remove takes out a solicitation that ends without an answer.
func (l *solicitors) remove(a *solicitation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.all[a.next]
	if at := slices.Index(list, a); at >= 0 {
		list = slices.Delete(list, at, at+1)
	}
	if l.all[a.next] = list; len(list) == 0 {
		delete(l.all, a.next)
	}
}

// tell ends the waits for one neighbour.
func (l *solicitors) tell(addr ipv4.Addr, ok bool) {
	l.mu.Lock()
	list := l.all[addr]
	delete(l.all, addr)
	l.mu.Unlock()
	answer := noAnswer
	if ok {
		answer = answered
	}
	for _, a := range list {
		a.answer.Store(answer)
		a.waiter.WakeAll()
	}
}

// solicit waits for one neighbour. Who waits drives the links, as any receiver.
func (i *Interface) solicit(a *solicitation, src ipv4.Addr, deadline int64, flags SolicitFlags) error {
	i.solicitors.add(a)
	if !i.dev.Neighbours.Solicit(a.next, src) {
		i.solicitors.remove(a)
		return unix.ENOBUFS
	}
	a.waiter.Wait(deadline)
	if a.answer.Load() == unanswered {
		i.solicitors.remove(a)
	}
	switch {
	case a.answer.Load() == answered && flags&SolicitPermanent != 0:
		return i.makePermanent(a.next)
	case a.answer.Load() == answered:
		return nil
	case a.k != nil && a.k.ended(): // which may be why there was no answer
		return a.k.whyEnded()
	case i.s.Closed():
		return unix.ENETDOWN
	case a.answer.Load() == noAnswer:
		return unix.EHOSTUNREACH
	default:
		return unix.ETIMEDOUT
	}
}

// makePermanent makes a resolved entry permanent.
func (i *Interface) makePermanent(addr ipv4.Addr) error {
	mac, ok := i.dev.Neighbours.Mac(addr)
	if !ok {
		return unix.EHOSTUNREACH
	}
	return i.SetNeighbour(netip.AddrFrom4(addr), mac, arp.Permanent)
}

// Solicit is Stack.Solicit for the way that the socket's datagrams would take:
// by the device and from the address that it is bound to, if it is. EBADF: the
// socket is closed, or was meanwhile. EPIPE: it is shut down, in either direction.
func (k *Endpoint) Solicit(dst netip.Addr, timeout time.Duration, flags SolicitFlags) error {
	if k.ended() {
		return k.whyEnded()
	}
	local := k.kind.LocalAddr().Addr().As4()
	f := route.Flow{Src: local, Device: int32(k.Device())}
	if k.s.routes.Net().ReceivesOnly(f.Src) {
		f.Src = ipv4.Addr{}
	}
	return k.s.solicitBy(k, f, dst, timeout, flags)
}

// ended reports whether the socket was closed or shut down, whyEnded which.
func (k *Endpoint) ended() bool {
	return k.state.Load()&(output.StateShutRead|output.StateShutWrite|output.StateClosed) != 0
}

func (k *Endpoint) whyEnded() error {
	if k.Closed() {
		return unix.EBADF
	}
	return unix.EPIPE
}

// neighbourChanged takes in what has become of a neighbour, or of an address of ours. No
// lock is held.
func (i *Interface) neighbourChanged(ev *arp.Event) {
	switch ev.Kind {
	case arp.Conflict:
		if !i.dev.Probes() || !i.probed(ev.Addr, false, ev.MAC) {
			i.tell(Event{Kind: AddressConflict, Addr: netip.AddrFrom4(ev.Addr), MAC: ev.MAC})
		}
	case arp.AddressReady:
		i.probed(ev.Addr, true, link.MAC{})
	case arp.Resolved, arp.ResolveFailed:
		i.solicitors.tell(ev.Addr, ev.Kind == arp.Resolved)
	case arp.NeighbourUp:
		i.gatewayChanged(ev.Addr, false)
		i.tell(Event{Kind: NeighbourUp, Addr: netip.AddrFrom4(ev.Addr), MAC: ev.MAC})
	case arp.NeighbourFailed:
		i.gatewayChanged(ev.Addr, true)
		i.tell(Event{Kind: NeighbourFailed, Addr: netip.AddrFrom4(ev.Addr)})
	}
}

// arpInput takes in an ARP packet.
func (l *lane) arpInput(i *Interface, f *link.Frame) {
	l.count[counter.ARPIn]++
	if i.dev.Neighbours.Input(f.Data) {
		l.pending.posted = true
	}
}

// A Neighbour is one entry of a neighbour table, as ip-neigh(8) shows it.
type Neighbour struct {
	Dev   string
	Index int
	arp.Neighbour
}

// Neighbours returns all interfaces' neighbour tables.
func (s *Stack) Neighbours() []Neighbour {
	var out []Neighbour
	for _, i := range s.Interfaces() {
		if i.dev.Loopback {
			continue
		}
		for _, n := range i.dev.Neighbours.Entries() {
			out = append(out, Neighbour{i.Name(), int(i.dev.Index), n})
		}
	}
	return out
}

// SetNeighbour adds or replaces an entry of the interface's neighbour table (ip
// neigh replace): arp.Permanent, arp.NoARP, arp.Reachable or arp.Stale. ENODEV: the
// interface was removed.
func (i *Interface) SetNeighbour(addr netip.Addr, mac link.MAC, state arp.State) error {
	if err := i.removed(); err != nil {
		return err
	}
	ip, ok := as4(addr)
	if !ok {
		return unix.EAFNOSUPPORT
	}
	var c arp.Cause
	i.dev.Neighbours.Change(func(t *arp.Table, now int64) { c = t.Set(now, ip, mac, state) })
	switch c {
	case arp.CauseNone:
		return nil
	case arp.CauseTableFull:
		return unix.ENOBUFS
	default:
		return unix.EINVAL
	}
}

// DeleteNeighbour removes an entry: ENOENT if there is none, ENODEV if the
// interface was removed.
func (i *Interface) DeleteNeighbour(addr netip.Addr) error {
	if err := i.removed(); err != nil {
		return err
	}
	ip, ok := as4(addr)
	if !ok {
		return unix.EAFNOSUPPORT
	}
	found := false
	i.dev.Neighbours.Change(func(t *arp.Table, _ int64) { found = t.Delete(ip) })
	if !found {
		return unix.ENOENT
	}
	return nil
}
