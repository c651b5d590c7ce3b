package stack

import (
	"net/netip"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// neighbour asks the table for the hardware address of addr. version is 0 if it
// is not known yet. What waited for the neighbour leaves before anything else goes
// there: a blocking caller, who is not the one who sends that, waits until it has.
func (i *Interface) neighbour(addr, src ipv4.Addr, blocking bool) (*arp.Entry, link.MAC, uint32, unix.Errno) {
	now := i.s.clock.Now()
	i.neighMu.Lock()
	var e *arp.Entry
	var c arp.Cause
	if blocking {
		e, c = i.neigh.Resolve(now, addr, src)
	} else { // it answers what somebody sent to us
		e, c = i.neigh.ResolveAnswer(now, addr, src)
	}
	if e == nil {
		i.neighMu.Unlock()
		if c == arp.CauseTableFull {
			return nil, link.MAC{}, 0, unix.ENOBUFS
		}
		return nil, link.MAC{}, 0, unix.EHOSTUNREACH
	}
	posted := i.postEventsLocked()
	mac, ok := e.MAC()
	if ok && blocking && i.flushing > 0 {
		i.neighMu.Unlock()
		i.s.sendOutbox() // nobody may be at it yet
		posted = false
		i.neighMu.Lock()
		for i.flushing > 0 {
			i.flushed.Wait()
		}
		mac, ok = e.MAC()
	}
	version := uint32(0)
	if ok && i.flushing == 0 {
		version = e.Version()
	}
	deadline := i.neigh.Deadline()
	i.neighMu.Unlock()
	i.s.timers.Set(i.neighTimer, deadline)
	if posted {
		i.s.sendOutbox()
	}
	return e, mac, version, 0
}

// confirm takes it from the sender that a neighbour is reachable (MSG_CONFIRM).
func (i *Interface) confirm(addr ipv4.Addr) {
	i.neighMu.Lock()
	i.neigh.Confirm(i.s.clock.Now(), addr)
	deadline := i.neigh.Deadline()
	i.neighMu.Unlock()
	i.s.timers.Set(i.neighTimer, deadline)
}

// enqueue leaves a datagram with an unresolved neighbour. If the neighbour has
// been resolved meanwhile, it comes out at once and is sent, after those that
// were queued before.
func (i *Interface) enqueue(tx *txbuf, entry *arp.Entry, p arp.Pending) {
	i.neighMu.Lock()
	dropped, full := i.neigh.Enqueue(entry, p)
	i.postEventsLocked()
	deadline := i.neigh.Deadline()
	i.neighMu.Unlock()
	if full {
		tx.count[counter.DropNeighbourQueue].Add(1)
		uncharge(&dropped)
		i.s.pool.Put(dropped.Frame)
	}
	i.s.timers.Set(i.neighTimer, deadline)
	i.s.sendOutbox()
}

// settleOne acts on one event. No lock is held.
func (i *Interface) settleOne(tx *txbuf, ev *arp.Event) {
	s := i.s
	switch ev.Kind {
	case arp.Transmit:
		tx.count[counter.ARPOut].Add(1)
		i.sendFrame(tx, nil, s.arpFrame(i, ev.Dst, ev.Packet[:]), metadata{})
	case arp.Flush:
		own := i.dev.Info().HardwareAddr // it may have changed meanwhile
		copy(ev.Pending.Frame[:6], ev.MAC[:])
		copy(ev.Pending.Frame[6:12], own[:])
		uncharge(&ev.Pending)
		i.sendWaited(tx, &ev.Pending)
	case arp.Discard:
		tx.count[counter.DropNeighbourQueue].Add(1)
		s.pool.Put(ev.Pending.Frame)
	case arp.Purged:
		tx.count[counter.DropNeighbourFailed].Add(1)
		uncharge(&ev.Pending)
		s.pool.Put(ev.Pending.Frame)
	case arp.Unreachable:
		tx.count[counter.DropNeighbourFailed].Add(1)
		uncharge(&ev.Pending)
		if k := ownerOf(&ev.Pending); k != nil {
			k.kind.unanswered(unreachable(ev.Pending.Frame), ev.Pending.Frame[link.HeaderLen:])
		}
		s.pool.Put(ev.Pending.Frame)
	case arp.Conflict:
		tx.count[counter.ARPConflicts].Add(1)
		if !i.dev.Probes() || !i.probed(ev.Addr, false, ev.MAC) {
			i.tell(Event{Kind: AddressConflict, Addr: netip.AddrFrom4(ev.Addr), MAC: ev.MAC})
		}
	case arp.AddressReady:
		i.probed(ev.Addr, true, link.MAC{})
	case arp.Resolved, arp.ResolveFailed:
		i.tellSolicitors(ev.Addr, ev.Kind == arp.Resolved)
	case arp.NeighbourUp:
		i.gatewayChanged(ev.Addr, false)
		i.tell(Event{Kind: NeighbourUp, Addr: netip.AddrFrom4(ev.Addr), MAC: ev.MAC})
	case arp.NeighbourFailed:
		i.gatewayChanged(ev.Addr, true)
		i.tell(Event{Kind: NeighbourFailed, Addr: netip.AddrFrom4(ev.Addr)})
	}
}

// uncharge takes a frame off its socket's send buffer.
func uncharge(p *arp.Pending) {
	if k := ownerOf(p); k != nil {
		k.unchargeSend(len(p.Frame))
	}
}

// unreachable returns the error about a frame whose neighbour does not answer:
// Linux sends itself the ICMP message that a router would have sent.
func unreachable(frame []byte) QueuedError {
	e := QueuedError{Errno: unix.EHOSTUNREACH, Type: icmp.DestinationUnreachable, Code: icmp.CodeHost}
	h, payload, ok := ipv4.ParseQuoted(frame[link.HeaderLen:])
	if !ok {
		return e
	}
	e.Offender, e.Dst = h.Src(), h.Dst()
	if h.Protocol() == ipv4.ProtocolUDP && len(payload) >= udp.HeaderLen && h.FragmentOffset() == 0 {
		e.DstPort = udp.Header(payload).DstPort()
		payload = payload[udp.HeaderLen:]
	}
	e.Payload = payload
	return e
}

// An arpHost is what a neighbour table knows of the host: a configuration, which is
// never changed.
type arpHost struct {
	net   *route.Network
	index int32 // the interface's
}

// Local implements arp.Host.
func (h arpHost) Local(ip ipv4.Addr) bool { return h.net.Has(ip) }

// Source implements arp.Host.
func (h arpHost) Source(target ipv4.Addr) ipv4.Addr { return h.net.Source(target, h.index) }

// arpInput takes in an ARP packet.
func (l *lane) arpInput(i *Interface, f *link.Frame) {
	l.count[counter.ARPIn]++
	i.neighMu.Lock()
	defer i.neighMu.Unlock()
	h, payload, _ := ether.Parse(f.Data)
	i.neigh.InputTo(i.s.clock.Now(), payload, h.Source(), h.Destination())
	i.afterReceiveLocked(l)
}

// afterReceiveLocked leaves the table's events to a lane's flush after the batch,
// and sets the timer. The lane's lock and neighMu are held.
func (i *Interface) afterReceiveLocked(l *lane) {
	if i.postEventsLocked() {
		l.pending.posted = true
	}
	i.s.timers.Set(i.neighTimer, i.neigh.Deadline())
}

// neighTimers runs the table's timers. The first lane's lock is held.
func (i *Interface) neighTimers(now int64) {
	i.neighMu.Lock()
	defer i.neighMu.Unlock()
	i.neigh.Advance(now)
	i.afterReceiveLocked(&i.s.lanes.first)
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
		i.neighMu.Lock()
		for _, n := range i.neigh.Entries() {
			out = append(out, Neighbour{i.Name(), int(i.dev.Index), n})
		}
		i.neighMu.Unlock()
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
	i.neighMu.Lock()
	c := i.neigh.Set(i.s.clock.Now(), ip, mac, state)
	i.postEventsLocked()
	deadline := i.neigh.Deadline()
	i.neighMu.Unlock()
	i.s.timers.Set(i.neighTimer, deadline)
	i.s.sendOutbox()
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
	i.neighMu.Lock()
	found := i.neigh.Delete(ip)
	i.postEventsLocked()
	i.neighMu.Unlock()
	i.s.sendOutbox()
	if !found {
		return unix.ENOENT
	}
	return nil
}
