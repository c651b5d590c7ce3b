package bpf

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// payloadLen is the length of the oracle's datagrams: a program's result, a byte at a
// time, is told by what length is left.
const payloadLen = 300

// An oracle has the kernel run programs on datagrams over loopback.
type oracle struct {
	t        *testing.T
	from, to int
	payload  []byte
	view     View
}

func newOracle(t *testing.T) *oracle {
	t.Helper()
	o := &oracle{t: t, payload: make([]byte, payloadLen)}
	r := rand.New(rand.NewPCG(5, 6))
	for i := range o.payload {
		o.payload[i] = byte(r.Uint32())
	}
	copy(o.payload, []byte{8, 0, 7, 0, 1, 2, 3, 4, 16, 0, 9, 0x80, 8, 0, 1, 0, 0, 0, 0, 0, 4, 0, 2, 0}) // attributes, one nested
	fds := [2]int{}
	var ports [2]int
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		name, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		fds[i], ports[i] = fd, name.(*unix.SockaddrInet4).Port
	}
	o.from, o.to = fds[0], fds[1]
	if err := unix.Connect(o.from, &unix.SockaddrInet4{Port: ports[1], Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(o.from, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil { // loopback sums in part only
		t.Fatal(err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	frame := append(make([]byte, 12), 0x08, 0, 0x45, 0)
	frame = binary.BigEndian.AppendUint16(frame, 20+8+payloadLen)
	frame = append(frame, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1)
	frame = binary.BigEndian.AppendUint16(frame, uint16(ports[0]))
	frame = binary.BigEndian.AppendUint16(frame, uint16(ports[1]))
	frame = append(binary.BigEndian.AppendUint16(frame, 8+payloadLen), 0, 0)
	frame = append(frame, o.payload...)
	o.view = View{Host: loopback{}, Data: frame[34:], Network: frame[14:], Offset: -20, Interface: int32(lo.Index),
		EtherType: unix.ETH_P_IP, Frame: Frame{Data: frame}, Found: true}
	return o
}

// loopback is the oracle's device.
type loopback struct{}

func (loopback) HardwareType(int32) uint16 { return unix.ARPHRD_LOOPBACK }
func (loopback) CPU() int32                { return 0 }
func (loopback) Frame([]byte) Frame        { return Frame{} }

// attach reports whether the kernel accepts a program.
func (o *oracle) attach(code []Instruction) bool {
	if len(code) == 0 {
		return false
	}
	raw := make([]unix.SockFilter, len(code))
	for i, c := range code {
		raw[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	prog := unix.SockFprog{Len: uint16(len(raw)), Filter: (*unix.SockFilter)(unsafe.Pointer(&raw[0]))}
	err := unix.SetsockoptSockFprog(o.to, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	if err != nil && !errors.Is(err, unix.EINVAL) {
		o.t.Fatal(err)
	}
	return err == nil
}

// kept returns the length in bytes of what the attached program leaves of a datagram's
// payload, negative if it drops the datagram.
func (o *oracle) kept() int {
	o.t.Helper()
	if _, err := unix.Write(o.from, o.payload); err != nil {
		o.t.Fatal(err)
	}
	var b [payloadLen]byte
	n, _, err := unix.Recvfrom(o.to, b[:], unix.MSG_DONTWAIT) // loopback has delivered it, or dropped it
	if errors.Is(err, unix.EAGAIN) {
		return -1
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

// compare has kernel and package judge and run a program whose last instruction returns
// A. The result is compared a byte at a time: what is kept is that byte, a UDP header and
// one more.
func (o *oracle) compare(code []Instruction) (accepted bool) {
	o.t.Helper()
	_, accepted = New(code)
	if got := o.attach(code); got != accepted {
		o.t.Fatalf("accepted %t, by the kernel %t: %+v", accepted, got, code)
	}
	if !accepted {
		return false
	}
	for shift := uint32(0); shift < 32; shift += 8 {
		byteOf := append(append([]Instruction(nil), code[:len(code)-1]...),
			Instruction{Op: unix.BPF_ALU | unix.BPF_RSH, K: shift}, Instruction{Op: unix.BPF_ALU | unix.BPF_AND, K: 0xff},
			Instruction{Op: unix.BPF_ALU | unix.BPF_ADD, K: 9}, Instruction{Op: unix.BPF_RET | unix.BPF_A})
		p, ok := New(byteOf)
		if !ok || !o.attach(byteOf) {
			o.t.Fatalf("refused: %+v", byteOf)
		}
		v, want := o.view, -1
		if n := p.Run(&v); n != 0 {
			want = min(max(int(n), 8)-8, payloadLen)
		}
		if got := o.kept(); got != want {
			o.t.Fatalf("bits from %d: keeps %d, the kernel %d: %+v", shift, want, got, code)
		}
	}
	return true
}

// TestLoadsAgainstKernel has every way to load, each extension and each end of what can
// be read. The IP header's identifier and checksum, and what is random, are left out.
func TestLoadsAgainstKernel(t *testing.T) {
	o := newOracle(t)
	var loads []Instruction
	add := func(op uint16, offsets ...uint32) {
		for _, k := range offsets {
			loads = append(loads, Instruction{Op: op, K: k})
		}
	}
	end := uint32(8 + payloadLen)
	for _, size := range []uint16{unix.BPF_W, unix.BPF_H, unix.BPF_B} {
		abs, ind := unix.BPF_LD|unix.BPF_ABS|size, unix.BPF_LD|unix.BPF_IND|size
		add(abs, 0, 2, 8, 9, end-4, end-3, end-2, end-1, end, end+1, 0x7fffffff)
		add(abs, 0xfff00000, 0xfff0000c, 0xfff00014, 0xfff00000+20+end-1, 0xfff00000+20+end)
		add(abs, 0xffe0000c, 0xffe0000e, 0xffdfffff, 0x80000000)
		add(ind, 0, 5, end-16, 0xfffffff0, 0xfff00000-16, 0xfff0000c)
		for k := uint32(0xfffff000); k <= 0xfffff03c; k += 4 {
			if what := int(k - 0xfffff000); what != adRandom && what != adCPU && what != adHash {
				add(abs, k)
			}
		}
	}
	add(unix.BPF_LD|unix.BPF_W|unix.BPF_LEN, 0)
	for _, a := range []uint32{0, 8, 16, end - 4, end, 0xffffffff} {
		for _, x := range []uint32{0, 1, 2, 7, 9, 12, 16} {
			for _, l := range loads {
				if a != 8 && l.Op != unix.BPF_LD|unix.BPF_ABS|unix.BPF_W { // only extensions go by A
					continue
				}
				o.compare([]Instruction{{Op: unix.BPF_LDX | unix.BPF_IMM, K: x}, {Op: unix.BPF_LD | unix.BPF_IMM, K: a}, l,
					{Op: unix.BPF_RET | unix.BPF_A}})
			}
		}
	}
	for _, k := range []uint32{0, 8, end - 1, end, 0xfff00000, 0xfffff000} {
		o.compare([]Instruction{{Op: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: k}, {Op: unix.BPF_MISC | unix.BPF_TXA}, {Op: unix.BPF_RET | unix.BPF_A}})
	}
}

// TestProgramsAgainstKernel makes programs of random instructions, most of them ones that
// there are.
func TestProgramsAgainstKernel(t *testing.T) {
	o := newOracle(t)
	r := rand.New(rand.NewPCG(7, 8))
	ops := []uint16{0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x07, 0x0c, 0x14, 0x15, 0x1c, 0x1d, 0x20, 0x24, 0x25, 0x28, 0x2c, 0x30, 0x34,
		0x35, 0x3c, 0x40, 0x44, 0x45, 0x48, 0x4c, 0x50, 0x54, 0x5c, 0x60, 0x61, 0x64, 0x6c, 0x74, 0x7c, 0x80, 0x81, 0x84, 0x87, 0x94,
		0x9c, 0xa4, 0xac, 0xb1}
	accepted := 0
	for range 1000 {
		var code []Instruction
		for n := r.IntN(8); n > 0; n-- {
			i := Instruction{Op: ops[r.IntN(len(ops))], Jt: uint8(r.IntN(3)), Jf: uint8(r.IntN(3)), K: uint32(r.IntN(18))}
			switch r.IntN(40) {
			case 0:
				i.Op = uint16(r.IntN(1 << 10))
			case 1:
				i.K = r.Uint32() &^ (1 << 31) // no offset to what differs from datagram to datagram
			case 2:
				i.K = 0xfffff000 + uint32(4*r.IntN(5))
			}
			code = append(code, i)
		}
		if o.compare(append(code, Instruction{Op: unix.BPF_RET | unix.BPF_A})) {
			accepted++
		}
	}
	if accepted < 250 {
		t.Errorf("%d programs are accepted, too few to tell", accepted)
	}
}
