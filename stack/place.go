package stack

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/port"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// A place is where a socket of type K stands in the table of its protocol: its port,
// or its ident. What is in the table is guarded by the lanes' locks, the rest by
// Endpoint.mu.
type place[K any] struct {
	k     *IPSocket
	ports *port.Ports[K]
	claim port.Claim[K]
	// asking says that a PortHolder is asked for a port for the socket; asked is told
	// when it has answered, or the socket is closed.
	asking bool
	asked  sync.Cond
	// holder is the number of what holds the port: see port.Hold.
	holder atomic.Uint32
}

// init makes the place that of a socket: of owner, which k is part of.
func (p *place[K]) init(k *IPSocket, ports *port.Ports[K], owner K) {
	p.k, p.ports, p.claim.Binding.Owner = k, ports, owner
	p.asked.L = &k.mu
}

// bindLocked is Bind for a socket that has a port. Endpoint.mu is held.
func (p *place[K]) bindLocked(addr ipv4.Addr, number uint16) unix.Errno {
	k := p.k
	if !p.ports.Asks() && !k.bindable(addr) { // who is asked knows its addresses best
		return unix.EADDRNOTAVAIL
	}
	if p.portedLocked() {
		return unix.EINVAL
	}
	if k.state.Load()&output.StateClosed != 0 { // while another Bind was waited for
		return unix.EBADF
	}
	k.source = ipv4.Addr{} // of an earlier connect
	if number == 0 && k.binding.NoPort() {
		k.addr, k.bound = addr, addr
		return 0
	}
	if e := k.transport.takePortLocked(addr, number); e != 0 {
		return e
	}
	k.bound = addr
	k.userPort = number != 0
	return 0
}

// claimLocked gives the socket a port, 0 for one that is chosen out of a range, and has
// datagrams come for it: then is called before the first. Endpoint.mu is held, but while
// a PortHolder is asked, which may take its time. EBADF: the socket was closed meanwhile.
func (p *place[K]) claimLocked(addr ipv4.Addr, number, lo, hi uint16, then func()) unix.Errno {
	k := p.k
	k.recvExtras.Put(option.HolderOnly, false) // of an earlier port
	p.claim.FreeBind, p.claim.Transparent = k.binding.FreeBind(), k.binding.Transparent()
	if e := p.ports.Reserve(&p.claim, addr, number, k.device, lo, hi); e != 0 {
		return e
	}
	if p.ports.Asks() {
		asked := k.device
		if e := p.askLocked(); e != 0 {
			return e
		}
		if k.device != asked { // it was bound to another one meanwhile
			p.holdDeviceLocked(k.device)
		}
		p.numberLocked()
		p.holdLocked().NotifyShared(p.holderOnly)
	}
	p.ports.Publish(&p.claim, k.device, then)
	k.addr, k.port = addr, p.claim.Binding.LocalPort
	k.warmup.Store(nil)
	return 0
}

// askLocked asks the PortHolder for the port that is reserved, without Endpoint.mu. If it
// does not agree, or the socket is closed by then, the port is given back.
func (p *place[K]) askLocked() unix.Errno {
	k := p.k
	p.asking = true
	k.mu.Unlock()
	e := p.ports.Agree(&p.claim)
	k.mu.Lock()
	if e == 0 && k.state.Load()&output.StateClosed != 0 {
		k.mu.Unlock()
		p.ports.GiveBack(&p.claim)
		k.mu.Lock()
		e = unix.EBADF
	}
	p.claim.Adopt, p.claim.Adopts = 0, false
	p.asking = false
	p.asked.Broadcast()
	return e
}

// portedLocked reports whether the socket has a port, once it is not about to get one.
// Endpoint.mu is held, but while it waits.
func (p *place[K]) portedLocked() bool {
	for p.asking && p.k.state.Load()&output.StateClosed == 0 {
		p.asked.Wait()
	}
	return p.k.port != 0
}

// agreePeerLocked tells who holds the port which peer the socket is about to have, and
// returns the local address for that, zero if there is none in particular. Endpoint.mu is
// held.
func (p *place[K]) agreePeerLocked(peer port.Peer) (local ipv4.Addr, e unix.Errno) {
	if h := p.holdLocked(); h != nil {
		defer p.numberLocked()
		return h.Connect(peer)
	}
	return ipv4.Addr{}, 0
}

// numberLocked notes by which number frames say that what holds the port has brought them.
// Endpoint.mu is held.
func (p *place[K]) numberLocked() {
	if h := p.holdLocked(); h != nil {
		p.holder.Store(h.Number())
	}
}

// holderOnly is port.Hold's shared: from now on what the holder has not brought is for another
// socket, one of another program's maybe, or a copy of what it will bring.
func (p *place[K]) holderOnly() { p.k.recvExtras.Put(option.HolderOnly, true) }

// passes reports whether a unicast datagram, or an error about one, is not the socket's though
// it is the best of the stack's for it.
func (k *Endpoint) passes(a *arrival) bool {
	return k.recvExtras.Has(option.HolderOnly) && a.meta.Holder == 0 && a.kind == route.Unicast
}

// broughtBy reports whether frames that bear a holder's number are for the socket.
func (p *place[K]) broughtBy(holder uint32) bool { return p.holder.Load() == holder }

// holdLocked returns what a PortHolder holds for the socket, nil if there is nothing, or
// it is being asked. Endpoint.mu is held.
func (p *place[K]) holdLocked() port.Hold {
	if p.asking {
		return nil
	}
	return p.claim.Hold()
}

// disconnectLocked has the socket receive from everybody again, by all devices, and
// gives a port up that the system chose: what it returns, unless it is nil, is to be
// called once no lock is held. Endpoint.mu and the locks of all lanes are held.
func (p *place[K]) disconnectLocked() (release func()) {
	k := p.k
	k.losses.Of(&k.s.links, nil)
	p.ports.Table.Disconnect(&p.claim.Binding, k.bound)
	p.ports.Table.Rebind(&p.claim.Binding, 0)
	if k.userPort {
		return nil
	}
	k.port = 0
	return p.ports.GiveBackLocked(&p.claim)
}

// holdNoPeerLocked tells who holds the port that the socket is about to receive from
// everybody again. Endpoint.mu is held.
func (p *place[K]) holdNoPeerLocked() {
	if h := p.holdLocked(); h != nil && p.k.userPort {
		h.Disconnect()
		p.numberLocked()
	}
}

// holdDeviceLocked tells who holds the port that the socket is bound to another device.
// Endpoint.mu is held.
func (p *place[K]) holdDeviceLocked(index int32) unix.Errno {
	if h := p.holdLocked(); h != nil {
		defer p.numberLocked()
		return h.SetDevice(index)
	}
	return 0
}

// rebindLocked takes in that the socket is bound to another device.
func (p *place[K]) rebindLocked() unix.Errno {
	if p.k.port == 0 {
		return 0
	}
	return p.ports.Table.Rebind(&p.claim.Binding, p.k.device)
}

// leave takes the socket out of the table.
func (p *place[K]) leave() {
	k := p.k
	k.mu.Lock()
	p.asked.Broadcast()
	ported := k.port != 0
	k.mu.Unlock()
	if ported { // nothing takes a port any more, or gives it up, since the socket is closed
		p.ports.GiveBack(&p.claim)
	}
	k.multicast.members.LeaveAll()
}

// SetReuse sets SO_REUSEADDR and SO_REUSEPORT for a later Bind.
func (p *place[K]) SetReuse(reuseAddr, reusePort bool) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if h := p.holdLocked(); h != nil {
		h.SetReuse(reuseAddr, reusePort)
		p.numberLocked()
	}
	p.k.s.lockLanes()
	defer p.k.s.unlockLanes()
	p.ports.Table.SetReuse(&p.claim.Binding, reuseAddr, reusePort)
}

// DetachReusePort takes the program of the socket's group away
// (SO_DETACH_REUSEPORT_BPF in socket(7)). ENOENT: there is none. EINVAL: the
// socket has not got SO_REUSEPORT.
func (p *place[K]) DetachReusePort() error {
	if p.k.Closed() {
		return unix.EBADF
	}
	p.k.s.lockLanes()
	defer p.k.s.unlockLanes()
	return errorOf(p.ports.Table.Detach(&p.claim.Binding))
}

// preferCPU is SetIncomingCPU's part.
func (p *place[K]) preferCPU(cpu int32) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.k.s.lockLanes()
	defer p.k.s.unlockLanes()
	p.ports.Table.SetCPU(&p.claim.Binding, max(cpu, -1)+1)
}

// Which of several sockets on a port gets a datagram: programs of SO_REUSEPORT
// groups, and preferences for CPUs. Where no socket asks for either, nothing looks:
// a group with a program has receive extras set on all of its members, and the
// table of ports asks for the CPU only where a socket prefers one.

// AttachReusePort sets the classic BPF program that chooses the member of the
// socket's SO_REUSEPORT group for each unicast datagram, in place of another
// (SO_ATTACH_REUSEPORT_CBPF in socket(7)). It sees the UDP payload, and returns
// the member's number: from 0 in the order in which they were bound, and when
// one leaves, the last takes its number. A number that no member has leaves the
// choice to the hash of the flow. The CPU that it may ask for is the one that the
// receiving thread runs on.
//
// EINVAL: not a valid program; the socket was bound without SO_REUSEPORT, or is
// not bound and has not got it.
func (k *UDPSocket) AttachReusePort(program []bpf.Instruction) error {
	return k.attach(program, func(members []*udp.Binding[*UDPSocket]) {
		for _, m := range members {
			m.Owner.steeredLocked()
		}
	})
}

// AttachReusePort is UDPSocket.AttachReusePort's, but that ping sockets are in no groups:
// EINVAL once it is bound.
func (k *PingSocket) AttachReusePort(program []bpf.Instruction) error {
	return k.attach(program, nil)
}

// attach is AttachReusePort; done is called with the members of the group.
func (p *place[K]) attach(program []bpf.Instruction, done func([]*udp.Binding[K])) error {
	k := p.k
	if k.Closed() {
		return unix.EBADF
	}
	code, ok := bpf.New(program)
	if !ok {
		return unix.EINVAL
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if done == nil && k.port != 0 {
		return unix.EINVAL
	}
	k.s.lockLanes()
	defer k.s.unlockLanes()
	members, e := p.ports.Table.Attach(&p.claim.Binding, code.Run)
	if done != nil {
		done(members)
	}
	return errorOf(e)
}

// steeredLocked has datagrams for the socket looked at by its group's program, if
// there is one. The locks of all lanes are held.
func (k *UDPSocket) steeredLocked() {
	if k.claim.Binding.Steered() {
		k.recvExtras.Put(option.Steered, true)
	}
}
