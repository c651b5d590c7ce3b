package claim

import (
	"github.com/outband/outband/internal/ebpf"
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Verdicts of a TCX program (linux/bpf.h).
const (
	tcxNext = -1 // go on: to the next program, then to the kernel
	tcxDrop = 2  // TC_ACT_SHOT
)

// newTCX loads the program for TCX ingress.
func newTCX(m *maps) (*ebpf.Program, error) { return (&builder{maps: m}).loadTCX() }

func (b *builder) loadTCX() (*ebpf.Program, error) {
	b.add(asm.Mov.Reg(context, asm.R1))
	b.noted()
	b.fast()
	b.label("slow")
	b.slowTCX()
	return b.program("oob_claim", ebpf.SchedCLS)
}

// slowTCX is the program without notes and the fast path.
func (b *builder) slowTCX() {
	b.begin()
	b.add(asm.JNE.Imm(flags, unix.IPPROTO_UDP, "leave"), asm.JSet.Imm(fragment, fragmentOffset, "fragment"))
	b.datagramPorts()
	b.match()
	b.verdict()
	b.label("take")
	b.add(asm.LoadMem(result, context, skbSegments, asm.Word), asm.JNE.Imm(result, 0, "segments"), asm.Mov.Imm(result, 1))
	b.label("segments")
	b.counter(counterDropped, "drop")
	b.label("drop")
	b.add(asm.Mov.Imm(asm.R0, tcxDrop), asm.Return())
	b.label("passed")
	b.add(asm.Mov.Imm(result, 1))
	b.counter(counterPassed, "leave")
	b.label("leave")
	b.add(asm.Mov.Imm(asm.R0, tcxNext), asm.Return())
}
