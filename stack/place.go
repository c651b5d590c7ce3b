package stack

import (
	"sync"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/port"
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
}

// init makes the place that of a socket: of owner, which k is part of.
func (p *place[K]) init(k *IPSocket, ports *port.Ports[K], owner K) {
	p.k, p.ports, p.claim.Binding.Owner = k, ports, owner
	p.asked.L = &k.mu
}

// bindLocked is Bind for a socket that has a port. Endpoint.mu is held.
func (p *place[K]) bindLocked(addr ipv4.Addr, port uint16) unix.Errno {
	k := p.k
	if !k.bindable(addr) {
		return unix.EADDRNOTAVAIL
	}
	if p.portedLocked() {
		return unix.EINVAL
	}
	if k.state.Load()&output.StateClosed != 0 { // while another Bind was waited for
		return unix.EBADF
	}
	k.source = ipv4.Addr{} // of an earlier connect
	if port == 0 && k.bindOpts.noPort.Load() {
		k.addr, k.bound = addr, addr
		return 0
	}
	if e := k.transport.takePortLocked(addr, port); e != 0 {
		return e
	}
	k.bound = addr
	k.userPort = port != 0
	return 0
}

// claimLocked gives the socket a port, 0 for one that is chosen out of a range, and has
// datagrams come for it: then is called before the first. Endpoint.mu is held, but while
// a PortHolder is asked, which may take its time. EBADF: the socket was closed meanwhile.
func (p *place[K]) claimLocked(addr ipv4.Addr, number, lo, hi uint16, then func()) unix.Errno {
	k := p.k
	if e := p.ports.Reserve(&p.claim, addr, number, k.device, lo, hi); e != 0 {
		return e
	}
	if p.ports.Asks() {
		if e := p.askLocked(); e != 0 {
			return e
		}
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
	k.multicast.dropGroups()
}

// SetReuse sets SO_REUSEADDR and SO_REUSEPORT for a later Bind.
func (p *place[K]) SetReuse(addr, port bool) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.k.s.lockLanes()
	defer p.k.s.unlockLanes()
	p.ports.Table.SetReuse(&p.claim.Binding, addr, port)
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
