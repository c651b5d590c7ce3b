package stack

import (
	"sync"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// neighbours are a device's neighbour table, and what leaves because of it.
type neighbours struct {
	dev   *device
	timer *drive.Timer

	// mu guards the table, and how many datagrams that waited for a neighbour are in the
	// outbox.
	mu       sync.Mutex
	table    *arp.Table
	flushing int
	flushed  sync.Cond // flushing is 0 again
}

func (n *neighbours) init(d *device, cfg arp.Config) {
	n.dev = d
	n.table = arp.New(cfg, d.Info().HardwareAddr, d.t.random)
	n.timer = drive.NewTimer(n.runTimers)
	n.flushed.L = &n.mu
}

// change changes the table, and sends what comes out of that.
func (n *neighbours) change(f func(table *arp.Table, now int64)) {
	t := n.dev.t
	n.mu.Lock()
	f(n.table, t.clock.Now())
	n.postEventsLocked()
	deadline := n.table.Deadline()
	n.mu.Unlock()
	t.timers.Set(n.timer, deadline)
	t.sendOutbox()
}

// find asks the table for the hardware address of addr. version is 0 if it
// is not known yet. What waited for the neighbour leaves before anything else goes
// there: a blocking caller, who is not the one who sends that, waits until it has.
func (n *neighbours) find(addr, src ipv4.Addr, blocking bool) (*arp.Entry, link.MAC, uint32, unix.Errno) {
	t := n.dev.t
	now := t.clock.Now()
	n.mu.Lock()
	var e *arp.Entry
	var c arp.Cause
	if blocking {
		e, c = n.table.Resolve(now, addr, src)
	} else { // it answers what somebody sent to us
		e, c = n.table.ResolveAnswer(now, addr, src)
	}
	if e == nil {
		n.mu.Unlock()
		if c == arp.CauseTableFull {
			return nil, link.MAC{}, 0, unix.ENOBUFS
		}
		return nil, link.MAC{}, 0, unix.EHOSTUNREACH
	}
	posted := n.postEventsLocked()
	mac, ok := e.MAC()
	if ok && blocking && n.flushing > 0 {
		n.mu.Unlock()
		t.sendOutbox() // nobody may be at it yet
		posted = false
		n.mu.Lock()
		for n.flushing > 0 {
			n.flushed.Wait()
		}
		mac, ok = e.MAC()
	}
	version := uint32(0)
	if ok && n.flushing == 0 {
		version = e.Version()
	}
	deadline := n.table.Deadline()
	n.mu.Unlock()
	t.timers.Set(n.timer, deadline)
	if posted {
		t.sendOutbox()
	}
	return e, mac, version, 0
}

// linkChanged takes in what the device's link is like now. What comes out of that is for
// whoever sends the outbox then.
func (n *neighbours) linkChanged(old, now *link.Info) {
	n.mu.Lock()
	if now.HardwareAddr != old.HardwareAddr {
		n.table.SetHardwareAddr(now.HardwareAddr)
	}
	switch {
	case now.State == link.Up && old.State != link.Up:
		n.table.LinkUp(n.dev.t.clock.Now())
	case now.State != link.Up && old.State == link.Up:
		n.table.LinkDown()
	}
	n.postEventsLocked()
	deadline := n.table.Deadline()
	n.mu.Unlock()
	n.dev.t.timers.Set(n.timer, deadline)
}

// end takes all out of the table that waits for neighbours, which are not asked for any
// more. It is for whoever sends the outbox then.
func (n *neighbours) end() {
	n.mu.Lock()
	n.table.LinkDown()
	n.postEventsLocked()
	n.mu.Unlock()
	n.dev.t.timers.Set(n.timer, never)
}

// confirm takes it from the sender that a neighbour is reachable (MSG_CONFIRM).
func (n *neighbours) confirm(addr ipv4.Addr) {
	n.mu.Lock()
	n.table.Confirm(n.dev.t.clock.Now(), addr)
	deadline := n.table.Deadline()
	n.mu.Unlock()
	n.dev.t.timers.Set(n.timer, deadline)
}

// enqueue leaves a datagram with an unresolved neighbour. If the neighbour has
// been resolved meanwhile, it comes out at once and is sent, after those that
// were queued before.
func (n *neighbours) enqueue(tx *txbuf, entry *arp.Entry, p arp.Pending) {
	t := n.dev.t
	n.mu.Lock()
	dropped, full := n.table.Enqueue(entry, p)
	n.postEventsLocked()
	deadline := n.table.Deadline()
	n.mu.Unlock()
	if full {
		tx.count[counter.DropNeighbourQueue].Add(1)
		uncharge(&dropped)
		t.pool.Put(dropped.Frame)
	}
	t.timers.Set(n.timer, deadline)
	t.sendOutbox()
}

// postEventsLocked moves what came out of the table to the outbox, and reports whether
// there was anything. mu is held: it keeps the events in order.
func (n *neighbours) postEventsLocked() bool {
	ev, ok := n.table.Next()
	if !ok {
		return false
	}
	o := &n.dev.t.outbox
	o.mu.Lock()
	for ; ok; ev, ok = n.table.Next() {
		if ev.Kind == arp.Flush {
			n.flushing++
		}
		o.events = append(o.events, neighbourEvent{n, ev})
	}
	o.waiting.Store(true)
	o.mu.Unlock()
	return true
}

// settle acts on one event. No lock is held.
func (n *neighbours) settle(tx *txbuf, ev *arp.Event) {
	d, t := n.dev, n.dev.t
	switch ev.Kind {
	case arp.Transmit:
		tx.count[counter.ARPOut].Add(1)
		d.sendFrame(tx, nil, d.arpFrame(ev.Dst, ev.Packet[:]), metadata{})
	case arp.Flush:
		own := d.Info().HardwareAddr // it may have changed meanwhile
		copy(ev.Pending.Frame[:6], ev.MAC[:])
		copy(ev.Pending.Frame[6:12], own[:])
		uncharge(&ev.Pending)
		d.sendWaited(tx, &ev.Pending)
	case arp.Discard:
		tx.count[counter.DropNeighbourQueue].Add(1)
		t.pool.Put(ev.Pending.Frame)
	case arp.Purged:
		tx.count[counter.DropNeighbourFailed].Add(1)
		uncharge(&ev.Pending)
		t.pool.Put(ev.Pending.Frame)
	case arp.Unreachable:
		tx.count[counter.DropNeighbourFailed].Add(1)
		uncharge(&ev.Pending)
		if k := ownerOf(&ev.Pending); k != nil {
			k.kind.unanswered(unreachable(ev.Pending.Frame), ev.Pending.Frame[link.HeaderLen:])
		}
		t.pool.Put(ev.Pending.Frame)
	case arp.Conflict:
		tx.count[counter.ARPConflicts].Add(1)
		d.host.neighbourChanged(ev)
	default:
		d.host.neighbourChanged(ev)
	}
}

// settled takes in that an event has been acted on.
func (n *neighbours) settled(ev *arp.Event) {
	if ev.Kind != arp.Flush {
		return
	}
	n.mu.Lock()
	if n.flushing--; n.flushing == 0 {
		n.flushed.Broadcast()
	}
	n.mu.Unlock()
}

// arpFrame returns the Ethernet frame of an ARP packet, in the pool's memory.
func (d *device) arpFrame(dst link.MAC, packet []byte) []byte {
	b := d.t.pool.Get(link.HeaderLen + len(packet))
	ether.Put(b, dst, d.Info().HardwareAddr, ether.TypeARP)
	copy(b[link.HeaderLen:], packet)
	return b
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
	index int32 // the device's
}

// Local implements arp.Host.
func (h arpHost) Local(ip ipv4.Addr) bool { return h.net.Has(ip) }

// Source implements arp.Host.
func (h arpHost) Source(target ipv4.Addr) ipv4.Addr { return h.net.Source(target, h.index) }

// configure has the table know a configuration from now on, and report neighbours or not.
func (n *neighbours) configure(net *route.Network, report bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.table.SetHost(arpHost{net, n.dev.Index})
	n.table.SetReport(report)
}

// setReport has the table report neighbours that come and go, or not.
func (n *neighbours) setReport(report bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.table.SetReport(report)
}

// input takes in an ARP packet, and reports whether something is in the outbox now: what
// comes out of it leaves once the lane's lock is released, which is held.
func (n *neighbours) input(frame []byte) (posted bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, payload, _ := ether.Parse(frame)
	n.table.InputTo(n.dev.t.clock.Now(), payload, h.Source(), h.Destination())
	return n.afterReceiveLocked()
}

// afterReceiveLocked leaves the table's events to a lane's flush after the batch,
// and sets the timer. A lane's lock and mu are held.
func (n *neighbours) afterReceiveLocked() (posted bool) {
	posted = n.postEventsLocked()
	n.dev.t.timers.Set(n.timer, n.table.Deadline())
	return posted
}

// runTimers runs the table's timers. The first lane's lock is held.
func (n *neighbours) runTimers(now int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.table.Advance(now)
	if n.afterReceiveLocked() {
		n.dev.t.host.posted()
	}
}

// askFor asks for a neighbour, and reports whether it is known to be there. The first
// lane's lock is held.
func (n *neighbours) askFor(now int64, addr, src ipv4.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.table.Solicit(now, addr, src)
	if n.afterReceiveLocked() {
		n.dev.t.host.posted()
	}
	return e != nil && e.State() == arp.Reachable
}

// solicit asks for a neighbour at once. It returns false if the table is full.
func (n *neighbours) solicit(addr, src ipv4.Addr) (ok bool) {
	n.change(func(table *arp.Table, now int64) { ok = table.Solicit(now, addr, src) != nil })
	return ok
}

// entries returns what the table has.
func (n *neighbours) entries() []arp.Neighbour {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.table.Entries()
}

// stats returns the table's counters.
func (n *neighbours) stats() arp.Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.table.Stats()
}

// mac returns a neighbour's hardware address, if it is known.
func (n *neighbours) mac(addr ipv4.Addr) (mac link.MAC, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.table.Lookup(addr); e != nil {
		return e.MAC()
	}
	return mac, false
}
