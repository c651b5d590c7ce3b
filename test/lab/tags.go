package lab

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A Tag is what the kernel knows of a frame beside its bytes: the priority that
// queueing disciplines and VLAN devices go by, and the mark that packet filters do
// (SO_PRIORITY and SO_MARK in socket(7)).
type Tag struct{ Priority, Mark uint32 }

// Tags sees the tags of the IPv4 frames that pass a device, by a TCX program: what
// is in the kernel's struct sk_buff.
type Tags struct {
	seen    *ebpf.Map
	program *ebpf.Program
	link    link.Link
}

// maxTags is how many different tags a Tags tells apart.
const maxTags = 64

// NewTags looks at the frames that a device of the calling thread's namespace
// sends (egress) or receives, until Close. What packet sockets with
// PACKET_QDISC_BYPASS send does not pass a device's egress. Errors: EPERM
// (CAP_BPF or CAP_NET_ADMIN is missing), ebpf.ErrNotSupported (before Linux 6.6).
func NewTags(ifindex int, egress bool) (*Tags, error) {
	s := new(Tags)
	err := s.open(ifindex, egress)
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Tags) open(ifindex int, egress bool) (err error) {
	s.seen, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tags", Type: ebpf.Hash, KeySize: 8, ValueSize: 4, MaxEntries: maxTags})
	if err != nil {
		return err
	}
	s.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "tags", Type: ebpf.SchedCLS,
		License: "Apache-2.0", Instructions: tagsProgram(s.seen)})
	if err != nil {
		return err
	}
	where := ebpf.AttachTCXIngress
	if egress {
		where = ebpf.AttachTCXEgress
	}
	s.link, err = link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: s.program, Attach: where})
	return err
}

// Close ends it.
func (s *Tags) Close() {
	if s.link != nil {
		s.link.Close()
	}
	if s.program != nil {
		s.program.Close()
	}
	if s.seen != nil {
		s.seen.Close()
	}
}

// tagsProgram counts IPv4 frames by what they are tagged with.
func tagsProgram(seen *ebpf.Map) asm.Instructions {
	const ( // of struct __sk_buff
		markOffset     = 8
		protocolOffset = 16
		priorityOffset = 32
		next           = -1 // TCX_NEXT
	)
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, protocolOffset, asm.Word),
		asm.JNE.Imm(asm.R2, unix.ETH_P_IP>>8|unix.ETH_P_IP&0xff<<8, "next"),
		asm.LoadMem(asm.R2, asm.R6, priorityOffset, asm.Word),
		asm.StoreMem(asm.RFP, -8, asm.R2, asm.Word),
		asm.LoadMem(asm.R2, asm.R6, markOffset, asm.Word),
		asm.StoreMem(asm.RFP, -4, asm.R2, asm.Word),
		asm.StoreImm(asm.RFP, -16, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, seen.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.FnMapLookupElem.Call(),
		asm.JNE.Imm(asm.R0, 0, "count"),
		asm.LoadMapPtr(asm.R1, seen.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -16),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
		asm.LoadMapPtr(asm.R1, seen.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.Mov.Imm(asm.R1, 1).WithSymbol("count"),
		asm.StoreXAdd(asm.R0, asm.R1, asm.Word),
		asm.Mov.Imm(asm.R0, next).WithSymbol("next"),
		asm.Return(),
	}
}

// Take returns how many frames had each tag since the last time.
func (s *Tags) Take() (map[Tag]int, error) {
	counts := make(map[Tag]int)
	var tag Tag
	var n uint32
	entries := s.seen.Iterate()
	for entries.Next(&tag, &n) {
		counts[tag] = int(n)
	}
	err := entries.Err()
	for tag := range counts {
		err = errors.Join(err, s.seen.Delete(&tag))
	}
	return counts, err
}
