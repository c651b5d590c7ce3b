package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	cilium "github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/ebpf/asm"
	"github.com/outband/outband/internal/netlab"
)

// needed skips a test where bpf(2) is not permitted.
func needed(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_BPF and CAP_NET_ADMIN: run as root")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newMap makes a map for a test.
func newMap(t *testing.T, s MapSpec) *Map {
	t.Helper()
	m, err := NewMap(&s)
	check(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func key(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// A map keeps what is put in, up to its size.
func TestMap(t *testing.T) {
	needed(t)
	m := newMap(t, MapSpec{Name: "oob_test", Type: Hash, KeySize: 4, ValueSize: 3, MaxEntries: 2})
	if keys, err := m.Keys(); len(keys) != 0 || err != nil {
		t.Errorf("a new map has %v, %v", keys, err)
	}
	check(t, m.Put(key(1), []byte("one")))
	check(t, m.Put(key(2), []byte("two")))
	if err := m.Put(key(3), []byte("tri")); !errors.Is(err, unix.E2BIG) {
		t.Errorf("a third: %v", err)
	}
	check(t, m.Put(key(2), []byte("dos")))
	v := make([]byte, 3)
	if err := m.Lookup(key(2), v); err != nil || string(v) != "dos" {
		t.Errorf("%q, %v", v, err)
	}
	if keys, err := m.Keys(); len(keys) != 2 || bytes.Equal(keys[0], keys[1]) || err != nil {
		t.Errorf("keys %v, %v", keys, err)
	}
	check(t, m.Delete(key(2)))
	if err := m.Lookup(key(2), v); err != unix.ENOENT {
		t.Errorf("what was deleted: %v", err)
	}
	if err := m.Delete(key(2)); err != unix.ENOENT {
		t.Errorf("deleted again: %v", err)
	}
	for _, err := range []error{m.Put(key(1), []byte("four")), m.Put([]byte("key"), v), m.Lookup(key(1), v[:2]), m.Delete(nil)} {
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("a wrong length: %v", err)
		}
	}
	if name := mapName(t, m); name != "oob_test" {
		t.Errorf("the map is %q", name)
	}
}

// mapName returns a map's name as another library reads it.
func mapName(t *testing.T, m *Map) string {
	t.Helper()
	fd, err := unix.Dup(m.FD())
	check(t, err)
	their, err := cilium.NewMapFromFD(fd)
	check(t, err)
	defer their.Close()
	info, err := their.Info()
	check(t, err)
	return info.Name
}

// A map of all processors has a value of each.
func TestPerCPU(t *testing.T) {
	needed(t)
	n, err := PossibleCPUs()
	check(t, err)
	if want := cilium.MustPossibleCPU(); n != want {
		t.Errorf("%d processors, want %d", n, want)
	}
	for _, size := range []int{12, 16, 24} {
		perCPU(t, n, size)
	}
}

// perCPU puts in and looks up values of a size.
func perCPU(t *testing.T, n, size int) {
	t.Helper()
	m := newMap(t, MapSpec{Name: "oob_test", Type: PerCPUArray, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1})
	each := (size + 7) / 8 * 8
	put := make([]byte, n*each)
	for i := range n {
		copy(put[i*each:], strings.Repeat(string(rune('a'+i)), size))
	}
	check(t, m.Put(key(0), put))
	got := make([]byte, n*each)
	check(t, m.Lookup(key(0), got))
	if !bytes.Equal(got, put) {
		t.Errorf("%q, want %q", got, put)
	}
	if err := m.Lookup(key(0), got[:each-1]); !errors.Is(err, unix.EINVAL) {
		t.Errorf("too short: %v", err)
	}
}

func TestParseCPUs(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3": 4, "0-127": 128, "": -1, "1-3": -1, "0-x": -1, "0-3,5": -1} {
		n, err := parseCPUs(list)
		if want < 0 && err == nil || want >= 0 && (n != want || err != nil) {
			t.Errorf("%q: %d, %v; want %d", list, n, err, want)
		}
	}
}

// A program runs as it says; one that the verifier refuses says why.
func TestProgram(t *testing.T) {
	needed(t)
	m := newMap(t, MapSpec{Name: "oob_test", Type: Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	check(t, m.Put(key(0), key(42)))
	p, err := NewProgram(&ProgramSpec{Name: "oob_test", Type: SchedCLS, License: "Apache-2.0", Instructions: asm.Instructions{
		asm.LoadMapValue(asm.R1, m.FD(), 0),
		asm.LoadMem(asm.R0, asm.R1, 0, asm.Word),
		asm.Return(),
	}})
	check(t, err)
	defer p.Close()
	fd, err := unix.Dup(p.FD())
	check(t, err)
	their, err := cilium.NewProgramFromFD(fd)
	check(t, err)
	defer their.Close()
	if v, _, err := their.Test(make([]byte, 60)); v != 42 || err != nil || p.Type() != SchedCLS {
		t.Errorf("%d, %v", v, err)
	}
	_, err = NewProgram(&ProgramSpec{Name: "oob_test", Type: SchedCLS, License: "Apache-2.0", Instructions: asm.Instructions{
		asm.LoadMem(asm.R0, asm.R5, 0, asm.Word), asm.Return()}})
	if !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "R5 !read_ok") {
		t.Errorf("a program that reads what is not there: %v", err)
	}
	if _, err = NewProgram(&ProgramSpec{Instructions: asm.Instructions{asm.Ja.Label("nowhere")}}); err == nil {
		t.Error("a jump to nowhere is loaded")
	}
}

// A program is at a device until its link is closed, or the device is gone.
func TestAttachTCX(t *testing.T) {
	needed(t)
	ns, err := netlab.NewNamespace()
	check(t, err)
	defer ns.Close()
	check(t, ns.AddVeth(netlab.Veth{Name: "veth0", PeerName: "veth1", Peer: ns, MTU: 1500}))
	device, err := ns.Device("veth0")
	check(t, err)
	p, err := NewProgram(&ProgramSpec{Name: "oob_test", Type: SchedCLS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}})
	check(t, err)
	defer p.Close()
	var l *Link
	check(t, ns.Do(func() (err error) { l, err = AttachTCX(device.Index, p); return err }))
	defer l.Close()
	if l.Device() != device.Index {
		t.Errorf("it is on %d, want %d", l.Device(), device.Index)
	}
	err = ns.Do(func() error { _, err := AttachTCX(12345, p); return err })
	if !errors.Is(err, unix.ENODEV) {
		t.Errorf("at no device: %v", err)
	}
	check(t, ns.DeleteDevice("veth0"))
	if l.Device() != 0 {
		t.Errorf("it is on %d, which is gone", l.Device())
	}
}
