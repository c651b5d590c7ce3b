package output

import (
	"sync"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// Neighbours are a device's neighbour table, and what leaves because of it.
type Neighbours struct {
	dev   *Device
	timer *drive.Timer

	// Mu guards the table, and how many datagrams that waited for a neighbour are in the
	// outbox.
	Mu       sync.Mutex
	Table    *arp.Table
	Flushing int
	flushed  sync.Cond // flushing is 0 again
}

func (n *Neighbours) init(d *Device, cfg arp.Config) {
	n.dev = d
	n.Table = arp.New(cfg, d.Info().HardwareAddr, d.t.Random)
	n.timer = drive.NewTimer(n.runTimers)
	n.flushed.L = &n.Mu
}

// Change changes the table, and sends what comes out of that.
func (n *Neighbours) Change(f func(table *arp.Table, now int64)) {
	t := n.dev.t
	n.Mu.Lock()
	f(n.Table, t.Clock.Now())
	n.postEventsLocked()
	deadline := n.Table.Deadline()
	n.Mu.Unlock()
	t.Timers.Set(n.timer, deadline)
	t.SendOutbox()
}

// Find asks the table for the hardware address of addr. version is 0 if it
// is not known yet. What waited for the neighbour leaves before anything else goes
// there: a blocking caller, who is not the one who sends that, waits until it has.
func (n *Neighbours) Find(addr, src ipv4.Addr, blocking bool) (*arp.Entry, link.MAC, uint32, unix.Errno) {
	t := n.dev.t
	now := t.Clock.Now()
	n.Mu.Lock()
	var e *arp.Entry
	var c arp.Cause
	if blocking {
		e, c = n.Table.Resolve(now, addr, src)
	} else { // it answers what somebody sent to us
		e, c = n.Table.ResolveAnswer(now, addr, src)
	}
	if e == nil {
		n.Mu.Unlock()
		if c == arp.CauseTableFull {
			return nil, link.MAC{}, 0, unix.ENOBUFS
		}
		return nil, link.MAC{}, 0, unix.EHOSTUNREACH
	}
	posted := n.postEventsLocked()
	mac, ok := e.MAC()
	if ok && blocking && n.Flushing > 0 {
		n.Mu.Unlock()
		t.SendOutbox() // nobody may be at it yet
		posted = false
		n.Mu.Lock()
		for n.Flushing > 0 {
			n.flushed.Wait()
		}
		mac, ok = e.MAC()
	}
	version := uint32(0)
	if ok && n.Flushing == 0 {
		version = e.Version()
	}
	deadline := n.Table.Deadline()
	n.Mu.Unlock()
	t.Timers.Set(n.timer, deadline)
	if posted {
		t.SendOutbox()
	}
	return e, mac, version, 0
}

// LinkChanged takes in what the device's link is like now. What comes out of that is for
// whoever sends the outbox then.
func (n *Neighbours) LinkChanged(old, now *link.Info) {
	n.Mu.Lock()
	if now.HardwareAddr != old.HardwareAddr {
		n.Table.SetHardwareAddr(now.HardwareAddr)
	}
	switch {
	case now.State == link.Up && old.State != link.Up:
		n.Table.LinkUp(n.dev.t.Clock.Now())
	case now.State != link.Up && old.State == link.Up:
		n.Table.LinkDown()
	}
	n.postEventsLocked()
	deadline := n.Table.Deadline()
	n.Mu.Unlock()
	n.dev.t.Timers.Set(n.timer, deadline)
}

// End takes all out of the table that waits for neighbours, which are not asked for any
// more. It is for whoever sends the outbox then.
func (n *Neighbours) End() {
	n.Mu.Lock()
	n.Table.LinkDown()
	n.postEventsLocked()
	n.Mu.Unlock()
	n.dev.t.Timers.Set(n.timer, drive.Never)
}

// Confirm takes it from the sender that a neighbour is reachable (MSG_CONFIRM).
func (n *Neighbours) Confirm(addr ipv4.Addr) {
	n.Mu.Lock()
	n.Table.Confirm(n.dev.t.Clock.Now(), addr)
	deadline := n.Table.Deadline()
	n.Mu.Unlock()
	n.dev.t.Timers.Set(n.timer, deadline)
}

// enqueue leaves a datagram with an unresolved neighbour. If the neighbour has
// been resolved meanwhile, it comes out at once and is sent, after those that
// were queued before.
func (n *Neighbours) enqueue(tx *Buffer, entry *arp.Entry, p arp.Pending) {
	t := n.dev.t
	n.Mu.Lock()
	dropped, full := n.Table.Enqueue(entry, p)
	n.postEventsLocked()
	deadline := n.Table.Deadline()
	n.Mu.Unlock()
	if full {
		tx.Count[counter.DropNeighbourQueue].Add(1)
		uncharge(&dropped)
		t.Pool.Put(dropped.Frame)
	}
	t.Timers.Set(n.timer, deadline)
	t.SendOutbox()
}

// postEventsLocked moves what came out of the table to the outbox, and reports whether
// there was anything. mu is held: it keeps the events in order.
func (n *Neighbours) postEventsLocked() bool {
	ev, ok := n.Table.Next()
	if !ok {
		return false
	}
	o := &n.dev.t.Outbox
	o.Mu.Lock()
	for ; ok; ev, ok = n.Table.Next() {
		if ev.Kind == arp.Flush {
			n.Flushing++
		}
		o.Events = append(o.Events, NeighbourEvent{n, ev})
	}
	o.Waiting.Store(true)
	o.Mu.Unlock()
	return true
}

// settle acts on one event. No lock is held.
func (n *Neighbours) settle(tx *Buffer, ev *arp.Event) {
	d, t := n.dev, n.dev.t
	switch ev.Kind {
	case arp.Transmit:
		tx.Count[counter.ARPOut].Add(1)
		d.sendFrame(tx, nil, d.arpFrame(ev.Dst, ev.Packet[:]), Metadata{})
	case arp.Flush:
		own := d.Info().HardwareAddr // it may have changed meanwhile
		copy(ev.Pending.Frame[:6], ev.MAC[:])
		copy(ev.Pending.Frame[6:12], own[:])
		uncharge(&ev.Pending)
		d.sendWaited(tx, &ev.Pending)
	case arp.Discard:
		tx.Count[counter.DropNeighbourQueue].Add(1)
		t.Pool.Put(ev.Pending.Frame)
	case arp.Purged:
		tx.Count[counter.DropNeighbourFailed].Add(1)
		uncharge(&ev.Pending)
		t.Pool.Put(ev.Pending.Frame)
	case arp.Unreachable:
		tx.Count[counter.DropNeighbourFailed].Add(1)
		uncharge(&ev.Pending)
		if k := ownerOf(&ev.Pending); k != nil {
			k.host.NoAnswer(unreachable(ev.Pending.Frame), ev.Pending.Frame[link.HeaderLen:])
		}
		t.Pool.Put(ev.Pending.Frame)
	case arp.Conflict:
		tx.Count[counter.ARPConflicts].Add(1)
		d.Host.NeighbourChanged(ev)
	default:
		d.Host.NeighbourChanged(ev)
	}
}

// settled takes in that an event has been acted on.
func (n *Neighbours) settled(ev *arp.Event) {
	if ev.Kind != arp.Flush {
		return
	}
	n.Mu.Lock()
	if n.Flushing--; n.Flushing == 0 {
		n.flushed.Broadcast()
	}
	n.Mu.Unlock()
}

// arpFrame returns the Ethernet frame of an ARP packet, in the pool's memory.
func (d *Device) arpFrame(dst link.MAC, packet []byte) []byte {
	b := d.t.Pool.Get(link.HeaderLen + len(packet))
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
func unreachable(frame []byte) queue.QueuedError {
	e := queue.QueuedError{Errno: unix.EHOSTUNREACH, Type: icmp.DestinationUnreachable, Code: icmp.CodeHost}
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

// Configure has the table know a configuration from now on, and report neighbours or not.
func (n *Neighbours) Configure(net *route.Network, report bool) {
	n.Mu.Lock()
	defer n.Mu.Unlock()
	n.Table.SetHost(arpHost{net, n.dev.Index})
	n.Table.SetReport(report)
}

// SetReport has the table report neighbours that come and go, or not.
func (n *Neighbours) SetReport(report bool) {
	n.Mu.Lock()
	defer n.Mu.Unlock()
	n.Table.SetReport(report)
}

// Input takes in an ARP packet, and reports whether something is in the outbox now: what
// comes out of it leaves once the lane's lock is released, which is held.
func (n *Neighbours) Input(frame []byte) (posted bool) {
	n.Mu.Lock()
	defer n.Mu.Unlock()
	h, payload, _ := ether.Parse(frame)
	n.Table.InputTo(n.dev.t.Clock.Now(), payload, h.Source(), h.Destination())
	return n.afterReceiveLocked()
}

// afterReceiveLocked leaves the table's events to a lane's flush after the batch,
// and sets the timer. A lane's lock and mu are held.
func (n *Neighbours) afterReceiveLocked() (posted bool) {
	posted = n.postEventsLocked()
	n.dev.t.Timers.Set(n.timer, n.Table.Deadline())
	return posted
}

// runTimers runs the table's timers. The first lane's lock is held.
func (n *Neighbours) runTimers(now int64) {
	n.Mu.Lock()
	defer n.Mu.Unlock()
	n.Table.Advance(now)
	if n.afterReceiveLocked() {
		n.dev.t.Host.Posted()
	}
}

// AskFor asks for a neighbour, and reports whether it is known to be there. The first
// lane's lock is held.
func (n *Neighbours) AskFor(now int64, addr, src ipv4.Addr) bool {
	n.Mu.Lock()
	defer n.Mu.Unlock()
	e := n.Table.Solicit(now, addr, src)
	if n.afterReceiveLocked() {
		n.dev.t.Host.Posted()
	}
	return e != nil && e.State() == arp.Reachable
}

// Solicit asks for a neighbour at once. It returns false if the table is full.
func (n *Neighbours) Solicit(addr, src ipv4.Addr) (ok bool) {
	n.Change(func(table *arp.Table, now int64) { ok = table.Solicit(now, addr, src) != nil })
	return ok
}

// Entries returns what the table has.
func (n *Neighbours) Entries() []arp.Neighbour {
	n.Mu.Lock()
	defer n.Mu.Unlock()
	return n.Table.Entries()
}

// Stats returns the table's counters.
func (n *Neighbours) Stats() arp.Stats {
	n.Mu.Lock()
	defer n.Mu.Unlock()
	return n.Table.Stats()
}

// Mac returns a neighbour's hardware address, if it is known.
func (n *Neighbours) Mac(addr ipv4.Addr) (mac link.MAC, ok bool) {
	n.Mu.Lock()
	defer n.Mu.Unlock()
	if e := n.Table.Lookup(addr); e != nil {
		return e.MAC()
	}
	return mac, false
}
