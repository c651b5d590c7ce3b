package claim

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The rings' filter where eBPF is not permitted: it knows ports only, and lets all fragments
// of UDP and ICMP through, first ones too, since parts of datagrams would stay in the stack's
// reassembly. What it takes too much, the stack has no use for.

// maxClassicPorts is how many ports a classic filter tells apart. With more of them it
// takes all UDP.
const maxClassicPorts = 500

const acceptWhole = 0xffffffff // bytes to keep of an accepted frame: all

// A classicProgram is what a classic filter is made of.
type classicProgram struct {
	ports       []uint16 // sorted; nil: all
	idents      bool     // echo replies, and errors about echoes
	protocols   []uint8  // IPv4 datagrams of these besides
	ipv4        bool     // all of them
	everything  bool
	promiscuous bool
}

var take, leave = bpf.RetConstant{Val: acceptWhole}, bpf.RetConstant{Val: 0}

// assemble returns the program.
func (p classicProgram) assemble() ([]bpf.RawInstruction, error) {
	if p.promiscuous {
		return bpf.Assemble([]bpf.Instruction{take})
	}
	ins := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 1}, leave}
	if p.everything {
		return bpf.Assemble(append(ins, take))
	}
	ins = append(ins, bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: unix.PACKET_MULTICAST, SkipTrue: 1}, leave,
		bpf.LoadExtension{Num: bpf.ExtVLANTag}, bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: vlanID, SkipTrue: 1}, leave,
		bpf.LoadAbsolute{Off: 12, Size: 2})
	for _, t := range []uint32{unix.ETH_P_ARP, unix.ETH_P_8021Q, unix.ETH_P_8021AD} {
		ins = append(ins, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: t, SkipTrue: 1}, take)
	}
	ins = append(ins, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IP, SkipTrue: 1}, leave)
	if p.ipv4 {
		return bpf.Assemble(append(ins, take))
	}
	ins = append(ins, bpf.LoadAbsolute{Off: etherLen + 9, Size: 1})
	for _, proto := range p.protocols {
		ins = append(ins, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(proto), SkipTrue: 1}, take)
	}
	udp := append(anyFragment(), bpf.LoadIndirect{Off: etherLen + 2, Size: 2})
	icmp := append(p.icmp(), bpf.Jump{Skip: uint32(len(udp)) + 2})
	ins = append(ins, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMP, SkipTrue: 1}, bpf.Jump{Skip: uint32(len(icmp))})
	ins = append(append(ins, icmp...), bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_UDP, SkipTrue: 1}, leave)
	ins = append(ins, udp...)
	if p.ports == nil {
		return bpf.Assemble(append(ins, take))
	}
	return bpf.Assemble(append(ins, search(p.ports)...))
}

// anyFragment takes fragments, and loads the offset in the datagram of
// what is behind its header into X.
func anyFragment() []bpf.Instruction {
	return []bpf.Instruction{bpf.LoadAbsolute{Off: etherLen + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: moreFragments | fragmentOffset, SkipTrue: 1}, take,
		bpf.LoadMemShift{Off: etherLen}}
}

// icmp takes what is for ping sockets, and leaves all but errors about UDP datagrams. Of
// such a datagram it loads the source port, if it has no IP options, for these it takes.
func (p classicProgram) icmp() []bpf.Instruction {
	ins := append(anyFragment(), bpf.LoadIndirect{Off: etherLen, Size: 1})
	if p.idents {
		ins = append(ins, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpEchoReply, SkipTrue: 1}, take)
	}
	for i, t := range icmpErrors {
		ins = append(ins, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(t), SkipTrue: uint8(len(icmpErrors) - i)})
	}
	const quoted = etherLen + icmpHeaderLen
	ins = append(ins, leave, bpf.LoadIndirect{Off: quoted + 9, Size: 1})
	if p.idents {
		ins = append(ins, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_ICMP, SkipTrue: 1}, take)
	}
	return append(ins, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_UDP, SkipTrue: 1}, leave,
		bpf.LoadIndirect{Off: quoted, Size: 1}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x45, SkipTrue: 1}, take,
		bpf.LoadIndirect{Off: quoted + ipLen, Size: 2})
}

// search takes the frame if the number that was loaded is one of the ports: by halves,
// for a list of 500 is long.
func search(ports []uint16) (ins []bpf.Instruction) {
	const few = 4
	if len(ports) <= few {
		for _, port := range ports {
			ins = append(ins, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1}, take)
		}
		return append(ins, leave)
	}
	middle := len(ports) / 2
	low, high := search(ports[:middle]), search(ports[middle:])
	ins = append(ins, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(ports[middle]), SkipTrue: 1}, bpf.Jump{Skip: uint32(len(low))})
	return append(append(ins, low...), high...)
}

// classicLocked returns what the classic filter is to be.
func (c *Claims) classicLocked() (p classicProgram) {
	p.ports = []uint16{}
	for port, u := range c.table.ports {
		p.idents = p.idents || u.ident > 0
		if u.claims() {
			p.ports = append(p.ports, port)
		}
	}
	if len(p.ports) > maxClassicPorts {
		p.ports = nil
	}
	slices.Sort(p.ports)
	for w, n := range c.widths[:AllIPv4] {
		if n > 0 {
			p.protocols = append(p.protocols, uint8(w))
		}
	}
	p.ipv4, p.everything, p.promiscuous = c.widths[AllIPv4] > 0, c.widths[Everything] > 0, c.widths[Promiscuous] > 0
	return p
}
