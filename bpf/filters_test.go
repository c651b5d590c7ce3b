package bpf

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// dnsFilter is what tcpdump makes of "ip and udp dst port 53" on Ethernet (tcpdump -dd).
// dhclient's is the same with port 68.
var dnsFilter = []Instruction{
	{Op: 0x28, K: 12},               // ldh [12]
	{Op: 0x15, Jf: 8, K: 0x800},     // jeq #0x800
	{Op: 0x30, K: 23},               // ldb [23]
	{Op: 0x15, Jf: 6, K: 0x11},      // jeq #0x11
	{Op: 0x28, K: 20},               // ldh [20]
	{Op: 0x45, Jt: 4, K: 0x1fff},    // jset #0x1fff
	{Op: 0xb1, K: 14},               // ldxb 4*([14]&0xf)
	{Op: 0x48, K: 16},               // ldh [x + 16]
	{Op: 0x15, Jf: 1, K: 53},        // jeq #53
	{Op: 0x06, K: 262144}, {Op: 06}, // ret #262144, ret #0
}

// vlanFilter is the part of "vlan 5" that asks for a tag that the device has taken out.
var vlanFilter = []Instruction{
	{Op: 0x30, K: 0xfffff030},       // ldb [-4048], a tag is present
	{Op: 0x15, Jf: 4, K: 1},         // jeq #1
	{Op: 0x28, K: 0xfffff02c},       // ldh [-4052], the tag
	{Op: 0x54, K: 0xfff},            // and #0xfff
	{Op: 0x15, Jf: 1, K: 5},         // jeq #5
	{Op: 0x06, K: 262144}, {Op: 06}, // ret #262144, ret #0
}

// hashFilter spreads flows over 4 sockets by their addresses' and ports' XOR, as programs
// of SO_ATTACH_REUSEPORT_CBPF and PACKET_FANOUT_CBPF do: it reads the IP header from
// SKF_NET_OFF on, and keeps what it has in memory.
var hashFilter = []Instruction{
	{Op: 0x20, K: 0xfff0000c},                                         // ld [SKF_NET_OFF + 12]
	{Op: 0x02, K: 3},                                                  // st M[3]
	{Op: 0x20, K: 0xfff00010},                                         // ld [SKF_NET_OFF + 16]
	{Op: 0x61, K: 3},                                                  // ldx M[3]
	{Op: 0xac},                                                        // xor x
	{Op: 0x02, K: 3},                                                  // st M[3]
	{Op: 0xb1, K: 0xfff00000},                                         // ldxb 4*([SKF_NET_OFF]&0xf)
	{Op: 0x40, K: 0xfff00000},                                         // ld [x + SKF_NET_OFF], both ports
	{Op: 0x61, K: 3},                                                  // ldx M[3]
	{Op: 0xac}, {Op: 0x07}, {Op: 0x74, K: 16}, {Op: 0xac}, {Op: 0x07}, // xor x, tax, rsh #16, xor x, tax
	{Op: 0x74, K: 8}, {Op: 0xac}, {Op: 0x94, K: 4}, {Op: 0x16}, //        rsh #8, xor x, mod #4, ret a
}

// frame returns a frame with a UDP datagram behind options of so many words.
func frame(options int, protocol, offset byte, dport uint16) []byte {
	b := append(make([]byte, 12), 0x08, 0, byte(0x45+options), 0, 0, 0, 0, 0, 0, offset, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)
	b = append(b, make([]byte, 4*options)...)
	return append(binary.BigEndian.AppendUint16(append(b, 0x9c, 0x40), dport), 0, 9, 0, 0, 'x')
}

// TestFilters runs programs that are in use.
func TestFilters(t *testing.T) {
	arp := frame(0, unix.IPPROTO_UDP, 0, 53)
	arp[13] = 6
	whole := frame(2, unix.IPPROTO_UDP, 0, 53)
	tag := func(present bool, tci uint16) *View {
		return &View{Found: true, Frame: Frame{Tagged: present, TCI: tci}}
	}
	ip := func(b []byte) *View { return &View{Data: b[14+20+8:], Network: b[14:], Offset: -28} }
	for _, tt := range []struct {
		name string
		code []Instruction
		v    *View
		want uint32
	}{
		{"DNS", dnsFilter, &View{Data: frame(0, unix.IPPROTO_UDP, 0, 53)}, 262144},
		{"DNS behind options", dnsFilter, &View{Data: whole}, 262144},
		{"DNS behind all options", dnsFilter, &View{Data: frame(10, unix.IPPROTO_UDP, 0, 53)}, 262144},
		{"another port", dnsFilter, &View{Data: frame(0, unix.IPPROTO_UDP, 0, 54)}, 0},
		{"TCP", dnsFilter, &View{Data: frame(0, unix.IPPROTO_TCP, 0, 53)}, 0},
		{"later fragment", dnsFilter, &View{Data: frame(0, unix.IPPROTO_UDP, 1, 53)}, 0},
		{"ARP", dnsFilter, &View{Data: arp}, 0},
		{"cut behind the port", dnsFilter, &View{Data: whole[:14+28+4]}, 262144},
		{"cut in the port", dnsFilter, &View{Data: whole[:14+28+3]}, 0},
		{"cut in the Ethernet header", dnsFilter, &View{Data: whole[:13]}, 0},
		{"nothing", dnsFilter, &View{}, 0},
		{"VLAN 5", vlanFilter, tag(true, 5), 262144},
		{"VLAN 5 with a priority", vlanFilter, tag(true, 0xe005), 262144},
		{"VLAN 6", vlanFilter, tag(true, 6), 0},
		{"no VLAN", vlanFilter, tag(false, 5), 0},
		{"hash", hashFilter, ip(frame(0, unix.IPPROTO_UDP, 0, 53)), (0x9c ^ 0x40 ^ 53 ^ 1 ^ 2) & 3},
		{"hash behind options", hashFilter, ip(frame(3, unix.IPPROTO_UDP, 0, 54)), (0x9c ^ 0x40 ^ 54 ^ 1 ^ 2) & 3},
		{"hash without an IP header", hashFilter, &View{Data: whole}, 0},
	} {
		p, ok := New(tt.code)
		if !ok {
			t.Fatalf("%s: refused", tt.name)
		}
		if got := p.Run(tt.v); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestHostilePrograms has programs that are accepted, and read or jump as far as they can.
func TestHostilePrograms(t *testing.T) {
	data := []byte{0xff, 0xff, 0xff, 0xff}
	chain := make([]Instruction, unix.BPF_MAXINSNS) // as long as it may be, a jump each
	for i := range chain {
		chain[i] = Instruction{Op: unix.BPF_JMP | unix.BPF_JSET, K: 1, Jt: 255, Jf: 0}
	}
	for i := len(chain) - 257; i < len(chain); i++ {
		chain[i] = Instruction{Op: unix.BPF_RET | unix.BPF_K, K: uint32(i)}
	}
	largest := []Instruction{{Op: unix.BPF_LD | unix.BPF_IMM, K: 0x7fffffff}, {Op: unix.BPF_MISC | unix.BPF_TAX}}
	ret := Instruction{Op: unix.BPF_RET | unix.BPF_A}
	load := func(op uint16, k uint32) []Instruction {
		return append(append([]Instruction(nil), largest...), Instruction{Op: op, K: k}, ret)
	}
	for _, tt := range []struct {
		name string
		code []Instruction
		want uint32
	}{
		{"longest way", chain, unix.BPF_MAXINSNS - 257},
		{"largest offset", load(unix.BPF_LD|unix.BPF_ABS|unix.BPF_W, 0x7fffffff), 0},
		{"offset past the largest", load(unix.BPF_LD|unix.BPF_IND|unix.BPF_B, 0x7fffffff), 0},
		{"offset that wraps to the beginning", load(unix.BPF_LD|unix.BPF_IND|unix.BPF_W, 0x80000001), 0xffffffff},
		{"offset that wraps to below", load(unix.BPF_LD|unix.BPF_IND|unix.BPF_W, 0x80000000), 0},
		{"least offset", load(unix.BPF_LD|unix.BPF_ABS|unix.BPF_B, 0x80000000), 0},
		{"attributes from the largest offset on", load(unix.BPF_LD|unix.BPF_ABS|unix.BPF_W, 0xfffff000+adAttribute), 0},
		{"nested in the largest offset", load(unix.BPF_LD|unix.BPF_ABS|unix.BPF_W, 0xfffff000+adNested), 0},
		{"divided by X that is 0", []Instruction{{Op: unix.BPF_LD | unix.BPF_IMM, K: 7}, {Op: unix.BPF_ALU | unix.BPF_DIV | unix.BPF_X}, ret}, 0},
		{"a header's length beyond", []Instruction{{Op: unix.BPF_LD | unix.BPF_IMM, K: 7}, {Op: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 4}, ret}, 0},
	} {
		p, ok := New(tt.code)
		if !ok {
			t.Fatalf("%s: refused", tt.name)
		}
		if got := p.Run(&View{Data: data}); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, got, tt.want)
		}
	}
}
