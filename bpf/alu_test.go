package bpf

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestCalculate has each calculation with a constant and with X.
func TestCalculate(t *testing.T) {
	for _, tt := range []struct {
		name       string
		op         uint16
		a, v, want uint32
		refused    bool
	}{
		{"add", unix.BPF_ADD, 0xffffffff, 3, 2, false},
		{"subtract", unix.BPF_SUB, 2, 3, 0xffffffff, false},
		{"multiply", unix.BPF_MUL, 0x10001, 0x10001, 0x20001, false},
		{"divide", unix.BPF_DIV, 20, 6, 3, false},
		{"divide by 0", unix.BPF_DIV, 20, 0, 0, true},
		{"remainder", unix.BPF_MOD, 20, 6, 2, false},
		{"remainder of 0", unix.BPF_MOD, 20, 0, 0, true},
		{"and", unix.BPF_AND, 12, 10, 8, false},
		{"or", unix.BPF_OR, 12, 10, 14, false},
		{"xor", unix.BPF_XOR, 12, 10, 6, false},
		{"shift left", unix.BPF_LSH, 3, 4, 48, false},
		{"shift right", unix.BPF_RSH, 48, 4, 3, false},
	} {
		for _, src := range []uint16{unix.BPF_K, unix.BPF_X} {
			i := Instruction{Op: unix.BPF_ALU | tt.op | src}
			x := uint32(77)
			if src == unix.BPF_X {
				i.K, x = 99, tt.v
			} else {
				i.K = tt.v
			}
			if got, ok := calculate(&i, tt.a, x); ok == tt.refused || got != tt.want {
				t.Errorf("%s, source %d: %d, %t", tt.name, src, got, ok)
			}
		}
	}
	if got, _ := calculate(&Instruction{Op: unix.BPF_ALU | unix.BPF_NEG}, 5, 0); got != 0xfffffffb {
		t.Errorf("negate: %#x", got)
	}
	for _, op := range []uint16{unix.BPF_LSH, unix.BPF_RSH} {
		if got, _ := calculate(&Instruction{Op: unix.BPF_ALU | op | unix.BPF_X}, 6, 33); got != map[uint16]uint32{unix.BPF_LSH: 12, unix.BPF_RSH: 3}[op] {
			t.Errorf("shift by 33 as by 1: %d", got)
		}
	}
}

func TestJump(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   uint16
		a, v uint32
		yes  bool
	}{
		{"equal", unix.BPF_JEQ, 5, 5, true}, {"not equal", unix.BPF_JEQ, 5, 6, false},
		{"greater", unix.BPF_JGT, 6, 5, true}, {"not greater", unix.BPF_JGT, 5, 5, false},
		{"at least", unix.BPF_JGE, 5, 5, true}, {"less", unix.BPF_JGE, 4, 5, false},
		{"bits", unix.BPF_JSET, 6, 2, true}, {"no bits", unix.BPF_JSET, 6, 8, false},
		{"unsigned", unix.BPF_JGT, 0x80000000, 1, true},
	} {
		for _, src := range []uint16{unix.BPF_K, unix.BPF_X} {
			i, x := Instruction{Op: unix.BPF_JMP | tt.op | src, Jt: 1, Jf: 2}, uint32(77)
			if src == unix.BPF_X {
				i.K, x = 99, tt.v
			} else {
				i.K = tt.v
			}
			if got, want := jump(&i, tt.a, x), map[bool]int{true: 1, false: 2}[tt.yes]; got != want {
				t.Errorf("%s, source %d: passes over %d", tt.name, src, got)
			}
		}
	}
	if got := jump(&Instruction{Op: unix.BPF_JMP | unix.BPF_JA, K: 70000}, 0, 0); got != 70000 {
		t.Errorf("always: passes over %d", got)
	}
}

// TestLoads has each way to load, and the last byte that each size may read.
func TestLoads(t *testing.T) {
	data := []byte{1, 2, 3, 4, 5, 0x47}
	ld, ldx := uint16(unix.BPF_LD), uint16(unix.BPF_LDX)
	for _, tt := range []struct {
		name string
		code []Instruction
		want uint32
	}{
		{"constant", []Instruction{{Op: ld | unix.BPF_IMM, K: 9}}, 9},
		{"length", []Instruction{{Op: ld | unix.BPF_W | unix.BPF_LEN}}, 6},
		{"byte", []Instruction{{Op: ld | unix.BPF_B | unix.BPF_ABS, K: 5}}, 0x47},
		{"byte beyond", []Instruction{{Op: ld | unix.BPF_B | unix.BPF_ABS, K: 6}}, 0},
		{"byte far beyond", []Instruction{{Op: ld | unix.BPF_B | unix.BPF_ABS, K: 7}}, 0},
		{"half", []Instruction{{Op: ld | unix.BPF_H | unix.BPF_ABS, K: 4}}, 0x0547},
		{"half beyond", []Instruction{{Op: ld | unix.BPF_H | unix.BPF_ABS, K: 5}}, 0},
		{"word", []Instruction{{Op: ld | unix.BPF_W | unix.BPF_ABS, K: 2}}, 0x03040547},
		{"word beyond", []Instruction{{Op: ld | unix.BPF_W | unix.BPF_ABS, K: 3}}, 0},
		{"indirect", []Instruction{{Op: ldx | unix.BPF_IMM, K: 2}, {Op: ld | unix.BPF_B | unix.BPF_IND, K: 1}}, 4},
		{"memory", []Instruction{{Op: ld | unix.BPF_IMM, K: 8}, {Op: unix.BPF_ST, K: 15}, {Op: ld | unix.BPF_IMM}, {Op: ld | unix.BPF_MEM, K: 15}}, 8},
		{"X from memory", []Instruction{{Op: ldx | unix.BPF_IMM, K: 8}, {Op: unix.BPF_STX, K: 1}, {Op: ldx | unix.BPF_MEM, K: 1}, {Op: unix.BPF_MISC | unix.BPF_TXA}}, 8},
		{"X, the length", []Instruction{{Op: ldx | unix.BPF_W | unix.BPF_LEN}, {Op: unix.BPF_MISC | unix.BPF_TXA}}, 6},
		{"X, a header's length", []Instruction{{Op: ldx | unix.BPF_B | unix.BPF_MSH, K: 5}, {Op: unix.BPF_MISC | unix.BPF_TXA}}, 28},
		{"X from A", []Instruction{{Op: ld | unix.BPF_IMM, K: 8}, {Op: unix.BPF_MISC | unix.BPF_TAX}, {Op: ld | unix.BPF_IMM}, {Op: unix.BPF_MISC | unix.BPF_TXA}}, 8},
	} {
		p, ok := New(append(tt.code, Instruction{Op: unix.BPF_RET | unix.BPF_A}))
		if !ok {
			t.Fatalf("%s: refused", tt.name)
		}
		if got := p.Run(&View{Data: data}); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, got, tt.want)
		}
	}
}
