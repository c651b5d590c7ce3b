package bpf

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// assemble returns a program's instructions as filters take them.
func assemble(t testing.TB, program ...bpf.Instruction) []Instruction {
	t.Helper()
	raw, err := bpf.Assemble(program)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestCheckProgram(t *testing.T) {
	ret := Instruction{Op: unix.BPF_RET | unix.BPF_K}
	longest := slices.Repeat([]Instruction{ret}, unix.BPF_MAXINSNS)
	for _, tt := range []struct {
		name string
		code []Instruction
		want bool
	}{
		{"nothing", nil, false},
		{"return", []Instruction{ret}, true},
		{"no return", []Instruction{{Op: unix.BPF_LD | unix.BPF_IMM}}, false},
		{"return X", []Instruction{{Op: unix.BPF_RET | unix.BPF_X}}, false},
		{"too long", append(longest, ret), false},
		{"unknown load", []Instruction{{Op: unix.BPF_LD | unix.BPF_MSH | unix.BPF_B}, ret}, false},
		{"odd size", []Instruction{{Op: unix.BPF_LD | unix.BPF_ABS | 0x18}, ret}, false},
		{"the first byte", []Instruction{{Op: unix.BPF_LD | unix.BPF_ABS | unix.BPF_B}, ret}, true},
		{"first extension", []Instruction{{Op: unix.BPF_LD | unix.BPF_ABS, K: 0xfffff000}, ret}, true},
		{"longest", longest, true},
		{"cell 16 loaded", []Instruction{{Op: unix.BPF_ST, K: 15}, {Op: unix.BPF_LD | unix.BPF_MEM, K: 16}, ret}, false},
		{"cell 16 loaded to X", []Instruction{{Op: unix.BPF_ST, K: 15}, {Op: unix.BPF_LDX | unix.BPF_MEM, K: 16}, ret}, false},
		{"no such cell behind a jump", []Instruction{{Op: unix.BPF_JMP | unix.BPF_JA}, {Op: unix.BPF_LD | unix.BPF_MEM, K: 0xffffffff}, ret}, false},
		{"shift by 31", []Instruction{{Op: unix.BPF_ALU | unix.BPF_LSH, K: 31}, ret}, true},
		{"jump to the last", []Instruction{{Op: unix.BPF_JMP | unix.BPF_JA, K: 1}, ret, ret}, true},
		{"branches to the last", []Instruction{{Op: unix.BPF_JMP | unix.BPF_JEQ, Jt: 1, Jf: 1}, ret, ret}, true},
		{"last extension", []Instruction{{Op: unix.BPF_LD | unix.BPF_ABS, K: 0xfffff03c}, ret}, true},
		{"beyond it", []Instruction{{Op: unix.BPF_LD | unix.BPF_ABS, K: 0xfffff040}, ret}, false},
		{"between two", []Instruction{{Op: unix.BPF_LD | unix.BPF_ABS, K: 0xfffff002}, ret}, false},
		{"below them", []Instruction{{Op: unix.BPF_LD | unix.BPF_ABS, K: 0xffffefff}, ret}, true},
		{"divide by 0", []Instruction{{Op: unix.BPF_ALU | unix.BPF_DIV}, ret}, false},
		{"divide by X", []Instruction{{Op: unix.BPF_ALU | unix.BPF_DIV | unix.BPF_X}, ret}, true},
		{"shift by 32", []Instruction{{Op: unix.BPF_ALU | unix.BPF_LSH, K: 32}, ret}, false},
		{"unknown calculation", []Instruction{{Op: unix.BPF_ALU | 0xb0}, ret}, false},
		{"cell 16", []Instruction{{Op: unix.BPF_ST, K: 16}, ret}, false},
		{"store and load", []Instruction{{Op: unix.BPF_ST, K: 15}, {Op: unix.BPF_LD | unix.BPF_MEM, K: 15}, ret}, true},
		{"load first", []Instruction{{Op: unix.BPF_LD | unix.BPF_MEM, K: 15}, ret}, false},
		{"stored on one way only", []Instruction{{Op: unix.BPF_JMP | unix.BPF_JEQ, Jt: 1}, {Op: unix.BPF_ST}, {Op: unix.BPF_LD | unix.BPF_MEM}, ret}, false},
		{"jumped over the store", []Instruction{{Op: unix.BPF_JMP | unix.BPF_JA, K: 1}, {Op: unix.BPF_ST}, {Op: unix.BPF_LD | unix.BPF_MEM}, ret}, false},
		{"stored before the jump", []Instruction{{Op: unix.BPF_ST}, {Op: unix.BPF_JMP | unix.BPF_JA, K: 1}, ret, {Op: unix.BPF_LD | unix.BPF_MEM}, ret}, true},
		{"stored on both", []Instruction{{Op: unix.BPF_ST}, {Op: unix.BPF_JMP | unix.BPF_JEQ, Jt: 1}, {Op: unix.BPF_ST}, {Op: unix.BPF_LDX | unix.BPF_MEM}, ret}, true},
		{"jump to the end", []Instruction{{Op: unix.BPF_JMP | unix.BPF_JA, K: 1}, ret}, false},
		{"jump far", []Instruction{{Op: unix.BPF_JMP | unix.BPF_JA, K: 0xffffffff}, ret}, false},
		{"branch beyond", []Instruction{{Op: unix.BPF_JMP | unix.BPF_JEQ, Jf: 1}, ret}, false},
		{"unknown branch", []Instruction{{Op: unix.BPF_JMP | 0x50}, ret}, false},
		{"misc", []Instruction{{Op: unix.BPF_MISC | 0x40}, ret}, false},
	} {
		if got := check(tt.code); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestFindAttribute(t *testing.T) {
	attribute := func(typ uint16, data ...byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
		b = append(binary.NativeEndian.AppendUint16(b, typ), data...)
		return append(b, make([]byte, -len(b)&3)...)
	}
	inner := append(attribute(7, 1), attribute(8, 1, 2, 3, 4)...)
	data := append(append([]byte("head"), attribute(1, 9)...), attribute(2|0x8000, inner...)...)
	if at := findNested(data[12:], 0, 8); at != 12 {
		t.Errorf("nested at the beginning: %d", at)
	}
	empty := append(attribute(5), attribute(6)...)
	if at := findAttribute(empty, 0, 6); at != 4 {
		t.Errorf("behind an empty one: %d", at)
	}
	if at := findNested(empty, 0, 6); at != 0 {
		t.Errorf("nested in an empty one: %d", at)
	}
	for name, n := range map[string]uint16{"too short": 3, "too long": 9} {
		bad := append(binary.NativeEndian.AppendUint16(nil, n), 6, 0)
		if at := findAttribute(append(bad, attribute(6)...), 0, 6); at != 0 {
			t.Errorf("%s an attribute ends the list, but one is found at %d", name, at)
		}
	}
	for _, tt := range []struct {
		nested        bool
		from, typ, at uint32
	}{
		{false, 4, 1, 4}, {false, 4, 2, 12}, {false, 4, 3, 0}, {false, 12, 2, 12}, {false, 1 << 31, 2, 0}, {false, 0xffffffff, 2, 0},
		{false, uint32(len(data)), 1, 0}, {true, 12, 7, 16}, {true, 12, 8, 24}, {true, 12, 9, 0}, {true, 1 << 30, 7, 0}, {true, 0xfffffffd, 7, 0},
	} {
		find := findAttribute
		if tt.nested {
			find = findNested
		}
		if got := find(data, tt.from, tt.typ); got != tt.at {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

// FuzzProgram runs whatever is accepted: it ends, and reads nothing beyond. What
// x/net's machine takes, which knows no extensions, has the same result.
func FuzzProgram(f *testing.F) {
	f.Add([]byte{unix.BPF_RET, 0, 0, 0, 1, 0, 0, 0}, []byte("data"))
	f.Add([]byte{0x28, 0, 0, 0, 2, 0, 0, 0, 0x16, 0, 0, 0, 0, 0, 0, 0}, []byte("data"))
	f.Add([]byte{0x20, 0, 0, 0, 0x34, 0xf0, 0xff, 0xff, 0x16, 0, 0, 0, 0, 0, 0, 0}, []byte{69, 0, 0, 30})
	f.Fuzz(func(t *testing.T, b, data []byte) {
		var code []Instruction
		for ; len(b) >= 8; b = b[8:] {
			code = append(code, Instruction{Op: binary.LittleEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.LittleEndian.Uint32(b[4:])})
		}
		if !check(code) {
			return
		}
		for _, i := range code {
			if i.Op&0xe7 == unix.BPF_LD|unix.BPF_ABS && int(int32(i.K))-skfAncillary == adRandom {
				return // no two runs are the same
			}
		}
		program := Program{code}
		got := program.Run(&View{Data: data, Network: data, EtherType: unix.ETH_P_IP})
		for _, i := range code {
			if i.Op&0xe7 == unix.BPF_LD|unix.BPF_IND || i.Op&0xe7 == unix.BPF_LD|unix.BPF_ABS && int32(i.K) < 0 ||
				i.Op&0x07 == unix.BPF_LDX && i.Op&0xe0 >= unix.BPF_LEN || i.Op&0x07 == unix.BPF_ALU && i.Op&unix.BPF_X != 0 {
				return // offsets below 0, LDX LEN, and division and shifts, of which x/net has another idea
			}
		}
		instructions, ok := bpf.Disassemble(code)
		if !ok {
			return
		}
		vm, err := bpf.NewVM(instructions)
		if err != nil {
			return
		}
		if want, err := vm.Run(data); err == nil && uint32(want) != got {
			t.Fatalf("%v on % x: %d, x/net has %d", instructions, data, got, want)
		}
	})
}

func TestRunAllocs(t *testing.T) {
	program := Program{assemble(t, bpf.LoadExtension{Num: bpf.ExtPayloadOffset}, bpf.LoadIndirect{Size: 2}, bpf.RetA{})}
	data := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		v := View{Host: host{}, Data: data, Network: data, EtherType: unix.ETH_P_IP}
		program.Run(&v)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
