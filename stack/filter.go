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

// Frame returns the frame that has brought a datagram. It looks in the batch that
// is being processed: nobody keeps the frame for the few programs that ask. The
// receive lock is held.
func (h bpfHost) Frame(network []byte) bpf.Frame {
	for i := range h.s.lanes.first.batch {
		f := &h.s.lanes.first.batch[i]
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
