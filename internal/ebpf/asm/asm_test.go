package asm

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	theirs "github.com/cilium/ebpf/asm"
)

// Every instruction has the bytes that another assembler gives it.
func TestInstructions(t *testing.T) {
	jumps := func(op JumpOp, their theirs.JumpOp) []pair {
		return []pair{
			{op.Imm(R3, -7, "end"), their.Imm(theirs.R3, -7, "end")},
			{op.Imm32(R4, 1<<30, "end"), their.Imm32(theirs.R4, 1<<30, "end")},
			{op.Reg(R5, RFP, "end"), their.Reg(theirs.R5, theirs.RFP, "end")},
		}
	}
	sums := func(op ALUOp, their theirs.ALUOp) []pair {
		return []pair{
			{op.Imm(R0, -1), their.Imm(theirs.R0, -1)}, {op.Imm32(R1, 77), their.Imm32(theirs.R1, 77)},
			{op.Reg(R2, R9), their.Reg(theirs.R2, theirs.R9)}, {op.Reg32(R8, R7), their.Reg32(theirs.R8, theirs.R7)},
		}
	}
	var all []pair
	for op, their := range map[ALUOp]theirs.ALUOp{Add: theirs.Add, Sub: theirs.Sub, Mul: theirs.Mul, Or: theirs.Or, And: theirs.And,
		LSh: theirs.LSh, RSh: theirs.RSh, Mod: theirs.Mod, Mov: theirs.Mov} {
		all = append(all, sums(op, their)...)
	}
	for op, their := range map[JumpOp]theirs.JumpOp{JEq: theirs.JEq, JGT: theirs.JGT, JSet: theirs.JSet, JNE: theirs.JNE, JSGT: theirs.JSGT,
		JLT: theirs.JLT, JLE: theirs.JLE} {
		all = append(all, jumps(op, their)...)
	}
	for w, their := range map[Width]theirs.Size{Word: theirs.Word, Half: theirs.Half, Byte: theirs.Byte, DWord: theirs.DWord} {
		all = append(all, pair{LoadMem(R1, RFP, -8, w), theirs.LoadMem(theirs.R1, theirs.RFP, -8, their)},
			pair{StoreMem(RFP, -16, R2, w), theirs.StoreMem(theirs.RFP, -16, theirs.R2, their)})
		if w != DWord {
			all = append(all, pair{StoreImm(R3, 12, -5, w), theirs.StoreImm(theirs.R3, 12, -5, their)}, pair{LoadInd(R7, 30, w), theirs.LoadInd(theirs.R0, theirs.R7, 30, their)})
		}
		if w != Byte {
			all = append(all, pair{HostTo(BE, R5, w), theirs.HostTo(theirs.BE, theirs.R5, their)})
		}
	}
	for h, their := range map[Helper]theirs.BuiltinFunc{FnMapLookupElem: theirs.FnMapLookupElem, FnMapUpdateElem: theirs.FnMapUpdateElem,
		FnMapDeleteElem: theirs.FnMapDeleteElem, FnKtimeGetNs: theirs.FnKtimeGetNs, FnSkbLoadBytes: theirs.FnSkbLoadBytes} {
		all = append(all, pair{h.Call(), their.Call()})
	}
	all = append(all, pair{Ja.Label("end"), theirs.Ja.Label("end")}, pair{Return(), theirs.Return()},
		pair{LoadImm(R6, -0x123456789abcdef), theirs.LoadImm(theirs.R6, -0x123456789abcdef, theirs.DWord)},
		pair{LoadMapPtr(R1, 9), theirs.LoadMapPtr(theirs.R1, 9)}, pair{LoadMapValue(R2, 9, 1<<31), theirs.LoadMapValue(theirs.R2, 9, 1<<31)})
	for _, p := range all {
		compare(t, Instructions{p.ours, Return().WithSymbol("end")}, theirs.Instructions{p.theirs, theirs.Return().WithSymbol("end")})
	}
}

type pair struct {
	ours   Instruction
	theirs theirs.Instruction
}

func compare(t *testing.T, ours Instructions, their theirs.Instructions) {
	t.Helper()
	var want bytes.Buffer
	var order binary.ByteOrder = binary.LittleEndian
	if !little {
		order = binary.BigEndian
	}
	if err := their.Marshal(&want, order); err != nil {
		t.Fatalf("%v: %v", their, err)
	}
	if got, err := ours.Assemble(); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%v is %x, %v; want %x", their, got, err, want.Bytes())
	}
}

// Jumps go over instructions of one place and of two, forward and back.
func TestJumps(t *testing.T) {
	compare(t, Instructions{
		Mov.Imm(R0, 0).WithSymbol("first"), Ja.Label("last"), LoadImm(R1, 1), JEq.Imm(R1, 1, "first"), LoadMapPtr(R2, 3).WithSymbol("mid"),
		JNE.Reg(R1, R2, "mid"), Return().WithSymbol("last"),
	}, theirs.Instructions{
		theirs.Mov.Imm(theirs.R0, 0).WithSymbol("first"), theirs.Ja.Label("last"), theirs.LoadImm(theirs.R1, 1, theirs.DWord),
		theirs.JEq.Imm(theirs.R1, 1, "first"), theirs.LoadMapPtr(theirs.R2, 3).WithSymbol("mid"),
		theirs.JNE.Reg(theirs.R1, theirs.R2, "mid"), theirs.Return().WithSymbol("last"),
	})
}

// What cannot be a program is none.
func TestRefused(t *testing.T) {
	far := Instructions{Ja.Label("end")}
	for range 1 << 15 {
		far = append(far, Mov.Imm(R0, 0))
	}
	for text, all := range map[string]Instructions{
		"nowhere": {Ja.Label("end"), Return()},
		"twice":   {Return().WithSymbol("end"), Return().WithSymbol("end")},
		"too far": append(far, Return().WithSymbol("end")),
	} {
		if b, err := all.Assemble(); b != nil || err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %d bytes, %v", text, len(b), err)
		}
	}
	if b, err := append(far[:1<<15:1<<15], Return().WithSymbol("end")).Assemble(); err != nil || len(b) != (1<<15+1)*Size {
		t.Errorf("the farthest jump: %v", err)
	}
}
