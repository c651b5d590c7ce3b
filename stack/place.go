package stack

import (
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// A place is where a socket of type K stands in the table of its protocol: its port,
// or its ident. It is guarded by the receive lock.
type place[K any] struct {
	k       *IPSocket
	table   *udp.Table[K]
	binding udp.Binding[K]
}

// bindLocked is Bind for a socket that has a port. Endpoint.mu is held.
func (p *place[K]) bindLocked(addr ipv4.Addr, port uint16) unix.Errno {
	k := p.k
	if !k.bindable(addr) {
		return unix.EADDRNOTAVAIL
	}
	if k.port != 0 {
		return unix.EINVAL
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

// takePortLocked enters the socket into the table. enter is udp.Table.Bind, or does
// more. Endpoint.mu is held.
func (p *place[K]) enterLocked(addr ipv4.Addr, port uint16, enter func(*udp.Binding[K]) unix.Errno) unix.Errno {
	k := p.k
	p.binding.Local, p.binding.LocalPort = addr, port
	p.binding.Device = k.device
	if e := enter(&p.binding); e != 0 {
		p.binding.LocalPort = 0
		return e
	}
	k.addr, k.port = addr, p.binding.LocalPort
	k.warmup.Store(nil)
	return 0
}

// portedLocked reports whether the socket has a port. Endpoint.mu is held.
func (p *place[K]) portedLocked() bool { return p.k.port != 0 }

// disconnectLocked has the socket receive from everybody again, by all devices, and
// gives a port up that the system chose. Endpoint.mu and the receive lock are held.
func (p *place[K]) disconnectLocked() {
	k := p.k
	k.loseFromLocked(0)
	p.table.Disconnect(&p.binding, k.bound)
	p.table.Rebind(&p.binding, 0)
	if !k.userPort {
		p.table.Unbind(&p.binding)
		p.binding.LocalPort, k.port = 0, 0
	}
}

// rebindLocked takes in that the socket is bound to another device.
func (p *place[K]) rebindLocked() unix.Errno {
	if p.k.port == 0 {
		return 0
	}
	return p.table.Rebind(&p.binding, p.k.device)
}

// leave takes the socket out of the table.
func (p *place[K]) leave() {
	k := p.k
	k.mu.Lock()
	k.s.lockLanes()
	if k.port != 0 {
		p.table.Unbind(&p.binding)
	}
	k.s.unlockLanes()
	k.mu.Unlock()
	k.multicast.dropGroups()
}

// SetReuse sets SO_REUSEADDR and SO_REUSEPORT for a later Bind.
func (p *place[K]) SetReuse(addr, port bool) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.k.s.lockLanes()
	defer p.k.s.unlockLanes()
	p.table.SetReuse(&p.binding, addr, port)
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
	return errorOf(p.table.Detach(&p.binding))
}

// preferCPU is SetIncomingCPU's part.
func (p *place[K]) preferCPU(cpu int32) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.k.s.lockLanes()
	defer p.k.s.unlockLanes()
	p.table.SetCPU(&p.binding, max(cpu, -1)+1)
}
