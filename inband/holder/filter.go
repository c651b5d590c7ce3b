package holder

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// MaxRings is how many devices SetRings takes. The kernel bounds a filter at 4096
// instructions (BPF_MAXINSNS), and this one has two a device.
const MaxRings = 1024

const (
	keep = 1<<32 - 1 // bytes of a datagram: all
	drop = 0

	loopbackIndex  = 1 // of lo, in every namespace
	packetLoopback = 5 // PACKET_LOOPBACK in linux/if_packet.h
)

// MaxAddresses is how many addresses SetAddresses takes, of both kinds together.
const MaxAddresses = 1000

// destinationAt is where the destination is in the IPv4 header (RFC 791, section 3.1), as a
// filter's load instruction has it (SKF_NET_OFF in linux/filter.h).
const destinationAt = 0xfff00000 + 16

// ringFilter returns a socket filter that drops what came by one of the devices, which
// their rings have seen. It keeps PACKET_LOOPBACK: the copies of this host's own
// multicasts and broadcasts have the sending device's index, and no ring sees them.
func ringFilter(rings []int32) []unix.SockFilter {
	return assemble(append(byRing(rings), bpf.RetConstant{Val: drop}))
}

// wildFilter is ringFilter for a socket that is bound to no address: of what came by one of
// the devices it drops what is for the host's addresses, of which the ring knows, and for
// groups; of what came by lo, all. What else there is the kernel takes for the host by its
// routes only.
func wildFilter(rings []int32, own, broadcasts [][4]byte) []unix.SockFilter {
	prog := append(byRing(rings), bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loopbackIndex, SkipTrue: 1}, bpf.RetConstant{Val: drop})
	return assemble(append(prog, except(append(slices.Clone(own), broadcasts...))...))
}

// sharedFilter is ringFilter for a port that others may have too: of what came by one of
// the devices it drops only what is for every socket, multicasts and broadcasts.
func sharedFilter(rings []int32, broadcasts [][4]byte) []unix.SockFilter {
	return assemble(append(byRing(rings), except(broadcasts)...))
}

// except keeps all but what is for some addresses, 255.255.255.255, and groups.
func except(addresses [][4]byte) []bpf.Instruction {
	prog := []bpf.Instruction{bpf.LoadAbsolute{Off: destinationAt, Size: 4}}
	for _, a := range append(slices.Clone(addresses), [4]byte{255, 255, 255, 255}) {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(a[:]), SkipTrue: 1}, bpf.RetConstant{Val: drop})
	}
	return append(prog,
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0000000},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0xe0000000, SkipTrue: 1}, // RFC 1112, section 4
		bpf.RetConstant{Val: drop},
		bpf.RetConstant{Val: keep},
	)
}

// byRing goes on with what came by one of the devices, and keeps all else.
func byRing(rings []int32) []bpf.Instruction {
	prog := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtInterfaceIndex}}
	for i, index := range rings {
		// A conditional jump reaches 255 instructions, an unconditional one everything.
		toType := uint32(2*(len(rings)-i-1) + 1)
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipFalse: 1}, bpf.Jump{Skip: toType})
	}
	return append(prog,
		bpf.RetConstant{Val: keep},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packetLoopback, SkipFalse: 1},
		bpf.RetConstant{Val: keep},
	)
}

// assemble returns a program as the kernel takes it.
func assemble(prog []bpf.Instruction) []unix.SockFilter {
	raw, err := bpf.Assemble(prog)
	if err != nil {
		panic("holder: " + err.Error()) // of our own programs: it cannot be
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter
}

// attach replaces a socket's filter (SO_ATTACH_FILTER in socket(7)).
func attach(fd int, filter []unix.SockFilter) error {
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
