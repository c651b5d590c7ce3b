package stack

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack/internal/output"
)

// groupSockets binds n sockets to 10.9.0.1:9 with SO_REUSEPORT.
func groupSockets(t *testing.T, s *Stack, n int) []*UDPSocket {
	t.Helper()
	var g []*UDPSocket
	for range n {
		k, err := s.NewUDPSocket()
		check(t, err)
		t.Cleanup(func() { k.Close() })
		k.SetReuse(false, true)
		check(t, k.Bind(netip.MustParseAddrPort("10.9.0.1:9")))
		g = append(g, k)
	}
	return g
}

// holder returns the number of the socket that has a datagram, and takes it; -1:
// none has.
func holder(g []*UDPSocket) int {
	for i, k := range g {
		if _, _, err := k.Recv(nil, unix.MSG_DONTWAIT, NoDeadline); err == nil {
			return i
		}
	}
	return -1
}

var byFirstByte = []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 1}, bpf.RetA{}}

// A group's members are looked at closely while they have a program, and who
// joins too; afterwards they are not.
func TestSteeredGroupHasExtras(t *testing.T) {
	s, r, _ := replayStack(t)
	g := groupSockets(t, s, 2)
	extras := func(k *UDPSocket) bool { return k.state.Load()&output.StateRecvExtras != 0 }
	check(t, g[0].AttachReusePort(raw(t, byFirstByte)))
	g = append(g, groupSockets(t, s, 1)...)
	for i, k := range g {
		if !extras(k) {
			t.Errorf("member %d is not looked at", i)
		}
		r.frame, r.ready = udpFrame(9, []byte{byte(i)}), 1
		if got := holder(g); got != i {
			t.Errorf("the datagram for %d went to %d", i, got)
		}
	}
	g[1].Receiving().SetKeepDrops(true)
	check(t, g[2].DetachReusePort())
	for port := range 64 { // until the hash has come to each
		r.frame, r.ready = udpFrame(9, []byte{0}), 1
		r.frame[output.UDPOffset+1] = byte(port)
		r.frame[output.UDPOffset+6], r.frame[output.UDPOffset+7] = 0, 0 // no checksum
		if holder(g) < 0 {
			t.Fatal("nobody got it")
		}
	}
	if extras(g[0]) || !extras(g[1]) || extras(g[2]) {
		t.Error("members without a program: ", extras(g[0]), extras(g[1]), extras(g[2]))
	}
	if err := g[0].DetachReusePort(); err != unix.ENOENT {
		t.Error(err)
	}
}

// A program may ask for the CPU, which is that of the thread that takes the datagram
// in, and for what stands before the payload. One that reads where there is nothing
// chooses the first.
func TestProgramsSeeMoreThanThePayload(t *testing.T) {
	for _, tt := range []struct {
		name    string
		program []bpf.Instruction
		want    []int
	}{
		{"CPU", []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtCPUID}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0}, bpf.RetA{}}, []int{0}},
		{"length", []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}, bpf.RetA{}}, []int{2}},
		{"source", []bpf.Instruction{bpf.LoadAbsolute{Off: 0xfff00000 + 15, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpSub, Val: 1}, bpf.RetA{}}, []int{1}},
		{"too far", []bpf.Instruction{bpf.LoadAbsolute{Off: 50, Size: 1}, bpf.RetConstant{Val: 2}}, []int{0}},
		{"nobody", []bpf.Instruction{bpf.RetConstant{Val: 7}}, []int{0, 1, 2}},
	} {
		s, r, _ := replayStack(t)
		g := groupSockets(t, s, 3)
		check(t, g[0].AttachReusePort(raw(t, tt.program)))
		r.frame, r.ready = udpFrame(9, []byte{9, 9}), 1
		if got := holder(g); !slices.Contains(tt.want, got) {
			t.Errorf("%s: member %d, want one of %v", tt.name, got, tt.want)
		}
	}
	if err := udpSocket(t, newStack(t, Config{}), "").AttachReusePort([]bpf.RawInstruction{{Op: 0xffff}}); err != unix.EINVAL {
		t.Errorf("no program: %v", err)
	}
}

// raw assembles a program.
func raw(t *testing.T, program []bpf.Instruction) []bpf.RawInstruction {
	t.Helper()
	code, err := bpf.Assemble(program)
	check(t, err)
	return code
}

func TestSteeringDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s, r, _ := replayStack(t)
	g := groupSockets(t, s, 3)
	check(t, g[0].AttachReusePort(raw(t, byFirstByte)))
	r.frame = udpFrame(9, []byte{2})
	buf := make([]byte, 10)
	if n := testing.AllocsPerRun(100, func() {
		r.ready = 1
		if _, _, err := g[2].Recv(buf, 0, NoDeadline); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// SO_INCOMING_CPU costs the sockets that are asked for it only.
func TestIncomingCPUOfConnected(t *testing.T) {
	s, r, _ := replayStack(t)
	k := udpSocket(t, s, "10.9.0.1:9")
	r.frame, r.ready = udpFrame(9, []byte{0}), 1
	if cpu := k.IncomingCPU(); cpu != -1 || k.state.Load()&output.StateRecvExtras != 0 {
		t.Errorf("unconnected: %d", cpu)
	}
	check(t, k.Connect(netip.MustParseAddrPort("10.9.0.2:7")))
	if cpu := k.IncomingCPU(); cpu != -1 {
		t.Errorf("at first: %d", cpu)
	}
	_, _, err := k.Recv(make([]byte, 10), 0, NoDeadline)
	check(t, err)
	if cpu := k.IncomingCPU(); cpu < 0 {
		t.Errorf("after a datagram: %d", cpu)
	}
}
