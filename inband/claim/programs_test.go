package claim

import (
	"fmt"
	"math"
	"testing"
	"time"

	cilium "github.com/cilium/ebpf"
	"github.com/outband/outband/internal/ebpf"
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"
)

// A skb is what a program is told of a frame (struct __sk_buff, linux/bpf.h), as far as
// BPF_PROG_TEST_RUN lets it be chosen.
type skb struct {
	_        [40]byte
	Device   uint32 // ifindex
	_        uint32
	Note     uint64 // cb
	NoteOn   uint32
	_        [164 - 60]byte
	Segments uint32
	_        [192 - 168]byte
}

// theirs returns a program as the other library has it, which runs it, and says what it is.
func theirs(p *ebpf.Program) (*cilium.Program, error) {
	fd, err := unix.FcntlInt(uintptr(p.FD()), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	return cilium.NewProgramFromFD(fd)
}

// theirs is theirs for a test.
func (lb *lab) theirs(p *ebpf.Program) *cilium.Program {
	lb.t.Helper()
	program, err := theirs(p)
	must(lb.t, err)
	lb.t.Cleanup(func() { program.Close() })
	return program
}

// run runs a program over a frame that came by a device, and returns the verdict and what
// it left in the context.
func (lb *lab) run(p *ebpf.Program, in skb, f []byte, repeat uint32) (verdict int32, out skb) {
	lb.t.Helper()
	if p.Type() == ebpf.SocketFilter { // which is shown what is behind an Ethernet header
		f = append(append([]byte{}, f[:etherLen]...), f...)
	}
	program, err := theirs(p)
	must(lb.t, err)
	defer program.Close()
	must(lb.t, lb.host.Do(func() error {
		v, err := program.Run(&cilium.RunOptions{Data: f, Context: in, ContextOut: &out, Repeat: repeat})
		if err != nil {
			err = fmt.Errorf("%s over %x: %w", program.Type(), f, err)
		}
		verdict = int32(v)
		return err
	}))
	return verdict, out
}

// BenchmarkPrograms measures both programs, each by itself, and TCX with what the ring's
// filter noted: the best mean of some thousand runs. The time that it takes the kernel to
// run a program of nothing is in it, "nothing".
func BenchmarkPrograms(b *testing.B) {
	lb := newLab(b)
	c := lb.attached(Options{Force: TCX})
	add(b, c, Claim{Port: 1000})
	add(b, c, Claim{Port: 1001})
	add(b, c, Claim{Port: 1002, Local: hostAddr})
	add(b, c, Claim{Port: 1003, Local: hostAddr, Peer: peerAddr, PeerPort: 5000})
	add(b, c, Claim{Port: 1004, Local: group})
	to := func(a [4]byte, port uint16) []byte {
		return lb.bytes(frame{to: a, sport: 5000, dport: port, payload: make([]byte, 64)})
	}
	cases := []struct {
		name  string
		frame []byte
	}{
		{"connected", to(hostAddr, 1003)},
		{"wildcard", to(hostAddr, 1000)},
		{"address", to(hostAddr, 1002)},
		{"group", to(group, 1004)},
		{"groupAlone", to(group, 1001)},
		{"unclaimed", to(hostAddr, 999)},
		{"forwarded", to(elsewhere, 1000)},
		{"otherPeer", lb.bytes(frame{to: hostAddr, sport: 5001, dport: 1003, payload: make([]byte, 64)})},
		{"TCP", lb.bytes(frame{to: hostAddr, protocol: unix.IPPROTO_TCP, payload: make([]byte, 84)})},
		{"options", lb.bytes(frame{to: hostAddr, dport: 1000, options: make([]byte, 4), payload: make([]byte, 64)})},
	}
	run := func(b *testing.B, p *ebpf.Program, in skb, f []byte) {
		const repeat = 5000
		best := math.Inf(1)
		for b.Loop() {
			start := time.Now()
			lb.run(p, in, f, repeat)
			best = min(best, float64(time.Since(start))/repeat)
		}
		b.ReportMetric(best, "ns/run")
		b.ReportMetric(0, "ns/op")
	}
	in := skb{Device: uint32(lb.index)}
	empty := &builder{}
	empty.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
	nothing, err := empty.program("nothing", ebpf.SocketFilter)
	must(b, err)
	defer nothing.Close()
	b.Run("nothing", func(b *testing.B) { run(b, nothing, in, cases[0].frame) })
	for _, tt := range cases {
		_, noted := lb.run(c.filter, in, tt.frame, 1)
		b.Run(tt.name+"/ring", func(b *testing.B) { run(b, c.filter, in, tt.frame) })
		b.Run(tt.name+"/tcx", func(b *testing.B) { run(b, c.tcx, in, tt.frame) })
		b.Run(tt.name+"/tcxAfterRing", func(b *testing.B) { run(b, c.tcx, noted, tt.frame) })
	}
	for i := range 10000 {
		add(b, c, Claim{Port: uint16(2000 + i), Local: hostAddr})
	}
	b.Run("unclaimed10000/ring", func(b *testing.B) { run(b, c.filter, in, cases[5].frame) })
	b.Run("unclaimed10000/tcx", func(b *testing.B) { run(b, c.tcx, in, cases[5].frame) })
}
