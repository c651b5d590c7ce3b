package asm

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Register is one of the machine's (RFC 9669, section 2): R0 has results, R1 to R5 are arguments, R6 to
// R9 survive calls, RFP is the frame's, read only.
type Register uint8

// The registers.
const (
	R0 Register = iota
	R1
	R2
	R3
	R4
	R5
	R6
	R7
	R8
	R9
	RFP
)

// Sources of what is loaded by a wide instruction (RFC 9669, section 5.4; linux/bpf.h).
const (
	pseudoMap   Register = 1 // BPF_PSEUDO_MAP_FD
	pseudoValue Register = 2 // BPF_PSEUDO_MAP_VALUE
)

// An Instruction is one of a program. It takes 8 bytes, or 16 if it is wide.
type Instruction struct {
	code     uint8
	dst, src Register
	offset   int16
	constant int64 // 32 bits, or of a wide instruction 64
	wide     bool
	symbol   string // its name
	to       string // the name of the one that it jumps to
}

// WithSymbol returns the instruction with a name, to jump to.
func (i Instruction) WithSymbol(name string) Instruction {
	i.symbol = name
	return i
}

// size returns how many places of 8 bytes it takes.
func (i *Instruction) size() int {
	if i.wide {
		return 2
	}
	return 1
}

// Instructions are a program.
type Instructions []Instruction

// Size is how many bytes a place of a program has.
const Size = 8

// Assemble returns the program as the kernel takes it. It is an error if a name is missing
// or there twice, or a jump is too far.
func (all Instructions) Assemble() ([]byte, error) {
	places, at := make(map[string]int), 0
	for i := range all {
		if name := all[i].symbol; name != "" {
			if _, twice := places[name]; twice {
				return nil, fmt.Errorf("asm: %q is there twice", name)
			}
			places[name] = at
		}
		at += all[i].size()
	}
	b := make([]byte, 0, at*Size)
	for _, i := range all {
		if i.to != "" {
			place, ok := places[i.to]
			offset := place - len(b)/Size - 1
			if !ok || offset < math.MinInt16 || offset > math.MaxInt16 {
				return nil, fmt.Errorf("asm: a jump to %q is too far, or nowhere", i.to)
			}
			i.offset = int16(offset)
		}
		b = i.append(b)
	}
	return b, nil
}

// little: the machine is little-endian. The two registers' place in their byte depends on it.
var little = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// append appends the instruction's bytes.
func (i *Instruction) append(b []byte) []byte {
	registers := byte(i.src)<<4 | byte(i.dst)
	if !little {
		registers = byte(i.dst)<<4 | byte(i.src)
	}
	b = append(b, i.code, registers)
	b = binary.NativeEndian.AppendUint16(b, uint16(i.offset))
	b = binary.NativeEndian.AppendUint32(b, uint32(i.constant))
	if i.wide {
		b = binary.NativeEndian.AppendUint32(b, 0)
		b = binary.NativeEndian.AppendUint32(b, uint32(i.constant>>32))
	}
	return b
}
