package shared

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/inband/follow"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
)

// An address is one of the kernel's, and the interface of the stack that has it: the one
// of its device, or lo's where there are too many.
type address struct {
	device int32
	prefix netip.Prefix
}

// loIndex is the index of the loopback device, in every network namespace.
const loIndex = 1

// changed takes in what devices and addresses the kernel has.
func (h *Host) changed(s follow.Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.followLocked(s); err != nil {
		h.log(slog.LevelError, "a device has no ring", "error", err)
	}
	h.addressesLocked(s)
}

// addressesLocked gives the stack the kernel's addresses. It has each before the rings take
// what is for it, and until they do not any more: what a ring took before or after would be
// lost.
func (h *Host) addressesLocked(s follow.Snapshot) {
	want := make(map[address]bool, len(s.Addresses))
	var own, broadcasts [][4]byte
	for _, a := range s.Addresses {
		ip := ipv4.Addr(a.Prefix.Addr().As4())
		own = append(own, ip)
		if a.Broadcast != ([4]byte{}) {
			broadcasts = append(broadcasts, a.Broadcast)
		}
		if at := (address{h.homeLocked(a.Device), a.Prefix}); !ip.IsLoopback() {
			want[at] = true
		}
	}
	for a := range want {
		if !h.addresses[a] {
			h.addLocked(a)
		}
	}
	h.ports.setOwn(own, broadcasts)
	if err := h.claims.SetLocal(own, broadcasts); err != nil {
		h.log(slog.LevelError, "datagrams to new addresses come in-band", "error", err)
	}
	if err := h.holders.SetAddresses(without(own, nil), without(broadcasts, own)); err != nil {
		h.log(slog.LevelError, "what is for the host by a route only is lost", "error", err)
	}
	for a := range h.addresses {
		if !want[a] {
			delete(h.addresses, a)
			if i := h.st.InterfaceByIndex(int(a.device)); i != nil {
				i.RemoveAddress(a.prefix) // it is there
			}
		}
	}
}

// without returns those of some addresses that are not among others, each once, in order.
func without(some, others [][4]byte) (rest [][4]byte) {
	not := make(map[[4]byte]bool, len(some)+len(others))
	for _, a := range others {
		not[a] = true
	}
	for _, a := range some {
		if !not[a] {
			not[a] = true
			rest = append(rest, a)
		}
	}
	slices.SortFunc(rest, func(a, b [4]byte) int { return bytes.Compare(a[:], b[:]) })
	return rest
}

// homeLocked returns the interface of the stack that has a device's addresses.
func (h *Host) homeLocked(device int32) int32 {
	if h.ringless[device] != nil || !h.homeless(device) {
		return device
	}
	return loIndex
}

// addLocked gives the stack an address.
func (h *Host) addLocked(a address) {
	i := h.st.InterfaceByIndex(int(a.device))
	if i == nil {
		return // gone: the next event says so
	}
	if err := i.AddAddress(a.prefix); err != nil {
		h.log(slog.LevelError, "the stack has not got an address of the kernel's", "address", a.prefix, "error", err)
		return
	}
	h.addresses[a] = true
}

// routesMoved has all paths asked for anew.
func (h *Host) routesMoved() {
	h.routes.forget()
	h.st.RoutesChanged()
	h.toldOnce.Do(func() { close(h.told) })
}

// A neighbour is one of a device's.
type neighbour struct {
	device int32
	addr   ipv4.Addr
}

// neighbours takes in all of the kernel's neighbours: what it knows is where the stack
// begins, and what the administrator has set is always followed.
func (h *Host) neighbours(all []follow.Neighbour) {
	h.mu.Lock()
	defer h.mu.Unlock()
	gone := make(map[neighbour]bool, len(h.permanent))
	for n := range h.permanent {
		gone[n] = true
	}
	for _, n := range all {
		delete(gone, neighbour{n.Device, n.Addr})
		h.neighbourLocked(n)
	}
	for n := range gone {
		h.forgetLocked(n)
	}
}

// neighbourChanged takes in what the administrator has done to a neighbour.
func (h *Host) neighbourChanged(n follow.Neighbour, gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if gone {
		h.forgetLocked(neighbour{n.Device, n.Addr})
		return
	}
	h.neighbourLocked(n)
}

// neighbourLocked enters a neighbour as the kernel has it.
func (h *Host) neighbourLocked(n follow.Neighbour) {
	i := h.st.InterfaceByIndex(int(n.Device))
	if i == nil || i.Index() == loIndex || !n.State.Known() {
		return
	}
	addr, state := netip.AddrFrom4(n.Addr), arp.Stale
	switch {
	case n.State.Permanent():
		state = arp.Permanent
		h.permanent[neighbour{n.Device, n.Addr}] = true
	case h.known(i, n.Addr):
		return // the stack's own knowledge is as good
	}
	if err := i.SetNeighbour(addr, n.MAC, state); err != nil {
		h.log(slog.LevelError, "a neighbour of the kernel's is not in the stack's table", "address", addr, "error", err)
	}
}

// known reports whether the stack has a hardware address of a neighbour.
func (h *Host) known(i *stack.Interface, addr ipv4.Addr) bool {
	for _, n := range h.st.Neighbours() {
		if n.Index == i.Index() && n.Addr == addr {
			return n.State != arp.Incomplete && n.State != arp.Failed
		}
	}
	return false
}

// forgetLocked takes out a neighbour that the administrator has deleted.
func (h *Host) forgetLocked(n neighbour) {
	delete(h.permanent, n)
	if i := h.st.InterfaceByIndex(int(n.device)); i != nil {
		i.DeleteNeighbour(netip.AddrFrom4(n.addr)) // it may not have it
	}
}
