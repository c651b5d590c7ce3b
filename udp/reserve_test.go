package udp

import (
	"fmt"
	"testing"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

func mustReserve(t *testing.T, table *Table[int], b *Binding[int]) *Binding[int] {
	t.Helper()
	if e := table.Reserve(b); e != 0 || b.Bound() {
		t.Fatalf("Reserve(%+v): %v, bound %v", b, e, b.Bound())
	}
	return b
}

// found returns whom a unicast datagram to loc is for, and how many a broadcast.
func found(table *Table[int], port uint16) (owner, all int) {
	owner, _ = table.Lookup(loc, port, peer, 9, 1)
	table.Each(loc, port, 1, func(*Binding[int]) { all++ })
	return owner, all
}

// A reserved port is nobody else's, and nothing is for who has it reserved, until it is
// published; given up, it is as if it had never been.
func TestReserve(t *testing.T) {
	for _, local := range []ipv4.Addr{{}, loc} {
		table := newTable()
		b := mustReserve(t, table, &Binding[int]{Owner: 1, Local: local, LocalPort: 53})
		if e := table.Bind(&Binding[int]{LocalPort: 53}); e != unix.EADDRINUSE {
			t.Errorf("%v: another Bind: %v", local, e)
		}
		if e := table.Reserve(&Binding[int]{Local: loc, LocalPort: 53}); e != unix.EADDRINUSE {
			t.Errorf("%v: another Reserve: %v", local, e)
		}
		if e := table.Reserve(b); e != unix.EINVAL {
			t.Errorf("%v: Reserve again: %v", local, e)
		}
		for what, e := range map[string]unix.Errno{"Connect": table.Connect(b, loc, peer, 9),
			"Disconnect": table.Disconnect(b, loc), "Rebind": table.Rebind(b, 1)} {
			if e != unix.EINVAL {
				t.Errorf("%v: %s of a reservation: %v", local, what, e)
			}
		}
		before := table.Changes()
		if owner, all := found(table, 53); owner != 0 || all != 0 {
			t.Errorf("%v: reserved, found by Lookup %d, by Each %d", local, owner, all)
		}
		table.SetCPU(b, 1)
		if owner, all := found(table, 53); owner != 0 || all != 0 {
			t.Errorf("%v: reserved with a CPU, found by Lookup %d, by Each %d", local, owner, all)
		}
		table.SetCPU(b, 0)
		table.Publish(b)
		if owner, all := found(table, 53); owner != 1 || all != 1 || !b.Bound() || table.Changes() == before {
			t.Errorf("%v: published, found by Lookup %d, by Each %d", local, owner, all)
		}
		table.Publish(b)
		if _, all := found(table, 53); all != 1 {
			t.Errorf("%v: published twice, found %d times", local, all)
		}
		table.Unbind(b)
		mustReserve(t, table, b)
		table.Unbind(b)
		if table.Len() != 0 || table.Taken(53) {
			t.Errorf("%v: given up, yet %d are there", local, table.Len())
		}
		mustBind(t, table, &Binding[int]{Owner: 2, LocalPort: 53})
		if owner, all := found(table, 53); owner != 2 || all != 1 {
			t.Errorf("%v: given up, found by Lookup %d, by Each %d", local, owner, all)
		}
	}
}

// What shares a port by SO_REUSEADDR or SO_REUSEPORT gets nothing before it is published,
// and takes nothing away.
func TestReserveShared(t *testing.T) {
	for _, port := range []bool{false, true} {
		table := newTable()
		share := func(owner int) *Binding[int] {
			return &Binding[int]{Owner: owner, Local: loc, LocalPort: 53, ReuseAddr: !port, ReusePort: port}
		}
		first := mustReserve(t, table, share(1))
		second := mustBind(t, table, share(2))
		for i := range 100 {
			if owner, _ := table.Lookup(loc, 53, addr(i), 9, 1); owner != 2 {
				t.Fatalf("port %v: one is reserved, and %d gets what is for the other", port, owner)
			}
		}
		third := mustReserve(t, table, share(3))
		table.Unbind(third)
		table.Publish(first)
		n := map[int]int{}
		for i := range 1000 {
			owner, _ := table.Lookup(loc, 53, addr(i), 9, 1)
			n[owner]++
		}
		if port && (n[1] < 400 || n[2] < 400) || !port && n[2] != 1000 { // the latest bound
			t.Errorf("port %v: %v", port, n)
		}
		table.Unbind(second)
		table.Unbind(first)
		if table.Len() != 0 {
			t.Errorf("%d are left", table.Len())
		}
	}
}

// A program that is attached before Bind stays if that comes to nothing, and one may be
// attached between its halves.
func TestReserveKeepsProgram(t *testing.T) {
	table := newTable()
	program := func(*bpf.View) uint32 { return 0 }
	b := &Binding[int]{Owner: 1, LocalPort: 53, ReusePort: true}
	table.Attach(b, program)
	mustReserve(t, table, b)
	table.Unbind(b)
	if !b.Steered() {
		t.Error("the program is gone")
	}
	c := mustReserve(t, table, &Binding[int]{Owner: 2, LocalPort: 54, ReusePort: true})
	if _, e := table.Attach(c, program); e != 0 {
		t.Errorf("Attach to a reservation: %v", e)
	}
	table.Publish(c)
	if owner, _ := found(table, 54); owner != 2 || !c.Steered() {
		t.Errorf("found %d, steered %v", owner, c.Steered())
	}
}

// Reserved ports are not chosen as ephemeral ones.
func TestReserveEphemeral(t *testing.T) {
	table := newTable()
	table.SetPortRange(40000, 40063)
	seen := map[uint16]bool{}
	for range 64 {
		b := mustReserve(t, table, &Binding[int]{})
		if seen[b.LocalPort] {
			t.Fatalf("port %d twice", b.LocalPort)
		}
		seen[b.LocalPort] = true
	}
	if e := table.Reserve(&Binding[int]{}); e != unix.EADDRINUSE {
		t.Errorf("none is left: %v", e)
	}
}

// At has what is bound to a port, at whatever address, and connected or not, but not what is
// reserved.
func TestAt(t *testing.T) {
	table := newTable()
	if e := table.Connect(mustBind(t, table, &Binding[int]{Owner: 1, Local: loc, LocalPort: 53}), loc, peer, 9); e != 0 {
		t.Fatal(e)
	}
	mustBind(t, table, &Binding[int]{Owner: 2, Local: ipv4.Addr{10, 0, 0, 99}, LocalPort: 53})
	mustBind(t, table, &Binding[int]{Owner: 3, LocalPort: 54})
	mustReserve(t, table, &Binding[int]{Owner: 4, Local: ipv4.Addr{10, 0, 0, 98}, LocalPort: 53})
	for port, want := range map[uint16]string{53: "[2 1]", 54: "[3]", 55: "[]"} {
		owners := []int{}
		for b := range table.At(port) {
			owners = append(owners, b.Owner)
		}
		if got := fmt.Sprint(owners); got != want {
			t.Errorf("port %d: %s, want %s", port, got, want)
		}
	}
	for range table.At(53) {
		break
	}
}
