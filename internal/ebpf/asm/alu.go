package asm

// Classes of instructions, and where the second operand is (RFC 9669, section 3).
const (
	classLD, classLDX, classST, classSTX         = 0, 1, 2, 3
	classALU, classJump, classJump32, classALU64 = 4, 5, 6, 7
	fromConstant, fromRegister                   = 0x00, 0x08
	modeImmediate, modeIndirect, modeMemory      = 0x00, 0x40, 0x60
	opCall, opExit, opEnd                        = 0x80, 0x90, 0xd0
)

// An ALUOp is an operation of arithmetic (RFC 9669, section 4.1), on 64 bits, or on 32, which zeros
// the upper half.
type ALUOp uint8

// The operations. Mod leaves the remainder without sign, RSh shifts zeros in.
const (
	Add ALUOp = 0x00
	Sub ALUOp = 0x10
	Mul ALUOp = 0x20
	Or  ALUOp = 0x40
	And ALUOp = 0x50
	LSh ALUOp = 0x60
	RSh ALUOp = 0x70
	Mod ALUOp = 0x90
	Mov ALUOp = 0xb0
)

// Imm has dst be dst op value.
func (op ALUOp) Imm(dst Register, value int32) Instruction {
	return Instruction{code: uint8(op) | classALU64 | fromConstant, dst: dst, constant: int64(value)}
}

// Reg has dst be dst op src.
func (op ALUOp) Reg(dst, src Register) Instruction {
	return Instruction{code: uint8(op) | classALU64 | fromRegister, dst: dst, src: src}
}

// Imm32 is Imm on 32 bits.
func (op ALUOp) Imm32(dst Register, value int32) Instruction {
	return Instruction{code: uint8(op) | classALU | fromConstant, dst: dst, constant: int64(value)}
}

// Reg32 is Reg on 32 bits.
func (op ALUOp) Reg32(dst, src Register) Instruction {
	return Instruction{code: uint8(op) | classALU | fromRegister, dst: dst, src: src}
}

// An Endianness is an order of bytes.
type Endianness uint8

// BE is the network's.
const BE Endianness = 0x08

// HostTo has a number of 2, 4 or 8 bytes in dst be in another order, and the rest zero (RFC
// 9669, section 4.2).
func HostTo(order Endianness, dst Register, w Width) Instruction {
	return Instruction{code: classALU | opEnd | uint8(order), dst: dst, constant: int64(8 * w.bytes())}
}
