package shared

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
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
		FreeBind: r.FreeBind, Transparent: r.Transparent}
	if r.Chosen {
		ask.Port, ask.PortLow, ask.PortHigh = 0, r.Low, r.High
	}
	h, e := p.holders.Hold(ask)
	if e != 0 {
		return nil, e
	}
	held := &portHold{ports: p, hold: h, addr: r.Addr, device: r.Device, alone: !r.ReuseAddr && !r.ReusePort}
	entry, err := p.claims.Add(held.claim())
	if err != nil {
		h.Close()
		return nil, errnoOf(err)
	}
	held.entry = entry
	p.holds.Add(1)
	return held, 0
}

// A portHold is a port of a socket's: what holds it, and what is claimed for it.
type portHold struct {
	ports  *ports
	hold   *holder.Hold
	entry  *claim.Entry
	addr   ipv4.Addr // bound to
	device int32
	alone  bool

	local    ipv4.Addr // while connected
	peer     ipv4.Addr
	peerPort uint16
}

var _ stack.PortHold = (*portHold)(nil)

// claim returns what the socket would get.
func (h *portHold) claim() claim.Claim {
	c := claim.Claim{Local: h.addr, Port: h.hold.Port(), Device: int(h.device), Alone: h.alone}
	if h.peerPort != 0 {
		c.Local, c.Peer, c.PeerPort = h.local, h.peer, h.peerPort
	}
	return c
}

// change has the claim be what the socket would get now.
func (h *portHold) change() unix.Errno { return errnoOf(h.entry.Replace(h.claim())) }

// Port implements [stack.PortHold].
func (h *portHold) Port() uint16 { return h.hold.Port() }

// FD is for stack.UDPSocket.HolderFD.
func (h *portHold) FD() int { return h.hold.FD() }

// Number implements [stack.PortHold].
func (h *portHold) Number() uint32 { return h.hold.ID() }

// Connect implements [stack.PortHold].
func (h *portHold) Connect(p stack.PortPeer) (ipv4.Addr, unix.Errno) {
	to := holder.Peer{Addr: p.Addr, Port: p.Port, Broadcast: p.Broadcast, DontRoute: p.DontRoute, TOS: p.TOS, Mark: p.Mark}
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
	h.local, h.peer, h.peerPort = local, p.Addr, p.Port
	return local, h.change()
}

// Disconnect implements [stack.PortHold]. Should the port be gone meanwhile, the socket
// gets nothing any more, as one whose address has gone.
func (h *portHold) Disconnect() {
	h.peer, h.peerPort, h.device = ipv4.Addr{}, 0, 0
	if h.hold.Disconnect() == 0 {
		h.change()
	}
}

// SetDevice implements [stack.PortHold].
func (h *portHold) SetDevice(index int32) unix.Errno {
	if e := h.hold.SetDevice(index); e != 0 {
		return e
	}
	h.device = index
	return h.change()
}

// SetReuse implements [stack.PortHold].
func (h *portHold) SetReuse(addr, port bool) {
	if h.hold.SetReuse(addr, port) == 0 {
		h.alone = !addr && !port
		h.change()
	}
}

// Release implements [stack.PortHold]: the claim goes first, so that nothing is dropped for
// a socket that is not there.
func (h *portHold) Release() {
	h.entry.Close()
	h.hold.Close()
	h.ports.holds.Add(-1)
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
func (h *identHold) Release()                                               { h.release() }
