package stack

import (
	"github.com/outband/outband/bpf"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// Who of several sockets on a port gets a datagram: programs of SO_REUSEPORT
// groups, and preferences for CPUs. Where nobody asks for either, nothing looks:
// a group with a program has receive extras set on all of its members, and the
// table of ports asks for the CPU only where somebody prefers one.

// AttachReusePort sets the classic BPF program that chooses the member of the
// socket's SO_REUSEPORT group for each unicast datagram, in place of another
// (SO_ATTACH_REUSEPORT_CBPF in socket(7)). It sees the UDP payload, and returns
// the member's number: from 0 in the order in which they were bound, and when
// one leaves, the last takes its number. A number that nobody has leaves the
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

// steer returns whom a datagram is for that was found to be for k.
func (l *lane) steer(a *arrival, k *UDPSocket, data []byte, in *Info) *UDPSocket {
	if a.chosen || !k.recvExtras.Has(option.Steered) {
		return k
	}
	if !k.claim.Binding.Steered() { // not any more
		k.recvExtras.Put(option.Steered, false)
		return k
	}
	l.view = bpf.View{Host: laneHost{l}, Data: data, Network: a.h.Datagram(), Offset: -len(a.h) - udp.HeaderLen,
		PacketType: uint8(in.Type), Interface: in.Interface, EtherType: unix.ETH_P_IP}
	to := l.s.udp.Steer(&k.claim.Binding, &l.view)
	l.view = bpf.View{}
	return to
}

// SetIncomingCPU has the socket preferred, among those that a datagram may be for,
// if the thread that takes it in runs on a CPU (SO_INCOMING_CPU in socket(7)):
// that is whoever drives the stack then, a receiver or the housekeeper. A negative
// number prefers none.
func (k *Endpoint) SetIncomingCPU(cpu int32) {
	k.cpu.Store(cpu)
	k.kind.preferCPU(cpu)
}

// IncomingCPU returns what SetIncomingCPU set, or, once the socket is connected,
// the CPU on which its last datagram was taken in; -1: there is none. To spare
// others the question, datagrams are looked at for it only from the first call
// on.
func (k *Endpoint) IncomingCPU() int32 {
	if k.hasPeer.Load() {
		k.recvExtras.Put(option.NoteCPU, true)
	}
	return k.cpu.Load()
}
