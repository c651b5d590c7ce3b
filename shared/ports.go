package shared

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/inband/follow"
	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
)

// ports is who has a say in the ports of the stack: the kernel, by the sockets that hold
// them.
type ports struct {
	holders *holder.Holders
	claims  *claim.Claims
	holds   atomic.Int64 // how many there are

	own atomic.Pointer[map[ipv4.Addr]bool] // the host's addresses, broadcast addresses too
	ask func() (follow.Snapshot, unix.Errno)

	mu sync.Mutex
	at map[uint16]*portHolds // by port, which has at least one
}

// setOwn says which addresses the host has, and which broadcast addresses.
func (p *ports) setOwn(addresses ...[][4]byte) {
	all := map[ipv4.Addr]bool{{255, 255, 255, 255}: true}
	for _, some := range addresses {
		for _, a := range some {
			all[a] = true
		}
	}
	p.own.Store(&all)
}

// byRoute reports whether an address is not the host's, but that of a socket of the host's all
// the same: what comes for it is for the host by a route only, of which the stack does not
// know.
func (p *ports) byRoute(a ipv4.Addr) bool {
	own := p.own.Load()
	if a == (ipv4.Addr{}) || a.IsMulticast() || a.IsLoopback() || own == nil || (*own)[a] {
		return false
	}
	now, e := p.ask() // it may be new
	return e != 0 || !slices.ContainsFunc(now.Addresses, func(h follow.Address) bool { return h.Prefix.Addr().As4() == a })
}

// portHolds are the holds of a port. Once others may have it too, by what one of the stack's
// sockets asks for, all are shared until the last is gone: only the kernel knows then
// which of all sockets is the best for a datagram.
type portHolds struct {
	holds  map[*portHold]bool
	shared bool
}

var _ stack.PortHolder = (*ports)(nil)

// HoldPort implements [stack.PortHolder]. The holder comes first, and the claim when it is
// there: until then the kernel has what comes, and the holder's filter drops it.
func (p *ports) HoldPort(r stack.PortRequest) (stack.PortHold, unix.Errno) {
	if r.Protocol == ipv4.ProtocolICMP {
		release, err := p.claims.AddIdent(r.Port)
		if err != nil {
			return nil, errnoOf(err)
		}
		return &identHold{release: release}, 0
	}
	ask := holder.Request{Local: r.Addr, Port: r.Port, Device: r.Device, ReuseAddr: r.ReuseAddr, ReusePort: r.ReusePort,
		FreeBind: r.FreeBind, Transparent: r.Transparent, Adopt: r.Adopt, Adopts: r.Adopts}
	if r.Chosen {
		ask.Port, ask.PortLow, ask.PortHigh = 0, r.Low, r.High
	}
	h, e := p.holders.Hold(ask)
	if e != 0 {
		return nil, e
	}
	held := &portHold{ports: p, hold: h, port: h.Port(), addr: r.Addr, device: r.Device}
	if e := p.enter(held, r.ReuseAddr || r.ReusePort || p.byRoute(r.Addr)); e != 0 {
		h.Close()
		return nil, e
	}
	return held, 0
}

// enter claims what a new hold would get.
func (p *ports) enter(h *portHold, shared bool) unix.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = map[uint16]*portHolds{}
	}
	at := p.at[h.port]
	if at == nil {
		at = &portHolds{holds: map[*portHold]bool{}}
	}
	if shared || at.shared {
		if e := h.shareLocked(); e != 0 {
			return e
		}
	}
	entry, err := p.claims.Add(h.claimLocked())
	if err != nil {
		return errnoOf(err)
	}
	h.entry = entry
	at.holds[h] = true
	p.at[h.port] = at
	p.holds.Add(1)
	if !shared {
		return 0
	}
	e := at.shareLocked()
	if e != 0 {
		p.leaveLocked(h)
	}
	return e
}

// shareLocked takes in that others may have a port too. What is on its way while that changes,
// since a socket's options do, may be lost or come twice.
func (at *portHolds) shareLocked() (e unix.Errno) {
	if at.shared {
		return 0
	}
	at.shared = true
	for h := range at.holds {
		e = cmp.Or(e, h.shareLocked())
	}
	return e
}

// share has all holds of a hold's port be shared.
func (p *ports) share(h *portHold) unix.Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at[h.port].shareLocked()
}

// leave takes a hold's claim away.
func (p *ports) leave(h *portHold) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked(h)
}

func (p *ports) leaveLocked(h *portHold) {
	h.entry.Close()
	at := p.at[h.port]
	if delete(at.holds, h); len(at.holds) == 0 {
		delete(p.at, h.port)
	}
	p.holds.Add(-1)
}

// A portHold is a port of a socket's: what holds it, and what is claimed for it.
type portHold struct {
	ports *ports
	hold  *holder.Hold
	port  uint16

	// What follows is guarded by ports.mu.
	entry    *claim.Entry
	shared   bool
	notify   func()    // nil: not asked for yet
	addr     ipv4.Addr // bound to
	device   int32
	local    ipv4.Addr // while connected
	peer     ipv4.Addr
	peerPort uint16
}

var _ stack.PortHold = (*portHold)(nil)

// claimLocked returns what the socket would get.
func (h *portHold) claimLocked() claim.Claim {
	c := claim.Claim{Local: h.addr, Port: h.port, Device: int(h.device), Shared: h.shared}
	if h.peerPort != 0 {
		c.Local, c.Peer, c.PeerPort = h.local, h.peer, h.peerPort
	}
	return c
}

// change changes something, and has the claim be what the socket would get now. wider says that
// it may have what others have bound since, so that the port is theirs too.
func (h *portHold) change(what func(), wider bool) unix.Errno {
	if wider {
		if e := h.ports.share(h); e != 0 {
			return e
		}
	}
	h.ports.mu.Lock()
	defer h.ports.mu.Unlock()
	what()
	return errnoOf(h.entry.Replace(h.claimLocked()))
}

// shareLocked takes in that others may have the port too: the in-band socket is first to take
// what the ring is to leave, and the stack last to leave what it has.
func (h *portHold) shareLocked() unix.Errno {
	if h.shared {
		return 0
	}
	if e := h.hold.Share(); e != 0 {
		return e
	}
	h.shared = true
	if h.entry != nil {
		if err := h.entry.Replace(h.claimLocked()); err != nil {
			return errnoOf(err)
		}
	}
	if h.notify != nil {
		h.notify()
	}
	return 0
}

// NotifyShared implements [stack.PortHold].
func (h *portHold) NotifyShared(shared func()) {
	h.ports.mu.Lock()
	defer h.ports.mu.Unlock()
	h.notify = shared
	if h.shared {
		shared()
	}
}

// Port implements [stack.PortHold].
func (h *portHold) Port() uint16 { return h.port }

// FD is for stack.UDPSocket.HolderFD.
func (h *portHold) FD() int { return h.hold.FD() }

// Number implements [stack.PortHold].
func (h *portHold) Number() uint32 { return h.hold.ID() }

// Connect implements [stack.PortHold].
func (h *portHold) Connect(p stack.PortPeer) (ipv4.Addr, unix.Errno) {
	to := holder.Peer{Addr: p.Addr, Port: p.Port, Broadcast: p.Broadcast, DontRoute: p.DontRoute, TOS: p.TOS, Mark: p.Mark, MTUDiscover: p.MTUDiscover}
	device := p.Device
	if device == h.device { // to which the holder is bound already
		device = 0
	}
	if p.Addr.IsMulticast() {
		to.MulticastDevice, to.MulticastLocal = device, p.Source
	} else {
		to.UnicastDevice = device
	}
	local, e := h.hold.Connect(to)
	if e != 0 {
		return ipv4.Addr{}, e
	}
	return local, h.change(func() { h.local, h.peer, h.peerPort = local, p.Addr, p.Port }, false)
}

// Disconnect implements [stack.PortHold]. Should the port be gone meanwhile, the socket
// gets nothing any more, as one whose address has gone. While it was connected, others may
// have bound what it was not at: another address, another device.
func (h *portHold) Disconnect() {
	if h.hold.Disconnect() == 0 {
		wider := h.addr == ipv4.Addr{} || h.device != 0
		h.change(func() { h.peer, h.peerPort, h.device = ipv4.Addr{}, 0, 0 }, wider)
	}
}

// SetDevice implements [stack.PortHold].
func (h *portHold) SetDevice(index int32) unix.Errno {
	if e := h.hold.SetDevice(index); e != 0 {
		return e
	}
	return h.change(func() { h.device = index }, h.device != 0 && h.device != index)
}

// SetReuse implements [stack.PortHold].
func (h *portHold) SetReuse(addr, port bool) {
	if h.hold.SetReuse(addr, port) == 0 && (addr || port) {
		h.ports.share(h)
	}
}

// Release implements [stack.PortHold]: the claim goes first, so that nothing is dropped for
// a socket that is not there.
func (h *portHold) Release() {
	h.ports.leave(h)
	h.hold.Close()
}

// An identHold is the ident of a ping socket: the kernel does not hold it, and what is
// claimed is that the ring takes the replies.
type identHold struct{ release func() }

var _ stack.PortHold = (*identHold)(nil)

func (h *identHold) Number() uint32                                         { return 0 }
func (h *identHold) Port() uint16                                           { return 0 }
func (h *identHold) Connect(stack.PortPeer) (local ipv4.Addr, e unix.Errno) { return local, 0 }
func (h *identHold) Disconnect()                                            {}
func (h *identHold) SetDevice(int32) unix.Errno                             { return 0 }
func (h *identHold) SetReuse(bool, bool)                                    {}
func (h *identHold) NotifyShared(func())                                    {}
func (h *identHold) Release()                                               { h.release() }
