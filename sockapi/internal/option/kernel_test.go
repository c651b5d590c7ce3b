package option

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	kernel "github.com/outband/outband/inband"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// The kinds of sockets that there are out-of-band, and the stack's own.
var kinds = []struct {
	name string
	kind Kind
	open func(*stack.Stack) (stack.Socket, error)
}{
	{"UDP", Kind{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP}, func(st *stack.Stack) (stack.Socket, error) { return st.NewUDPSocket() }},
	{"ping", Kind{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, func(st *stack.Stack) (stack.Socket, error) { return st.NewPingSocket() }},
	{"raw", Kind{unix.AF_INET, unix.SOCK_RAW, 253}, func(st *stack.Stack) (stack.Socket, error) { return st.NewRawSocket(253) }},
	{"raw ICMP", Kind{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, func(st *stack.Stack) (stack.Socket, error) { return st.NewRawSocket(unix.IPPROTO_ICMP) }},
	{"packet", Kind{unix.AF_PACKET, unix.SOCK_RAW, 0}, func(st *stack.Stack) (stack.Socket, error) { return st.NewPacketSocket(false, 0) }},
}

// A lab is a network namespace and a stack that have loopback only, whose index is 1.
type lab struct {
	kernel *netlab.Namespace
	st     *stack.Stack
}

func newLab(t testing.TB) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	n, err := netlab.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if err := errors.Join(n.SetUp("lo"), n.SetSysctl("net/ipv4/ping_group_range", "0 2147483647")); err != nil {
		t.Fatal(err)
	}
	st, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return &lab{n, st}
}

// A pair is a socket of the kernel's and one of the stack's.
type pair struct {
	fd   int
	ours *State
}

// newPair returns a pair of one kind.
func (l *lab) newPair(t testing.TB, kind int) *pair {
	t.Helper()
	k := kinds[kind]
	p := &pair{ours: &State{Kind: k.kind, Stack: l.st}}
	err := l.kernel.Do(func() (err error) {
		p.fd, err = unix.Socket(k.kind.Domain, k.kind.Typ|unix.SOCK_CLOEXEC, k.kind.Proto)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.open(l.st)
	if err != nil {
		t.Fatal(err)
	}
	p.ours.Open(s)
	p.ours.ReuseAddr.Store(p.ours.IsRaw() || p.ours.IsPing()) // as sockapi has them begin
	return p
}

func (p *pair) close() {
	unix.Close(p.fd)
	p.ours.Socket.Close()
}

func setsockopt(fd, level, name int, value []byte) error {
	return unix.SetsockoptString(fd, level, name, string(value))
}

func getsockopt(fd, level, name int, value []byte) (int, error) {
	room := append(slices.Clone(value), 0) // a pointer to nothing is none
	n, err := getsockoptLen(fd, level, name, room, len(value))
	if err == nil {
		copy(value, room)
	}
	return n, err
}

// getsockoptLen is getsockopt with a length beside the value, which is not empty.
func getsockoptLen(fd, level, name int, value []byte, length int) (int, error) {
	n := uint32(length)
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// set sets an option of both, and reports a difference.
func (p *pair) set(level, name int, value []byte) error {
	want, got := setsockopt(p.fd, level, name, value), p.ours.Set(level, name, value)
	if !errors.Is(got, want) {
		return fmt.Errorf("set to % x: %v, the kernel says %v", value, got, want)
	}
	return nil
}

// get gets an option of both, into a value that says what is asked, and reports a difference.
func (p *pair) get(level, name int, value []byte) error {
	wantValue, gotValue := slices.Clone(value), slices.Clone(value)
	want, wantErr := getsockopt(p.fd, level, name, wantValue)
	got, gotErr := p.ours.Get(level, name, gotValue)
	if !errors.Is(gotErr, wantErr) || got != want || wantErr == nil && !bytes.Equal(gotValue[:min(got, len(value))], wantValue[:min(got, len(value))]) {
		return fmt.Errorf("get % x of %d bytes: % x of %d, %v, the kernel has % x of %d, %v", value, len(value), gotValue, got, gotErr, wantValue, want, wantErr)
	}
	return nil
}

// others are the options that are not compared here.
var others = map[optionKey]string{
	{unix.SOL_SOCKET, TimestampOOB}:                  "EVL's",
	{unix.SOL_SOCKET, unix.SO_COOKIE}:                "no two sockets have one cookie",
	{unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}:         "a pointer",
	{unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF}: "a pointer",
	{unix.SOL_SOCKET, unix.SO_ATTACH_BPF}:            "a descriptor",
	{unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF}: "a descriptor",
	{unix.SOL_SOCKET, unix.SO_BUSY_POLL}:             "the kernel's is that of its devices",
	{unix.SOL_SOCKET, unix.SO_LINGER}:                "the kernel's overflows: see TestLinger",
	{unix.SOL_SOCKET, unix.SO_RCVBUF}:                "the limit is the kernel's: see TestBuffers",
	{unix.SOL_SOCKET, unix.SO_SNDBUF}:                "the limit is the kernel's: see TestBuffers",
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO}:              "the kernel rounds to its ticks",
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO}:              "the kernel rounds to its ticks",
	{unix.SOL_SOCKET, unix.SO_RCVTIMEO_NEW}:          "the kernel rounds to its ticks",
	{unix.SOL_SOCKET, unix.SO_SNDTIMEO_NEW}:          "the kernel rounds to its ticks",
	{unix.SOL_SOCKET, PathOOB}:                       "an option of ours",
}

// corners are numbers where an option may change its mind.
var corners = []int32{-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 64, 127, 128, 255, 256, 1000, 2303, 4607, 65535, 65536, 212991, 212992, 212993,
	1 << 16, 1<<16 | 1, 2<<16 | 1, 1<<16 | 2, 1 << 24, math.MaxInt32 / 2, math.MaxInt32, math.MinInt32}

// TestLikeLinux sets each option of each kind of socket to values of all lengths, of the
// kernel's and of ours: each gives the same error, and the same is told of it afterwards.
func TestLikeLinux(t *testing.T) {
	l := newLab(t)
	keys := slices.Collect(maps.Keys(Options))
	for level := range []int{unix.SOL_IP, unix.SOL_SOCKET, unix.SOL_TCP, unix.SOL_UDP, unix.SOL_RAW, unix.SOL_PACKET, 255} {
		keys = append(keys, optionKey{level, 999})
	}
	slices.SortFunc(keys, func(a, b optionKey) int { return (a.Level-b.Level)*10000 + a.Name - b.Name })
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for _, key := range keys {
				if others[key] != "" || k.kind.IsRaw() && key == (optionKey{unix.SOL_IP, unix.IP_ROUTER_ALERT}) { // which is for routers
					continue
				}
				p := l.newPair(t, i)
				if err := p.script(r, key); err != nil {
					t.Errorf("option %d/%d: %v", key.Level, key.Name, err)
				}
				p.close()
			}
		})
	}
}

// script sets and gets one option.
func (p *pair) script(r *rand.Rand, key optionKey) error {
	for _, n := range []int{64, 0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 15, 16, 17, 32, 36} {
		if err := p.get(key.Level, key.Name, make([]byte, n)); err != nil {
			return err
		}
	}
	for _, n := range []int{4, 0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 40, 41} {
		for _, corner := range corners {
			value := binary.NativeEndian.AppendUint32(nil, uint32(corner))
			if key.Level == unix.SOL_IP && key.Name == unix.IP_UNICAST_IF {
				value = binary.BigEndian.AppendUint32(nil, uint32(corner))
			}
			for len(value) < n {
				value = binary.NativeEndian.AppendUint32(value, uint32(corners[r.IntN(len(corners))]))
			}
			if err := p.set(key.Level, key.Name, value[:n]); err != nil {
				return err
			}
			for _, room := range []int{64, 2, 1} {
				if err := p.get(key.Level, key.Name, make([]byte, room)); err != nil {
					return fmt.Errorf("after % x: %w", value[:n], err)
				}
			}
		}
	}
	return nil
}

// Buffers are what Linux makes of numbers, within the host's limit and beyond it, and of those
// that whoever has the privilege may set.
func TestBuffers(t *testing.T) {
	l := newLab(t)
	for name, force := range map[int]int{unix.SO_RCVBUF: unix.SO_RCVBUFFORCE, unix.SO_SNDBUF: unix.SO_SNDBUFFORCE} {
		p := l.newPair(t, 0)
		limit := int32(kernel.BufferLimit(name))
		for _, v := range append([]int32{limit - 1, limit, limit + 1}, corners...) {
			value := binary.NativeEndian.AppendUint32(nil, uint32(v))
			for _, set := range []int{name, force} {
				if err := errors.Join(p.set(unix.SOL_SOCKET, set, value), p.get(unix.SOL_SOCKET, name, make([]byte, 4))); err != nil {
					t.Errorf("option %d: %v", set, err)
				}
			}
		}
		p.close()
	}
}

func TestLinger(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, 0)
	defer p.close()
	for _, on := range []uint32{0, 1, 2, 0} {
		for _, seconds := range []uint32{0, 1, 1000} {
			b := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, on), seconds)
			for _, n := range []int{7, 8} {
				if err := errors.Join(p.set(unix.SOL_SOCKET, unix.SO_LINGER, b[:n]), p.get(unix.SOL_SOCKET, unix.SO_LINGER, make([]byte, 16))); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestDeviceByName(t *testing.T) {
	l := newLab(t)
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			p := l.newPair(t, i)
			defer p.close()
			for _, name := range []string{"lo", "", "lo\x00x", "nope", "\x00lo", strings.Repeat("x", 15), strings.Repeat("x", 16), "lo\x00" + strings.Repeat("x", 40), "lo"} {
				if err := p.set(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(name)); err != nil {
					t.Errorf("%q: %v", name, err)
				}
				for _, n := range []int{0, 15, 16, 17, 64} {
					if err := p.get(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, make([]byte, n)); err != nil {
						t.Errorf("%q: %v", name, err)
					}
				}
				if err := p.get(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, make([]byte, 4)); err != nil {
					t.Errorf("%q: %v", name, err)
				}
			}
		})
	}
}
