package bpf

import "golang.org/x/sys/unix"

// calculate returns what becomes of A.
func calculate(i *Instruction, a, x uint32) (uint32, bool) {
	v := i.K
	if i.Op&unix.BPF_X != 0 {
		v = x
	}
	switch i.Op & 0xf0 {
	case unix.BPF_ADD:
		a += v
	case unix.BPF_SUB:
		a -= v
	case unix.BPF_MUL:
		a *= v
	case unix.BPF_DIV:
		if v == 0 {
			return 0, false
		}
		a /= v
	case unix.BPF_MOD:
		if v == 0 {
			return 0, false
		}
		a %= v
	case unix.BPF_AND:
		a &= v
	case unix.BPF_OR:
		a |= v
	case unix.BPF_XOR:
		a ^= v
	case unix.BPF_LSH:
		a <<= v & 31
	case unix.BPF_RSH:
		a >>= v & 31
	default: // BPF_NEG
		a = -a
	}
	return a, true
}

// jump returns how many instructions are passed over.
func jump(i *Instruction, a, x uint32) int {
	v := i.K
	if i.Op&unix.BPF_X != 0 {
		v = x
	}
	var yes bool
	switch i.Op & 0xf0 {
	case unix.BPF_JA:
		return int(i.K)
	case unix.BPF_JEQ:
		yes = a == v
	case unix.BPF_JGT:
		yes = a > v
	case unix.BPF_JGE:
		yes = a >= v
	default: // BPF_JSET
		yes = a&v != 0
	}
	if yes {
		return int(i.Jt)
	}
	return int(i.Jf)
}
