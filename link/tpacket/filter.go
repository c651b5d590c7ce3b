package tpacket

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// maxFilter is the longest classic BPF program that the kernel takes
	// (BPF_MAXINSNS).
	maxFilter = 4096
	// maxEtherTypes keeps every jump of the default filter within the 255
	// instructions that a conditional jump can pass over.
	maxEtherTypes = 128

	acceptWhole = 0xffffffff // bytes to keep of an accepted frame: all
)

// filters are the programs of the ring's socket: the usual one, and the one that
// lets frames to other hosts pass.
type filters struct{ usual, promiscuous []bpf.RawInstruction }

// filters returns the programs that o asks for.
func (o *Options) filters() (f filters, err error) {
	if o.Share != nil {
		return f, nil
	}
	if o.Filter != nil {
		return filters{o.Filter, o.Filter}, nil
	}
	if f.promiscuous, err = o.filter(true); err == nil {
		f.usual, err = o.filter(o.Promiscuous)
	}
	return f, err
}

// filter returns a default filter. The outermost VLAN tag is out of the frame when it
// runs, so the EtherType stands behind the addresses, tagged or not.
func (o *Options) filter(promiscuous bool) ([]bpf.RawInstruction, error) {
	var p []bpf.Instruction
	if !promiscuous {
		p = append(p, bpf.LoadExtension{Num: bpf.ExtType},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
			bpf.RetConstant{Val: 0})
	}
	if !o.AllEtherTypes {
		p = append(p, bpf.LoadAbsolute{Off: 12, Size: 2})
		// What is behind further tags, the receiver has to see.
		types := append([]uint16{unix.ETH_P_IP, unix.ETH_P_ARP, unix.ETH_P_8021Q, unix.ETH_P_8021AD}, o.EtherTypes...)
		for i, t := range types {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(t), SkipTrue: uint8(len(types) - i)})
		}
		p = append(p, bpf.RetConstant{Val: 0})
	}
	return bpf.Assemble(append(p, bpf.RetConstant{Val: acceptWhole}))
}

// filterRing gives the ring's socket its first filter.
func (o *Options) filterRing(fd int, program []bpf.RawInstruction) error {
	if o.Share != nil {
		return o.Share.AttachFilter(fd)
	}
	return step("SO_ATTACH_FILTER", attachFilter(fd, program))
}

// attachFilter makes a socket accept only what the program accepts
// (SO_ATTACH_FILTER, socket(7)).
func attachFilter(fd int, program []bpf.RawInstruction) error {
	insns := make([]unix.SockFilter, len(program))
	for i, in := range program {
		insns[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(insns)), Filter: &insns[0]})
}
