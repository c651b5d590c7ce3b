package bpf

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// An Instruction is one instruction as SO_ATTACH_FILTER takes it (struct
// sock_filter in linux/filter.h).
type Instruction = bpf.RawInstruction

// memory is how many cells of memory a program has (BPF_MEMWORDS).
const memory = 16

// A Program is a classic BPF program that may be run. Any goroutines may run one
// at once, each on a View of its own.
type Program struct{ code []Instruction }

// New returns a program of instructions, which it copies; false if Linux would
// refuse them (EINVAL).
func New(code []Instruction) (*Program, bool) {
	if !check(code) {
		return nil, false
	}
	return &Program{slices.Clone(code)}, true
}

// Run runs the program on what v shows, and returns what it returns: of a filter
// how many bytes to keep. A program that reads where there is nothing, or
// divides by 0, returns 0. Run allocates nothing and ends after at most
// BPF_MAXINSNS instructions, since programs jump forward only.
func (p *Program) Run(v *View) uint32 {
	var a, x uint32
	var m [memory]uint32
	for pc := 0; ; pc++ {
		i := &p.code[pc]
		ok := true
		switch i.Op & 0x07 {
		case unix.BPF_LD:
			a, ok = v.load(i, a, x, &m)
		case unix.BPF_LDX:
			x, ok = v.loadIndex(i, &m)
		case unix.BPF_ST:
			m[i.K] = a
		case unix.BPF_STX:
			m[i.K] = x
		case unix.BPF_ALU:
			a, ok = calculate(i, a, x)
		case unix.BPF_JMP:
			pc += jump(i, a, x)
		case unix.BPF_RET:
			if i.Op == unix.BPF_RET|unix.BPF_A {
				return a
			}
			return i.K
		default: // BPF_MISC
			if i.Op == unix.BPF_MISC|unix.BPF_TXA {
				a = x
			} else {
				x = a
			}
		}
		if !ok {
			return 0
		}
	}
}
