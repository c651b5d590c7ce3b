package gonet

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// withDescriptor returns a connection with a SyscallConn, and that.
func withDescriptor(t *testing.T) (*SyscallUDPConn, syscall.RawConn) {
	t.Helper()
	c := must[*SyscallUDPConn](t)(WithSyscallConn(listener(t, lone(t))))
	return c, must[syscall.RawConn](t)(c.SyscallConn())
}

// TestSyscallConnOptions sets options by descriptor and sees that the connection has them, and
// that the descriptor shows what the connection was set to.
func TestSyscallConnOptions(t *testing.T) {
	c, raw := withDescriptor(t)
	for _, o := range []struct{ level, name, value, want int }{
		{unix.SOL_SOCKET, unix.SO_RCVBUF, 10000, 20000}, {unix.SOL_SOCKET, unix.SO_SNDBUF, 10000, 20000},
		{unix.SOL_IP, unix.IP_TOS, 8, 8}, {unix.SOL_IP, unix.IP_TTL, 7, 7}, {unix.SOL_IP, unix.IP_RECVTOS, 1, 1},
		{unix.SOL_IP, unix.IP_PKTINFO, 1, 1}, {unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE, unix.IP_PMTUDISC_PROBE},
		{unix.SOL_UDP, unix.UDP_SEGMENT, 1000, 1000}, {unix.SOL_UDP, unix.UDP_GRO, 1, 1},
	} {
		var e error
		check(t, raw.Control(func(fd uintptr) { e = unix.SetsockoptInt(int(fd), o.level, o.name, o.value) }))
		check(t, e)
		if v, err := c.s.GetsockoptInt(o.level, o.name); v != o.want || err != nil {
			t.Errorf("option %d of level %d: the connection's is %d, %v, want %d", o.name, o.level, v, err, o.want)
		}
		shown := 0
		check(t, raw.Control(func(fd uintptr) { shown, e = unix.GetsockoptInt(int(fd), o.level, o.name) }))
		if shown != o.want || e != nil {
			t.Errorf("option %d of level %d: %d is shown, %v, want %d", o.name, o.level, shown, e, o.want)
		}
	}
	// What the stand-in cannot show stays as it is: the kernel has no such interface.
	check(t, c.s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 987654))
	check(t, raw.Control(func(uintptr) {}))
	if v, err := c.s.GetsockoptInt(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX); v != 987654 || err != nil {
		t.Errorf("SO_BINDTOIFINDEX: %d, %v", v, err)
	}
	check(t, c.SetReadBuffer(30000))
	check(t, raw.Control(func(fd uintptr) {
		if v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); v != 60000 || err != nil {
			t.Errorf("SO_RCVBUF: %d, %v", v, err)
		}
	}))
}

// TestSyscallConnRefusals: what would be set on a socket that is not the connection's is an
// error, and so is what the stack has not.
func TestSyscallConnRefusals(t *testing.T) {
	c, raw := withDescriptor(t)
	p := ipv4.NewPacketConn(c)
	check(t, p.SetTTL(9))
	if ttl, err := NewPacketConn(c.UDPConn).TTL(); ttl != 9 || err != nil {
		t.Errorf("TTL %d, %v", ttl, err)
	}
	group, source := &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3)}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)}
	for name, err := range map[string]error{
		"JoinGroup":               p.JoinGroup(loopback, group),
		"JoinSourceSpecificGroup": p.JoinSourceSpecificGroup(loopback, group, source),
		"SetBPF":                  p.SetBPF([]bpf.RawInstruction{{Op: 6, K: 4}}),
		"Read":                    raw.Read(func(uintptr) bool { return true }),
		"Write":                   raw.Write(func(uintptr) bool { return true }),
	} {
		if !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := p.WriteTo([]byte("x"), nil, c.LocalAddr())
	if !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("WriteTo: %v", err)
	}
	check(t, c.Close())
	called := false
	if err := raw.Control(func(uintptr) { called = true }); !errors.Is(err, net.ErrClosed) || called {
		t.Errorf("after Close: %v, called %v", err, called)
	}
	if _, err := WithSyscallConn(new(UDPConn)); !errors.Is(err, unix.EINVAL) {
		t.Error(err)
	}
}

// TestMirroredOptions: each option that a stand-in shows is one of the connection's.
func TestMirroredOptions(t *testing.T) {
	c := listener(t, lone(t))
	for _, o := range mirrored {
		v, err := c.s.GetsockoptInt(o.level, o.name)
		if err == nil && o.name != unix.SO_BINDTOIFINDEX && !doubled(o.name) {
			err = c.s.SetsockoptInt(o.level, o.name, v)
		}
		if err != nil && o.name != unix.SO_MARK && o.name != unix.IP_TRANSPARENT { // want privileges
			t.Errorf("option %d of level %d: %v", o.name, o.level, err)
		}
	}
}
