package udp

import (
	"math/rand/v2"
	"testing"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// groupOf binds n members of a group to one address.
func groupOf(t *testing.T, n int) (*Table[int], []*Binding[int]) {
	t.Helper()
	table := NewTable[int](rand.New(rand.NewPCG(1, 2)).Uint64)
	var members []*Binding[int]
	for i := range n {
		members = append(members, bindMember(t, table, i))
	}
	return table, members
}

var groupAddr = ipv4.Addr{127, 0, 0, 1}

func bindMember(t *testing.T, table *Table[int], owner int) *Binding[int] {
	t.Helper()
	b := &Binding[int]{Owner: owner, Local: groupAddr, LocalPort: 7, ReusePort: true}
	if e := table.Bind(b); e != 0 {
		t.Fatal(e)
	}
	return b
}

// firstByte is a program: the payload's first byte is the member's number.
func firstByte(v *bpf.View) uint32 { return uint32(v.Data[0]) }

func TestProgramChoosesMember(t *testing.T) {
	table, m := groupOf(t, 3)
	if _, e := table.Attach(m[1], firstByte); e != 0 {
		t.Fatal(e)
	}
	steer := func(want ...int) {
		t.Helper()
		for i, w := range want {
			if got := table.Steer(m[0], &bpf.View{Data: []byte{byte(i)}}); got != w {
				t.Errorf("member %d is %d, want %d", i, got, w)
			}
		}
	}
	steer(0, 1, 2, 0) // the fourth is nobody's number: as Lookup chose
	table.Unbind(m[1])
	steer(0, 2, 0)
	m[1] = bindMember(t, table, 11)
	steer(0, 2, 11)
	if e := table.Connect(m[2], groupAddr, ipv4.Addr{127, 0, 0, 9}, 9); e != 0 {
		t.Fatal(e)
	}
	steer(0, 11, 0)
	if _, e := table.Attach(m[0], func(*bpf.View) uint32 { return 1 }); e != 0 {
		t.Fatal(e)
	}
	steer(11, 11)
	if e := table.Detach(m[1]); e != 0 || m[0].Steered() {
		t.Fatal(e)
	}
	steer(0, 0)
	if e := table.Detach(m[1]); e != unix.ENOENT {
		t.Errorf("Detach of nothing: %v", e)
	}
}

func TestProgramBeforeBind(t *testing.T) {
	table := NewTable[int](rand.New(rand.NewPCG(1, 2)).Uint64)
	a := &Binding[int]{Owner: 1, Local: groupAddr, LocalPort: 7}
	if _, e := table.Attach(a, firstByte); e != unix.EINVAL {
		t.Errorf("Attach without SO_REUSEPORT: %v", e)
	}
	if e := table.Detach(a); e != unix.EINVAL {
		t.Errorf("Detach without SO_REUSEPORT: %v", e)
	}
	a.ReusePort = true
	if _, e := table.Attach(a, firstByte); e != 0 {
		t.Fatal(e)
	}
	if e := table.Bind(a); e != 0 {
		t.Fatal(e)
	}
	b := bindMember(t, table, 2)
	if !b.Steered() || table.Steer(a, &bpf.View{Data: []byte{1}}) != 2 {
		t.Error("a socket that joins is not chosen by the founder's program")
	}
	c := &Binding[int]{Owner: 3, Local: groupAddr, LocalPort: 7, ReusePort: true}
	if _, e := table.Attach(c, firstByte); e != 0 {
		t.Fatal(e)
	}
	if e := table.Bind(c); e != unix.EADDRINUSE {
		t.Errorf("Bind with a program of its own: %v", e)
	}
	without := &Binding[int]{Owner: 4, Local: ipv4.Addr{127, 0, 0, 2}, LocalPort: 7}
	if e := table.Bind(without); e != 0 {
		t.Fatal(e)
	}
	table.SetReuse(without, false, true)
	if _, e := table.Attach(without, firstByte); e != unix.EINVAL {
		t.Errorf("Attach to a socket bound without SO_REUSEPORT: %v", e)
	}
}

// A datagram goes to the socket that prefers the CPU that it is looked up on.
func TestIncomingCPU(t *testing.T) {
	table, m := groupOf(t, 4)
	cpu := int32(2)
	table.SetCPUSource(func() int32 { return cpu })
	to := func() map[int]bool {
		all := make(map[int]bool)
		for port := range uint16(200) {
			if owner, ok := table.Lookup(groupAddr, 7, ipv4.Addr{127, 0, 0, 9}, 1000+port, 1); ok {
				all[owner] = true
			}
		}
		return all
	}
	if got := to(); len(got) != 4 {
		t.Errorf("without preferences: %v", got)
	}
	table.SetCPU(m[3], 2+1)
	table.SetCPU(m[1], 5+1)
	if got := to(); len(got) != 1 || !got[3] {
		t.Errorf("on CPU 2: %v", got)
	}
	cpu = 5
	if got := to(); len(got) != 1 || !got[1] {
		t.Errorf("on CPU 5: %v", got)
	}
	cpu = 6
	if got := to(); len(got) != 4 {
		t.Errorf("on a CPU that nobody prefers: %v", got)
	}
	table.SetCPU(m[3], 0)
	table.SetCPU(m[1], 0)
	if m[0].chain.special != 0 || m[0].group.cpus != 0 {
		t.Error("preferences are left")
	}
	// Without a group the preference decides between sockets that share by SO_REUSEADDR.
	table = NewTable[int](rand.New(rand.NewPCG(1, 2)).Uint64)
	table.SetCPUSource(func() int32 { return cpu })
	for i := range 3 {
		b := &Binding[int]{Owner: i, Local: groupAddr, LocalPort: 7, ReuseAddr: true}
		table.SetCPU(b, int32(5+i)+1)
		if e := table.Bind(b); e != 0 {
			t.Fatal(e)
		}
	}
	if got := to(); len(got) != 1 || !got[1] {
		t.Errorf("of three on CPU 6: %v", got)
	}
}

// A member that is connected, since it was before there was a group, takes from its peer
// only, whatever CPUs the others prefer.
func TestIncomingCPUPassesOverConnected(t *testing.T) {
	table := newTable()
	cpu := int32(1)
	table.SetCPUSource(func() int32 { return cpu })
	c := mustBind(t, table, &Binding[int]{Owner: 9, Local: groupAddr, LocalPort: 7, ReuseAddr: true})
	table.Connect(c, groupAddr, ipv4.Addr{127, 0, 0, 8}, 0)
	table.SetReuse(c, true, true)
	var m []*Binding[int]
	for i := range 3 {
		b := &Binding[int]{Owner: i, Local: groupAddr, LocalPort: 7, ReusePort: true, ReuseAddr: true}
		m = append(m, mustBind(t, table, b))
	}
	table.SetCPU(m[1], 2+1)
	if len(c.group.members) != 4 || c.group.conns != 1 {
		t.Fatalf("%d members, %d of them connected", len(c.group.members), c.group.conns)
	}
	for _, tt := range []struct {
		cpu  int32
		want int // how many get something
	}{{1, 3}, {2, 1}} {
		cpu = tt.cpu
		got := make(map[int]bool)
		for port := range uint16(200) {
			owner, _ := table.Lookup(groupAddr, 7, ipv4.Addr{127, 0, 0, 9}, 1000+port, 1)
			got[owner] = true
		}
		if len(got) != tt.want || got[9] || !got[1] {
			t.Errorf("on CPU %d: %v", cpu, got)
		}
	}
}

// Ports in a row, as clients take them, come to all members of a group, whatever the
// secret.
func TestGroupsAreEven(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		s := secret{rnd.Uint64(), rnd.Uint64()}
		var n [3]int
		for port := range uint16(96) {
			n[scale(s.even(peerKey(ipv4.Addr{10, 9, 0, 1}, 9, ipv4.Addr{10, 9, 0, 2}, port)), 3)]++
		}
		if least := min(n[0], n[1], n[2]); least < 10 {
			t.Fatalf("%v of 96 flows to each of three members, secret %x", n, s)
		}
	}
}
