package option

import (
	"errors"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// program is one of n instructions that takes everything.
func program(n int) []bpf.RawInstruction {
	code := make([]bpf.RawInstruction, n)
	for i := range code {
		code[i] = bpf.RawInstruction{Op: unix.BPF_RET, Jt: 0, Jf: 0, K: 0x12345678}
	}
	return code
}

func kernelFilter(fd, name int, code []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(code), len(code)+1)
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, name, &unix.SockFprog{Len: uint16(len(code)), Filter: &filter[:1][0]})
}

// Filters are attached, read, locked and taken away as in Linux.
func TestFilters(t *testing.T) {
	l := newLab(t)
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			p := l.newPair(t, i)
			defer p.close()
			same := func(what string, got, want error) {
				t.Helper()
				if !errors.Is(got, want) {
					t.Errorf("%s: %v, the kernel says %v", what, got, want)
				}
			}
			read := func() {
				t.Helper()
				for _, n := range []int{0, 8, 15, 16, 17, 64} {
					value := make([]byte, n)
					// Its length is in instructions, for the kernel too.
					want, wantErr := getsockopt2(p.fd, value, n/8)
					got := make([]byte, n/8*8)
					m, err := p.ours.Get(unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, got)
					if !errors.Is(err, wantErr) || m != want || err == nil && string(got[:min(8*m, len(got))]) != string(value[:min(8*m, len(got))]) {
						t.Errorf("%d bytes: %d, %v: % x; the kernel has %d, %v: % x", n, m, err, got, want, wantErr, value)
					}
				}
			}
			attach := func(n int) {
				t.Helper()
				same("attach", p.ours.AttachFilter(program(n)), kernelFilter(p.fd, unix.SO_ATTACH_FILTER, program(n)))
			}
			read()
			both(t, "detach none", p.set(unix.SOL_SOCKET, unix.SO_DETACH_FILTER, number(0)))
			attach(2)
			read()
			both(t, "detach", p.set(unix.SOL_SOCKET, unix.SO_DETACH_FILTER, number(0)), p.set(unix.SOL_SOCKET, unix.SO_DETACH_FILTER, number(0)))
			read()
			bad := program(1)
			bad[0].Op = 0xffff
			same("attach what is none", p.ours.AttachFilter(bad), kernelFilter(p.fd, unix.SO_ATTACH_FILTER, bad))
			read()
			attach(1)
			if err := p.ours.Set(unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, make([]byte, 16)); err != unix.EINVAL {
				t.Errorf("in bytes: %v", err)
			}
			for _, on := range []int{1, 1, 0} {
				both(t, "lock", p.set(unix.SOL_SOCKET, unix.SO_LOCK_FILTER, number(on)))
			}
			attach(2)
			read()
			both(t, "detach what is locked", p.set(unix.SOL_SOCKET, unix.SO_DETACH_FILTER, number(0)))
			for n, want := range map[int]error{8: unix.EINVAL, 16: unix.EPERM} {
				if err := p.ours.Set(unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, make([]byte, n)); err != want {
					t.Errorf("%d bytes to a locked socket: %v", n, err)
				}
			}
			same("a group's program", p.ours.AttachReusePort(program(1)), kernelFilter(p.fd, unix.SO_ATTACH_REUSEPORT_CBPF, program(1)))
			for _, name := range []int{unix.SO_ATTACH_BPF, unix.SO_ATTACH_REUSEPORT_EBPF} {
				both(t, "eBPF", p.set(unix.SOL_SOCKET, name, number(-1)))
			}
		})
	}
}

// getsockopt2 is SO_GET_FILTER of the kernel: its length is in instructions.
func getsockopt2(fd int, value []byte, n int) (int, error) {
	room := make([]byte, 8*n+8)
	got, err := getsockoptLen(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, room, n)
	copy(value, room)
	return got, err
}

// A socket that is not locked: groups' programs are for sockets with ports, and
// descriptors are no programs.
func TestPrograms(t *testing.T) {
	l := newLab(t)
	for i, k := range kinds {
		p := l.newPair(t, i)
		p.ours.reusePort.Store(true)
		p.ours.Reuse()
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		want, got := kernelFilter(p.fd, unix.SO_ATTACH_REUSEPORT_CBPF, program(1)), p.ours.AttachReusePort(program(1))
		if p.ours.Ports != nil && !errors.Is(got, want) || p.ours.Ports == nil && got == nil {
			t.Errorf("%s: %v, the kernel says %v", k.name, got, want)
		}
		for _, name := range []int{unix.SO_ATTACH_BPF, unix.SO_ATTACH_REUSEPORT_EBPF} {
			for _, fd := range []int{-1, p.fd, 1 << 20} {
				want := setsockopt(p.fd, unix.SOL_SOCKET, name, number(fd))
				if got := p.ours.Set(unix.SOL_SOCKET, name, number(fd)); !errors.Is(got, want) && p.ours.Ports != nil {
					t.Errorf("%s, option %d, descriptor %d: %v, the kernel says %v", k.name, name, fd, got, want)
				}
			}
		}
		p.close()
	}
}
