package holder

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// MaxRings is how many devices SetRings takes. The kernel bounds a filter at 4096
// instructions (BPF_MAXINSNS), and this one has two a device.
const MaxRings = 1024

const (
	keep = 1<<32 - 1 // bytes of a datagram: all
	drop = 0

	packetLoopback = 5 // PACKET_LOOPBACK in linux/if_packet.h
)

// ringFilter returns a socket filter that drops what came by one of the devices, which
// their rings have seen. It keeps PACKET_LOOPBACK: the copies of this host's own
// multicasts and broadcasts have the sending device's index, and no ring sees them.
func ringFilter(rings []int32) []unix.SockFilter {
	prog := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtInterfaceIndex}}
	for i, index := range rings {
		// A conditional jump reaches 255 instructions, an unconditional one everything.
		toType := uint32(2*(len(rings)-i-1) + 1)
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipFalse: 1}, bpf.Jump{Skip: toType})
	}
	prog = append(prog,
		bpf.RetConstant{Val: keep},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packetLoopback, SkipFalse: 1},
		bpf.RetConstant{Val: keep},
		bpf.RetConstant{Val: drop},
	)
	return assemble(prog)
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
