package stack

import (
	"net/netip"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"golang.org/x/sys/unix"
)

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
