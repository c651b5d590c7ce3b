// Package asm assembles programs for the kernel's eBPF machine (RFC 9669): as much of it as the
// programs here are made of. Instructions are made by functions named after what they do,
//
//	asm.Instructions{
//		asm.LoadMem(asm.R2, asm.R1, 16, asm.Word),
//		asm.JNE.Imm(asm.R2, 8, "next"),
//		asm.Mov.Imm(asm.R0, 2),
//		asm.Return(),
//		asm.Mov.Imm(asm.R0, -1).WithSymbol("next"),
//		asm.Return(),
//	}
//
// and Assemble makes of them what bpf(2) takes.
package asm
