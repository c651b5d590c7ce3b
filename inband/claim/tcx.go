package claim

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Verdicts of a TCX program (linux/bpf.h).
const (
	tcxNext = -1 // go on: to the next program, then to the kernel
	tcxDrop = 2  // TC_ACT_SHOT
)

// Places of the counters of a device: see Stats.
const (
	counterDropped = 0
	counterPassed  = 8
)

// newTCX loads the program for TCX ingress.
func newTCX(m *maps) (*ebpf.Program, error) { return (&builder{maps: m}).loadTCX() }

func (b *builder) loadTCX() (*ebpf.Program, error) {
	b.add(asm.Mov.Reg(context, asm.R1))
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
	return ebpf.NewProgram(&ebpf.ProgramSpec{Name: "oob_claim", Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: b.Instructions})
}

// counter adds result to a counter of the device, and goes to done.
func (b *builder) counter(at int16, done string) {
	b.add(asm.LoadMem(asm.R1, context, skbDevice, asm.Word), asm.StoreMem(asm.RFP, deviceAt, asm.R1, asm.Word))
	b.lookup(b.maps.counters.FD(), deviceAt)
	b.add(asm.JEq.Imm(asm.R0, 0, done),
		asm.LoadMem(asm.R1, asm.R0, at, asm.DWord), asm.Add.Reg(asm.R1, result), asm.StoreMem(asm.R0, at, asm.R1, asm.DWord))
}
