package stack

import (
	"github.com/outband/outband/bpf"
	"github.com/outband/outband/link"
)

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

// Frame is asked of a laneHost only: who has a bpfHost has the frame.
func (bpfHost) Frame([]byte) bpf.Frame { return bpf.Frame{} }

// laneHost is bpfHost for what a lane takes in.
type laneHost struct{ *lane }

// HardwareType is bpfHost's.
func (h laneHost) HardwareType(index int32) uint16 { return bpfHost{h.s}.HardwareType(index) }

// CPU is bpfHost's.
func (h laneHost) CPU() int32 { return bpfHost{h.s}.CPU() }

// Frame returns the frame that has brought a datagram. It looks in the batch that
// is being processed: nobody keeps the frame for the few programs that ask.
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
