package stack

import (
	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ipv4"
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
func (k *Endpoint) AttachReusePort(program []bpf.Instruction) error {
	if k.Closed() {
		return unix.EBADF
	}
	p, ok := bpf.New(program)
	if !ok {
		return unix.EINVAL
	}
	if k.proto == protocolNone {
		return unix.EINVAL
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.proto == ipv4.ProtocolICMP && k.port != 0 {
		return unix.EINVAL // ping sockets are in no groups
	}
	k.s.lockLanes()
	defer k.s.unlockLanes()
	members, e := k.table().Attach(&k.binding, p.Run)
	for _, m := range members {
		m.Owner.steeredLocked()
	}
	return errorOf(e)
}

// DetachReusePort takes the program of the socket's group away
// (SO_DETACH_REUSEPORT_BPF in socket(7)). ENOENT: there is none. EINVAL: the
// socket has not got SO_REUSEPORT.
func (k *Endpoint) DetachReusePort() error {
	if k.Closed() {
		return unix.EBADF
	}
	if k.proto == protocolNone {
		return unix.EINVAL
	}
	k.s.lockLanes()
	defer k.s.unlockLanes()
	return errorOf(k.table().Detach(&k.binding))
}

// steeredLocked has datagrams for the socket looked at by its group's program, if
// there is one. The receive lock is held.
func (k *Endpoint) steeredLocked() {
	if k.proto == ipv4.ProtocolUDP && k.binding.Steered() {
		k.recvExtras.steered.Store(true)
		k.markReceiveExtras()
	}
}

// steer returns whom a datagram is for that was found to be for k.
func (l *lane) steer(a *arrival, k *Endpoint, data []byte, in *Info) *Endpoint {
	if a.chosen || !k.recvExtras.steered.Load() {
		return k
	}
	if !k.binding.Steered() { // not any more
		k.recvExtras.steered.Store(false)
		k.markReceiveExtras()
		return k
	}
	l.view = bpf.View{Host: laneHost{l}, Data: data, Network: a.h.Datagram(), Offset: -len(a.h) - udp.HeaderLen,
		PacketType: uint8(in.Type), Interface: in.Interface, EtherType: unix.ETH_P_IP}
	to := l.s.udp.Steer(&k.binding, &l.view)
	l.view = bpf.View{}
	return to
}

// SetIncomingCPU has the socket preferred, among those that a datagram may be for,
// if the thread that takes it in runs on a CPU (SO_INCOMING_CPU in socket(7)):
// that is whoever drives the stack then, a receiver or the housekeeper. A negative
// number prefers none.
func (k *Endpoint) SetIncomingCPU(cpu int32) {
	k.recvExtras.cpu.Store(cpu)
	if k.proto == protocolNone {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.s.lockLanes()
	defer k.s.unlockLanes()
	k.table().SetCPU(&k.binding, max(cpu, -1)+1)
}

// IncomingCPU returns what SetIncomingCPU set, or, once the socket is connected,
// the CPU on which its last datagram was taken in; -1: there is none. To spare
// others the question, datagrams are looked at for it only from the first call
// on.
func (k *Endpoint) IncomingCPU() int32 {
	x := &k.recvExtras
	if k.hasPeer.Load() && !x.noteCPU.Load() {
		x.noteCPU.Store(true)
		k.markReceiveExtras()
	}
	return x.cpu.Load()
}
