package claim

import (
	"encoding/binary"
	"math/bits"

	"github.com/outband/outband/internal/ebpf"
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Registers of both programs. R0 to R5 are lost at each call.
const (
	context  = asm.R6 // struct __sk_buff
	result   = asm.R7 // first an offset in the frame; from match on, what becomes of it
	flags    = asm.R8 // first the protocol; then a port's flags; then a length
	fragment = asm.R9 // the IP header's fragment field, with marks above it
)

// Offsets in struct __sk_buff (linux/bpf.h).
const (
	skbType       = 4   // pkt_type
	skbProtocol   = 16  // the EtherType, in network order
	skbTagPresent = 20  // vlan_present
	skbTag        = 24  // vlan_tci
	skbDevice     = 40  // ifindex
	skbNote       = 48  // cb[0] and cb[1]: see fast.go
	skbNoteOn     = 56  // cb[2]: the device
	skbData       = 76  // data, of TCX programs
	skbDataEnd    = 80  // data_end
	skbSegments   = 164 // gso_segs
)

// Places on the programs' stacks, from the frame pointer.
const (
	header   = -32  // the IP header without options; for the fast path, what is behind it too
	exactAt  = -48  // key of a connected claim: source, destination, ports
	localAt  = -64  // key of another claim: it begins with the address
	datagram = -80  // key of a fragmented datagram
	stateAt  = -112 // its state
	quoteAt  = -136 // an IP header that an ICMP error quotes
	portsAt  = -144 // 8 bytes of the payload's beginning
	deviceAt = -148 // a device's place among the counters
	moveAt   = -152 // the generation of the claims
)

// Bits of the IP header's fragment field.
const (
	moreFragments  = 0x2000
	fragmentOffset = 0x1fff // in 8 bytes
)

const (
	etherLen      = 14
	ipLen         = 20         // without options
	vlanID        = 0x0fff     // of a tag
	loopbackIndex = 1          // of lo, in every namespace
	second        = 1000000000 // ns
)

// big is a number of two bytes in network order, as the machine loads it.
func big(v uint16) int32 {
	if nativeLittle {
		v = bits.ReverseBytes16(v)
	}
	return int32(v)
}

// nativeLittle: the machine is little-endian.
var nativeLittle = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// A builder assembles one of the two programs: TCX', or the rings'. Both end at the
// labels "take" (the ring takes the frame, TCX drops it) and "leave".
type builder struct {
	asm.Instructions
	maps *maps
	ring bool
	name string // of the next instruction

	pause asm.Instructions // between two lookups, where a test needs time
}

func (b *builder) add(ins ...asm.Instruction) {
	if b.name != "" {
		ins[0], b.name = ins[0].WithSymbol(b.name), ""
	}
	b.Instructions = append(b.Instructions, ins...)
}

// label gives the next instruction a name.
func (b *builder) label(name string) {
	if b.name != "" { // an instruction has one name only
		b.add(asm.Mov.Reg(context, context))
	}
	b.name = name
}

// program loads the program into the kernel.
func (b *builder) program(name string, t ebpf.ProgramType) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: t, License: "Apache-2.0", Instructions: b.Instructions})
}

// load loads n bytes of the frame, from an offset in a register or, if that is R0, from
// at, onto the stack; a frame that has not as many goes to short.
func (b *builder) load(offset asm.Register, at, to, n int32, short string) {
	where := asm.Mov.Reg(asm.R2, offset)
	if offset == asm.R0 {
		where = asm.Mov.Imm(asm.R2, at)
	}
	b.add(asm.Mov.Reg(asm.R1, context), where,
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, to), asm.Mov.Imm(asm.R4, n),
		asm.FnSkbLoadBytes.Call(), asm.JNE.Imm(asm.R0, 0, short))
}

// half loads two bytes of the stack that are in network order.
func (b *builder) half(to asm.Register, at int16) {
	b.add(asm.LoadMem(to, asm.RFP, at, asm.Half), asm.HostTo(asm.BE, to, asm.Half))
}

// move copies words on the stack.
func (b *builder) move(to, from int16) {
	b.add(asm.LoadMem(asm.R1, asm.RFP, from, asm.Word), asm.StoreMem(asm.RFP, to, asm.R1, asm.Word))
}

// lookup leaves in R0 what a map has at a key on the stack, 0 for nothing.
func (b *builder) lookup(fd int, key int32) {
	b.add(asm.LoadMapPtr(asm.R1, fd), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, key), asm.FnMapLookupElem.Call())
}

// begin has what both programs do first: frames that are none of a claim's leave. In
// the end the IP header is on the stack, result has the offset of what is behind it,
// flags the protocol, and fragment the field of that name.
func (b *builder) begin() {
	b.add(asm.LoadMem(asm.R2, context, skbType, asm.Word),
		// What is for other hosts, what this one sends (PACKET_OUTGOING), and its own
		// multicasts looped back, which no ring gets (PACKET_LOOPBACK).
		asm.JGT.Imm(asm.R2, unix.PACKET_MULTICAST, "leave"),
		asm.LoadMem(asm.R2, context, skbTagPresent, asm.Word))
	if b.ring {
		// An identifier of 0 is only a priority: the kernel looks through such tags.
		b.add(asm.JEq.Imm(asm.R2, 0, "untagged"),
			asm.LoadMem(asm.R2, context, skbTag, asm.Word), asm.And.Imm(asm.R2, vlanID), asm.JNE.Imm(asm.R2, 0, "leave"))
		b.label("untagged")
	} else {
		b.add(asm.JNE.Imm(asm.R2, 0, "leave"))
	}
	b.add(asm.LoadMem(asm.R2, context, skbProtocol, asm.Word))
	if b.ring {
		// What is behind further tags, the receiver has to see.
		for _, t := range []uint16{unix.ETH_P_ARP, unix.ETH_P_8021Q, unix.ETH_P_8021AD} {
			b.add(asm.JEq.Imm(asm.R2, big(t), "take"))
		}
	}
	b.add(asm.JNE.Imm(asm.R2, big(unix.ETH_P_IP), "leave"))
	b.load(asm.R0, etherLen, header, ipLen, "leave")
	b.headerLen(result, header, "leave")
	b.add(asm.Add.Imm(result, etherLen), asm.LoadMem(flags, asm.RFP, header+9, asm.Byte))
	b.half(fragment, header+6)
}

// headerLen loads the length of an IP header on the stack; no such header goes to bad.
func (b *builder) headerLen(to asm.Register, at int16, bad string) {
	b.add(asm.LoadMem(to, asm.RFP, at, asm.Byte),
		asm.Mov.Reg(asm.R1, to), asm.RSh.Imm(asm.R1, 4), asm.JNE.Imm(asm.R1, 4, bad),
		asm.And.Imm(to, 15), asm.LSh.Imm(to, 2), asm.JLT.Imm(to, ipLen, bad))
}

// datagramPorts loads the ports of a UDP datagram, and makes its key: it goes on at match.
func (b *builder) datagramPorts() {
	b.load(result, 0, exactAt+8, 4, "leave")
	b.move(exactAt, header+12)
	b.move(exactAt+4, header+16)
}
