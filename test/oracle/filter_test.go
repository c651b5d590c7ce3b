package oracle

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// Attach attaches a classic BPF program.
func (k *Sock) Attach(program []bpf.RawInstruction) {
	k.err(fmt.Sprintf("attach(%x)", program), func() error { return k.s.AttachFilter(program) })
}

// ancillary is a load of what is not in the bytes (SKF_AD_OFF).
func ancillary(off uint32) bpf.RawInstruction {
	return bpf.RawInstruction{Op: unix.BPF_LD | unix.BPF_ABS, K: 0xfffff000 + off}
}

// returning returns programs that keep as many bytes as a byte of A says, and 20
// more, for the bytes of A.
func returning(load ...bpf.RawInstruction) (programs [][]bpf.RawInstruction) {
	for shift := uint32(0); shift < 32; shift += 8 {
		programs = append(programs, append(append([]bpf.RawInstruction(nil), load...),
			bpf.RawInstruction{Op: unix.BPF_ALU | unix.BPF_RSH, K: shift},
			bpf.RawInstruction{Op: unix.BPF_ALU | unix.BPF_AND, K: 0xff},
			bpf.RawInstruction{Op: unix.BPF_ALU | unix.BPF_ADD, K: 20},
			bpf.RawInstruction{Op: unix.BPF_RET | unix.BPF_A}))
	}
	return programs
}

// filterLoads are loads into A: what they are, and the instructions.
func filterLoads() map[string][]bpf.RawInstruction {
	const (
		load  = unix.BPF_LD | unix.BPF_ABS
		index = unix.BPF_LD | unix.BPF_IND
	)
	imm := func(a, x uint32) []bpf.RawInstruction {
		return []bpf.RawInstruction{{Op: unix.BPF_LDX | unix.BPF_IMM, K: x}, {Op: unix.BPF_LD | unix.BPF_IMM, K: a}}
	}
	loads := map[string][]bpf.RawInstruction{
		"length":                  {{Op: unix.BPF_LD | unix.BPF_LEN}},
		"word":                    {{Op: load | unix.BPF_W, K: 2}},
		"byte past the end":       {{Op: load | unix.BPF_B, K: 5000}},
		"word past the end":       {{Op: load | unix.BPF_W, K: 5000}},
		"indirect":                append(imm(0, 10), bpf.RawInstruction{Op: index | unix.BPF_H, K: 2}),
		"indirect, around":        append(imm(0, 0xffffffff), bpf.RawInstruction{Op: index | unix.BPF_H, K: 5}),
		"header length":           {{Op: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 8}, {Op: unix.BPF_MISC | unix.BPF_TXA}},
		"header length, past end": {{Op: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 5000}, {Op: unix.BPF_MISC | unix.BPF_TXA}},
		"network, version":        {{Op: load | unix.BPF_B, K: 0xfff00000}},
		"network, length":         {{Op: load | unix.BPF_H, K: 0xfff00002}},
		"network, TTL":            {{Op: load | unix.BPF_B, K: 0xfff00008}},
		"network, source":         {{Op: load | unix.BPF_W, K: 0xfff0000c}},
		"network, indirect":       append(imm(0, 16), bpf.RawInstruction{Op: index | unix.BPF_W, K: 0xfff00000}),
		"network, header length":  {{Op: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0xfff00000}, {Op: unix.BPF_MISC | unix.BPF_TXA}},
		"link, type":              {{Op: load | unix.BPF_H, K: 0xffe0000c}},
		"link, destination":       {{Op: load | unix.BPF_W, K: 0xffe00002}},
		"below":                   {{Op: load | unix.BPF_B, K: 0xffd00000}},
		"divide by X, 0":          append(imm(9, 0), bpf.RawInstruction{Op: unix.BPF_ALU | unix.BPF_DIV | unix.BPF_X}),
		"modulo X, 0":             append(imm(9, 0), bpf.RawInstruction{Op: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_X}),
		"divide by X":             append(imm(0xffffffff, 7), bpf.RawInstruction{Op: unix.BPF_ALU | unix.BPF_DIV | unix.BPF_X}),
		"shift by X, 33":          append(imm(9, 33), bpf.RawInstruction{Op: unix.BPF_ALU | unix.BPF_LSH | unix.BPF_X}),
		"negate":                  append(imm(9, 0), bpf.RawInstruction{Op: unix.BPF_ALU | unix.BPF_NEG}),
		"multiply":                append(imm(0x12345678, 0), bpf.RawInstruction{Op: unix.BPF_ALU | unix.BPF_MUL, K: 0x9abcdef1}),
	}
	for off := uint32(0); off < 68; off++ {
		if off == 24 || off == 32 || off == 36 || off == 56 {
			continue // the kernel's queue and flow hash; CPU and random number, which differ from run to run
		}
		loads[fmt.Sprintf("ancillary %d", off)] = append(imm(12, 5), ancillary(off))
	}
	return loads
}

// filterCases attach classic BPF programs.
func filterCases() (cases []Case) {
	add := func(name string, run func(r *Run)) { cases = append(cases, Case{Name: "filter/" + name, Run: run}) }
	attributes := func() []byte {
		b := []byte("head") // with the UDP header 12 bytes
		for _, n := range []uint16{1, 2, 5, 3} {
			b = binary.NativeEndian.AppendUint16(b, 8+4*n)
			b = binary.NativeEndian.AppendUint16(b, n)
			b = append(b, 8, 0, 5, 0, 1, 2, 3, 4)
			b = append(b, make([]byte, 4*(n-1))...)
		}
		return append(b, Data(400)...)
	}
	for name, load := range filterLoads() {
		add("UDP/"+name, func(r *Run) {
			a, b := r.Pair()
			for _, p := range returning(load...) {
				b.Attach(p)
				a.Send(attributes(), 0)
				r.Sync()
				b.Recv(1000, unix.MSG_DONTWAIT)
			}
		})
	}
	for name, load := range map[string]uint32{"queue": 24, "hash": 32, "CPU": 36, "random": 56} {
		add("UDP/"+name, func(r *Run) {
			a, b := r.Pair()
			b.Attach([]bpf.RawInstruction{ancillary(load), {Op: unix.BPF_RET | unix.BPF_K, K: 30}})
			a.Send(Data(100), 0)
			r.Sync()
			b.Recv(1000, unix.MSG_DONTWAIT)
		})
	}
	for _, name := range []string{"length", "network, length", "link, type", "ancillary 0", "ancillary 4", "ancillary 8", "ancillary 28",
		"ancillary 48", "ancillary 52"} {
		load := filterLoads()[name]
		add("ping/"+name, func(r *Run) {
			a := r.Ping("a")
			a.Bind(sockapi.Inet4([4]byte{}, 77))
			for _, p := range returning(load...) {
				a.Attach(p)
				a.Sendto(append([]byte{8, 0, 0, 0, 0, 0, 0, 1}, Data(400)...), 0, r.Far(0))
				r.Sync()
				a.Recv(1000, unix.MSG_DONTWAIT)
			}
		})
		add("raw/"+name, func(r *Run) {
			a, b := r.raw("a", Near, experimental), r.raw("b", Far, experimental)
			for _, p := range returning(load...) {
				b.Attach(p)
				a.Sendto(Data(400), 0, r.Far(0))
				r.Sync()
				b.do("recv", func() string {
					n, err := b.s.Recv(make([]byte, 1000), unix.MSG_DONTWAIT)
					return count(n, err)
				})
			}
		})
	}
	add("fragments", func(r *Run) {
		a, b := r.Pair()
		for _, p := range returning(filterLoads()["network, length"]...) {
			b.Attach(p)
			a.Send(Data(3000), 0)
			r.Sync()
			b.Recv(1000, unix.MSG_DONTWAIT)
		}
	})
	add("refused", func(r *Run) {
		a := r.UDP("a")
		ret := bpf.RawInstruction{Op: unix.BPF_RET | unix.BPF_K, K: 100}
		for op := range uint16(256) {
			for _, k := range []uint32{0, 1, 16, 32, 0xfffff000, 0xfffff041, 0xffffffff} {
				a.Attach([]bpf.RawInstruction{{Op: op, K: k}, ret})
				a.Attach([]bpf.RawInstruction{{Op: op, Jt: 1, K: k}, ret, ret})
			}
		}
		a.Attach([]bpf.RawInstruction{{Op: unix.BPF_LD | unix.BPF_MEM, K: 3}, ret})
		a.Attach([]bpf.RawInstruction{{Op: unix.BPF_ST, K: 3}, {Op: unix.BPF_LD | unix.BPF_MEM, K: 3}, ret})
		a.Attach([]bpf.RawInstruction{{Op: unix.BPF_JMP | unix.BPF_JEQ, Jt: 1}, {Op: unix.BPF_ST, K: 3}, {Op: unix.BPF_LD | unix.BPF_MEM, K: 3}, ret})
	})
	return cases
}
