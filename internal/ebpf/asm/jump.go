package asm

// A JumpOp is a condition of a jump (RFC 9669, section 4.3).
type JumpOp uint8

// The conditions: JSet is that both have a bit, JSGT compares with signs, the others without.
const (
	Ja   JumpOp = 0x00
	JEq  JumpOp = 0x10
	JGT  JumpOp = 0x20
	JSet JumpOp = 0x40
	JNE  JumpOp = 0x50
	JSGT JumpOp = 0x60
	JLT  JumpOp = 0xa0
	JLE  JumpOp = 0xb0
)

// Imm goes to a name if dst op value holds.
func (op JumpOp) Imm(dst Register, value int32, to string) Instruction {
	return Instruction{code: uint8(op) | classJump | fromConstant, dst: dst, constant: int64(value), to: to}
}

// Imm32 is Imm for the lower 32 bits.
func (op JumpOp) Imm32(dst Register, value int32, to string) Instruction {
	return Instruction{code: uint8(op) | classJump32 | fromConstant, dst: dst, constant: int64(value), to: to}
}

// Reg goes to a name if dst op src holds.
func (op JumpOp) Reg(dst, src Register, to string) Instruction {
	return Instruction{code: uint8(op) | classJump | fromRegister, dst: dst, src: src, to: to}
}

// Label goes to a name always: it is Ja's.
func (op JumpOp) Label(to string) Instruction {
	return Instruction{code: uint8(op) | classJump, to: to}
}

// A Helper is a function of the kernel's (bpf-helpers(7)).
type Helper int32

// The helpers.
const (
	FnMapLookupElem Helper = 1
	FnMapUpdateElem Helper = 2
	FnMapDeleteElem Helper = 3
	FnKtimeGetNs    Helper = 5
	FnSkbLoadBytes  Helper = 26
)

// Call calls a helper, with arguments in R1 to R5 and its result in R0.
func (h Helper) Call() Instruction {
	return Instruction{code: opCall | classJump, constant: int64(h)}
}

// Return ends the program with R0.
func Return() Instruction { return Instruction{code: opExit | classJump} }
