package asm

// A Width is how much is loaded or stored (RFC 9669, section 5).
type Width uint8

// The widths: 4, 2, 1 and 8 bytes.
const (
	Word  Width = 0x00
	Half  Width = 0x08
	Byte  Width = 0x10
	DWord Width = 0x18
)

// bytes returns how many bytes that is.
func (w Width) bytes() int {
	return map[Width]int{Word: 4, Half: 2, Byte: 1, DWord: 8}[w]
}

// LoadMem has dst be what is at src + offset.
func LoadMem(dst, src Register, offset int16, w Width) Instruction {
	return Instruction{code: classLDX | modeMemory | uint8(w), dst: dst, src: src, offset: offset}
}

// StoreMem stores src at dst + offset.
func StoreMem(dst Register, offset int16, src Register, w Width) Instruction {
	return Instruction{code: classSTX | modeMemory | uint8(w), dst: dst, src: src, offset: offset}
}

// StoreImm stores a value at dst + offset.
func StoreImm(dst Register, offset int16, value int64, w Width) Instruction {
	return Instruction{code: classST | modeMemory | uint8(w), dst: dst, offset: offset, constant: value}
}

// LoadInd has R0 be what is in the frame at src + offset, from the network's order; from beyond
// its end it ends the program with 0. R6 has the frame (RFC 9669, section 5.5).
func LoadInd(src Register, offset int32, w Width) Instruction {
	return Instruction{code: classLD | modeIndirect | uint8(w), src: src, constant: int64(offset)}
}

// LoadImm has dst be 64 bits.
func LoadImm(dst Register, value int64) Instruction {
	return Instruction{code: classLD | modeImmediate | uint8(DWord), dst: dst, constant: value, wide: true}
}

// LoadMapPtr has dst be a map, given its descriptor.
func LoadMapPtr(dst Register, fd int) Instruction {
	i := LoadImm(dst, int64(uint32(fd)))
	i.src = pseudoMap
	return i
}

// LoadMapValue has dst be where the only value of an array is in memory, and offset bytes on.
func LoadMapValue(dst Register, fd int, offset uint32) Instruction {
	i := LoadImm(dst, int64(uint64(offset)<<32|uint64(uint32(fd))))
	i.src = pseudoValue
	return i
}
