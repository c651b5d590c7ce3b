package bpf

import "golang.org/x/sys/unix"

// check reports whether a classic BPF program may be run: Linux'
// bpf_check_classic. It ends with a return, jumps forward and not beyond its end,
// loads no cell of memory that was not stored to on every way there, and has known
// instructions only.
func check(code []Instruction) bool {
	if len(code) == 0 || len(code) > unix.BPF_MAXINSNS {
		return false
	}
	for pc := range code {
		if !checkInstruction(&code[pc], len(code)-pc-1) {
			return false
		}
	}
	switch code[len(code)-1].Op {
	case unix.BPF_RET | unix.BPF_K, unix.BPF_RET | unix.BPF_A:
		return checkMemory(code)
	}
	return false
}

// checkInstruction checks one instruction, behind which are left others.
func checkInstruction(i *Instruction, left int) bool {
	switch i.Op & 0x07 {
	case unix.BPF_LD:
		return checkLoad(i)
	case unix.BPF_LDX:
		switch i.Op { // whether a cell is there, checkMemory asks
		case unix.BPF_LDX | unix.BPF_IMM, unix.BPF_LDX | unix.BPF_W | unix.BPF_LEN, unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH,
			unix.BPF_LDX | unix.BPF_MEM:
			return true
		}
		return false
	case unix.BPF_ST, unix.BPF_STX:
		return (i.Op == unix.BPF_ST || i.Op == unix.BPF_STX) && i.K < memory
	case unix.BPF_ALU:
		return checkCalculation(i)
	case unix.BPF_JMP:
		return checkJump(i, left)
	case unix.BPF_RET:
		return i.Op == unix.BPF_RET|unix.BPF_K || i.Op == unix.BPF_RET|unix.BPF_A
	default:
		return i.Op == unix.BPF_MISC|unix.BPF_TAX || i.Op == unix.BPF_MISC|unix.BPF_TXA
	}
}

func checkLoad(i *Instruction) bool {
	switch i.Op {
	case unix.BPF_LD | unix.BPF_IMM, unix.BPF_LD | unix.BPF_W | unix.BPF_LEN, unix.BPF_LD | unix.BPF_MEM:
		return true
	}
	if size := i.Op & 0x18; size != unix.BPF_W && size != unix.BPF_H && size != unix.BPF_B {
		return false
	}
	switch i.Op &^ 0x18 {
	case unix.BPF_LD | unix.BPF_IND:
		return true
	case unix.BPF_LD | unix.BPF_ABS:
		k := int(int32(i.K))
		return k >= 0 || k < skfAncillary || (k-skfAncillary)%4 == 0 && k-skfAncillary <= adTagType
	}
	return false
}

func checkCalculation(i *Instruction) bool {
	if i.Op&^(0xf0|unix.BPF_X) != unix.BPF_ALU {
		return false
	}
	constant := i.Op&unix.BPF_X == 0
	switch i.Op & 0xf0 {
	case unix.BPF_ADD, unix.BPF_SUB, unix.BPF_MUL, unix.BPF_AND, unix.BPF_OR, unix.BPF_XOR:
		return true
	case unix.BPF_DIV, unix.BPF_MOD:
		return !constant || i.K != 0
	case unix.BPF_LSH, unix.BPF_RSH:
		return !constant || i.K < 32
	case unix.BPF_NEG:
		return constant
	}
	return false
}

func checkJump(i *Instruction, left int) bool {
	if i.Op&^(0xf0|unix.BPF_X) != unix.BPF_JMP {
		return false
	}
	switch i.Op & 0xf0 {
	case unix.BPF_JA:
		return i.Op&unix.BPF_X == 0 && i.K < uint32(left)
	case unix.BPF_JEQ, unix.BPF_JGT, unix.BPF_JGE, unix.BPF_JSET:
		return int(i.Jt) < left && int(i.Jf) < left
	}
	return false
}

// checkMemory reports whether every cell that is loaded was stored to before, on
// every way (check_load_and_stores in Linux): so there is no cell beyond the last.
func checkMemory(code []Instruction) bool {
	// stored has, by instruction, the cells that are stored to on every way there.
	stored := make([]uint16, len(code))
	for i := range stored {
		stored[i] = 0xffff
	}
	cells := uint16(0)
	for pc := range code {
		i := &code[pc]
		cells &= stored[pc]
		switch i.Op & 0x07 {
		case unix.BPF_ST, unix.BPF_STX:
			cells |= 1 << i.K
		case unix.BPF_JMP:
			if i.Op == unix.BPF_JMP|unix.BPF_JA {
				stored[pc+1+int(i.K)] &= cells
			} else {
				stored[pc+1+int(i.Jt)] &= cells
				stored[pc+1+int(i.Jf)] &= cells
			}
			cells = 0xffff
		case unix.BPF_LD, unix.BPF_LDX:
			if i.Op&0xe0 == unix.BPF_MEM && cells&(1<<i.K) == 0 {
				return false
			}
		}
	}
	return true
}
