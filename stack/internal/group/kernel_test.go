package group

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// A kernelSocket makes the same calls of one of the kernel's sockets, on its loopback.
type kernelSocket int

var loopback = ipv4.Addr{127, 0, 0, 1}

func (k kernelSocket) byIndex(option int, g ipv4.Addr, index int) error {
	return unix.SetsockoptIPMreqn(int(k), unix.IPPROTO_IP, option, &unix.IPMreqn{Multiaddr: g, Ifindex: int32(index)})
}

func (k kernelSocket) bySource(option int, g, source ipv4.Addr) error {
	b := append(append(append([]byte(nil), g[:]...), loopback[:]...), source[:]...) // struct ip_mreq_source
	return unix.SetsockoptString(int(k), unix.IPPROTO_IP, option, string(b))
}

// modes are MCAST_EXCLUDE and MCAST_INCLUDE.
var modes = map[igmp.Mode]uint32{igmp.Exclude: 0, igmp.Include: 1}

func msfilter(g ipv4.Addr, mode, n uint32) []byte {
	b := append(append([]byte(nil), g[:]...), loopback[:]...)
	return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(b, mode), n)
}

func (k kernelSocket) setFilter(g ipv4.Addr, f igmp.Filter) error {
	b := msfilter(g, modes[f.Mode], uint32(len(f.Sources)))
	for _, s := range f.Sources {
		b = append(b, s[:]...)
	}
	return unix.SetsockoptString(int(k), unix.IPPROTO_IP, unix.IP_MSFILTER, string(b))
}

func (k kernelSocket) filter(g ipv4.Addr) (f igmp.Filter, err error) {
	const most = 64
	b := append(msfilter(g, 0, most), make([]byte, 4*most)...)
	n := uint32(len(b))
	if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(k), unix.IPPROTO_IP, unix.IP_MSFILTER, uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)), 0); e != 0 {
		return f, e
	}
	if f.Mode = igmp.Exclude; binary.NativeEndian.Uint32(b[8:]) == modes[igmp.Include] {
		f.Mode = igmp.Include
	}
	for i := range int(binary.NativeEndian.Uint32(b[12:])) {
		f.Sources = append(f.Sources, ipv4.Addr(b[16+4*i:]))
	}
	return f, nil
}

func sysctl(t *testing.T, name string) int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
	if err != nil {
		t.Skip(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

func newKernelSocket(t *testing.T) kernelSocket {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	k := kernelSocket(fd)
	if err := k.byIndex(unix.IP_ADD_MEMBERSHIP, group(200), 1); err != nil {
		t.Skipf("interface 1 takes no memberships: %v", err)
	}
	if err := k.byIndex(unix.IP_DROP_MEMBERSHIP, group(200), 1); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestLikeLinux makes the same calls at random of a socket of the kernel's and of ours:
// each gives the same error, and what getsockopt tells afterwards is the same.
func TestLikeLinux(t *testing.T) {
	max := Limits{sysctl(t, "igmp_max_memberships"), sysctl(t, "igmp_max_msf")}
	if max.Memberships > 64 || max.Sources > 32 {
		t.Skipf("the kernel's limits are large: %v", max)
	}
	k := newKernelSocket(t)
	h := newHost(max)
	m, _ := h.member()
	o := m.Options()
	r := rand.New(rand.NewPCG(1, 2))
	for step := range 6000 {
		groups := 3
		if step/1000%2 == 1 {
			groups = max.Memberships + 3
		}
		g, s, index := group(r.IntN(groups)), source(1+r.IntN(max.Sources+2)), []int{1, 1, 1, 1, 12345}[r.IntN(5)]
		if r.IntN(20) == 0 {
			g = source(1)
		}
		f := igmp.Filter{Mode: []igmp.Mode{igmp.Include, igmp.Exclude}[r.IntN(2)]}
		for range min(r.IntN(3)*r.IntN(max.Sources+1), max.Sources) { // Linux looks at the number before anything else: so do callers
			f.Sources = append(f.Sources, source(1+len(f.Sources)))
		}
		byIndex, byAddress := Request{Group: g, Interface: index}, Request{Group: g, Address: loopback}
		var what string
		var want, got error
		switch r.IntN(9) {
		case 0, 1, 2:
			what, want, got = "join", k.byIndex(unix.IP_ADD_MEMBERSHIP, g, index), o.JoinGroup(byIndex)
		case 3:
			what, want, got = "leave", k.byIndex(unix.IP_DROP_MEMBERSHIP, g, index), o.LeaveGroup(byIndex)
		case 4:
			what, want, got = "join source", k.bySource(unix.IP_ADD_SOURCE_MEMBERSHIP, g, s), o.JoinSource(byAddress, s)
		case 5:
			what, want, got = "leave source", k.bySource(unix.IP_DROP_SOURCE_MEMBERSHIP, g, s), o.LeaveSource(byAddress, s)
		case 6:
			what, want, got = "block", k.bySource(unix.IP_BLOCK_SOURCE, g, s), o.BlockSource(byAddress, s)
		case 7:
			what, want, got = "unblock", k.bySource(unix.IP_UNBLOCK_SOURCE, g, s), o.UnblockSource(byAddress, s)
		case 8:
			what, want, got = "filter", k.setFilter(g, f), o.SetGroupFilter(byAddress, f)
		}
		if !errors.Is(got, want) {
			t.Fatalf("step %d: %s %v, source %v, interface %d, filter %v: %v, the kernel says %v", step, what, g, s, index, f, got, want)
		}
		wantFilter, want := k.filter(g)
		gotFilter, got := o.GroupFilter(byAddress)
		if !errors.Is(got, want) || gotFilter.Mode != wantFilter.Mode && want == nil || string(flat(gotFilter)) != string(flat(wantFilter)) {
			t.Fatalf("step %d: after %s %v, source %v: %v, %v, the kernel has %v, %v", step, what, g, s, gotFilter, got, wantFilter, want)
		}
	}
}

func flat(f igmp.Filter) (b []byte) {
	for _, s := range f.Sources {
		b = append(b, s[:]...)
	}
	return b
}
