package stack

import (
	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// What few sockets ask for. A socket that wants any of it on receive has
// output.StateRecvExtras, and every datagram for it takes the way through accept; one
// that wants any of it on send has output.StateSendExtras, and never takes the fast
// way out. The others pay nothing.

// accept looks at a datagram for a socket with receive extras: it returns whom
// it is for, which may be another of the socket's group, and what of the data to
// deliver, or false to drop it.
func (l *lane) accept(a *arrival, k *Endpoint, data []byte, in *Info) (to *Endpoint, keep []byte, ok bool) {
	to = k
	if u, ok := k.kind.(*UDPSocket); ok {
		if to = &l.steer(a, u, data, in).Endpoint; to != k && to.state.Load()&output.StateRecvExtras == 0 {
			return to, data, true
		}
	}
	keep, ok = l.acceptExtras(a, to, data, in)
	return to, keep, ok
}

// acceptExtras is accept when it is known whom the datagram is for.
func (l *lane) acceptExtras(a *arrival, k *Endpoint, data []byte, in *Info) ([]byte, bool) {
	x := &k.recvExtras
	if x.Has(option.NoteCPU) && k.hasPeer.Load() {
		k.cpu.Store(link.CPU())
	}
	if x.Has(option.KeepOptions) && len(a.h) > ipv4.MinHeaderLen {
		in.NeedExtra().Options = append([]byte(nil), a.h.Options()...)
	}
	if m := a.metadata(); m != (output.Metadata{}) && x.Has(option.KeepMetadata) {
		in.SetMetadata(m.Priority, m.Mark)
	}
	if x.Has(option.KeepDrops) {
		in.Drops = k.Drops()
	}
	if x.Has(option.ReceiveTimes) {
		in.Taken, in.Delivered = l.taken, l.s.Monotonic()
	}
	if f := k.receiving.Filter(); f != nil {
		return l.filterDatagram(a, k, f, data, in)
	}
	return data, true
}

// filterDatagram runs a filter, for which the header is put before the payload
// again.
func (l *lane) filterDatagram(a *arrival, k *Endpoint, f *bpf.Program, data []byte, in *Info) ([]byte, bool) {
	head := k.kind.headerLen()
	b := l.s.pool.Get(head + len(data))
	defer l.s.pool.Put(b)
	copy(b[head:], data)
	h := a.h
	switch whole := h.Payload(); {
	case head == 0:
	case len(whole) == len(b):
		copy(b, whole[:head])
	default: // one of several in a GSO packet
		udp.PutHeader(b, in.FromPort, in.ToPort, len(data), 0)
	}
	v := bpf.View{Host: laneHost{l}, Data: b, Network: h.Datagram(), PacketType: uint8(in.Type), Interface: in.Interface, EtherType: unix.ETH_P_IP}
	if !k.kind.hasIPHeader() {
		v.Offset = -len(h)
	}
	keep := int(min(f.Run(&v), uint32(len(b))))
	if keep == 0 {
		k.queue.Drops.Add(1)
		l.count[counter.DropFilter]++
		if head > 0 {
			l.count[counter.UDPInErrors]++ // as Linux' udp_queue_rcv_one_skb
		}
		return nil, false
	}
	keep = max(keep, head)
	in.Len = keep - head
	return data[:in.Len], true
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

// metadata returns what a datagram of this stack's own was sent with, if it came over
// loopback.
func (a *arrival) metadata() output.Metadata {
	if !a.ifc.dev.Loopback {
		return output.Metadata{}
	}
	return output.Metadata{Priority: a.meta.Priority, Mark: a.meta.Mark}
}

// bpfHost tells socket filters what is not in the bytes that they see.
type bpfHost struct{ s *Stack }

// HardwareType returns an interface's ARPHRD_* type, 0 if there is no such
// interface.
func (h bpfHost) HardwareType(index int32) uint16 {
	if i := h.s.InterfaceByIndex(int(index)); i != nil {
		return i.HardwareType()
	}
	return 0
}

// CPU returns the processor that the caller runs on.
func (bpfHost) CPU() int32 { return link.CPU() }

// Frame is asked of a laneHost only: a bpfHost is for programs that see the frame itself.
func (bpfHost) Frame([]byte) bpf.Frame { return bpf.Frame{} }

// laneHost is bpfHost for what a lane takes in.
type laneHost struct{ *lane }

// HardwareType is bpfHost's.
func (h laneHost) HardwareType(index int32) uint16 { return bpfHost{h.s}.HardwareType(index) }

// CPU is bpfHost's.
func (h laneHost) CPU() int32 { return bpfHost{h.s}.CPU() }

// Frame returns the frame that has brought a datagram. It looks in the batch that
// is being processed: the frame is not kept for the few programs that ask.
func (h laneHost) Frame(network []byte) bpf.Frame {
	for i := range h.batch {
		f := &h.batch[i]
		if len(f.Data) > link.HeaderLen && &f.Data[link.HeaderLen] == &network[0] {
			return bpfFrame(f.Data, &f.Meta)
		}
	}
	return bpf.Frame{}
}

// bpfFrame is a frame as programs see it.
func bpfFrame(data []byte, m *link.Meta) bpf.Frame {
	return bpf.Frame{Data: data, Tagged: m.VLAN, TCI: m.VLANTCI, TPID: m.VLANTPID}
}
