package sockapi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func firstCmsg(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func TestInbandStreams(t *testing.T) {
	for _, tt := range []struct {
		name   string
		domain int
		bind   func(t *testing.T) Sockaddr
	}{
		{"TCP", unix.AF_INET, nil},
		{"TCP over IPv6", unix.AF_INET6, nil},
		{"unix, path", unix.AF_UNIX, func(t *testing.T) Sockaddr { return Unix(filepath.Join(t.TempDir(), "s")) }},
		{"unix, abstract", unix.AF_UNIX, func(*testing.T) Sockaddr { return Unix("@outband\x00test") }},
		{"unix, any", unix.AF_UNIX, func(*testing.T) Sockaddr { return Unix("") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := inbandAPI(t)
			l := inband(t, a, tt.domain, unix.SOCK_STREAM, 0)
			if tt.bind != nil {
				addr := tt.bind(t)
				ok(t, "Bind", l.Bind(addr))
				if got := sockname(t, l); addr.Path() != "" && got != addr || got.Path() == "" {
					t.Errorf("bound to %q, Getsockname %q", addr, got)
				}
			}
			ok(t, "Listen", l.Listen(4))
			c, err := a.Socket(tt.domain, unix.SOCK_STREAM, 0)
			ok(t, "Socket", err)
			defer c.Close()
			ok(t, "Connect", c.Connect(sockname(t, l)))
			s, peer, err := l.Accept(unix.SOCK_NONBLOCK)
			ok(t, "Accept", err)
			defer s.Close()
			if peer != sockname(t, c) {
				t.Errorf("accepted %v, which is %v", peer, sockname(t, c))
			}
			_, err = s.Recv(make([]byte, 8), 0)
			want(t, "Recv on a nonblocking socket", err, unix.EAGAIN)
			if n, err := c.Send([]byte("stream"), 0); n != 6 || err != nil {
				t.Errorf("Send: %d, %v", n, err)
			}
			b := make([]byte, 4)
			ok(t, "SetNonblock", s.SetNonblock(false))
			if n, err := s.Recv(b, unix.MSG_WAITALL); n != 4 || err != nil || string(b) != "stre" {
				t.Errorf("Recv: %d %q, %v", n, b, err)
			}
			ok(t, "Shutdown", c.Shutdown(unix.SHUT_WR))
			if n, _, err := s.Recvfrom(b, unix.MSG_WAITALL); n != 2 || err != nil {
				t.Errorf("Recv of the rest: %d, %v", n, err)
			}
			if n, err := s.Recv(b, 0); n != 0 || err != nil {
				t.Errorf("Recv at the end: %d, %v", n, err)
			}
			_, err = c.Send(b, 0) // a SIGPIPE that Go ignores
			want(t, "Send after Shutdown", err, unix.EPIPE)
		})
	}
}

func TestInbandConnectErrors(t *testing.T) {
	a := inbandAPI(t)
	l := inband(t, a, unix.AF_INET, unix.SOCK_STREAM, 0)
	to := sockname(t, l)
	s := inband(t, a, unix.AF_INET, unix.SOCK_STREAM, 0)
	want(t, "Connect to a port where nobody listens", s.Connect(to), unix.ECONNREFUSED)
	_, _, err := l.Accept(0)
	want(t, "Accept before Listen", err, unix.EINVAL)
	u, err := a.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	ok(t, "Socket", err)
	defer u.Close()
	want(t, "Connect to no file", u.Connect(Unix(t.TempDir()+"/none")), unix.ENOENT)
	want(t, "Connect to a path that is too long", u.Connect(Unix(string(make([]byte, 200)))), unix.EINVAL)
	want(t, "Connect to no path", u.Connect(Unix("")), unix.EINVAL)
}

func TestSocketpairPassesDescriptors(t *testing.T) {
	a := inbandAPI(t)
	pair, err := a.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	ok(t, "Socketpair", err)
	defer pair[0].Close()
	defer pair[1].Close()
	f, err := os.CreateTemp(t.TempDir(), "")
	ok(t, "CreateTemp", err)
	defer f.Close()
	if _, err := f.WriteString("passed"); err != nil {
		t.Fatal(err)
	}
	if _, err := pair[0].Sendmsg(&Msghdr{Iov: [][]byte{{1}}, Control: unix.UnixRights(int(f.Fd()))}, 0); err != nil {
		t.Fatalf("Sendmsg: %v", err)
	}
	m := Msghdr{Iov: [][]byte{make([]byte, 2)}, Control: make([]byte, 64)}
	if n, err := pair[1].Recvmsg(&m, 0); n != 1 || err != nil || m.Flags != 0 {
		t.Fatalf("Recvmsg: %d, flags %#x, %v", n, m.Flags, err)
	}
	if m.Name != (Sockaddr{}) {
		t.Errorf("source %v of an unnamed socket", m.Name)
	}
	cmsgs, err := unix.ParseSocketControlMessage(m.Control[:m.ControlLen])
	if err != nil || len(cmsgs) != 1 {
		t.Fatalf("control messages %v, %v", cmsgs, err)
	}
	fds, err := unix.ParseUnixRights(&cmsgs[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("descriptors %v, %v", fds, err)
	}
	got := os.NewFile(uintptr(fds[0]), "passed")
	defer got.Close()
	b := make([]byte, 16)
	if n, err := got.ReadAt(b, 0); string(b[:n]) != "passed" {
		t.Errorf("the descriptor reads %q, %v", b[:n], err)
	}
	if v, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFD, 0); err != nil || v&unix.FD_CLOEXEC == 0 {
		t.Errorf("FD_CLOEXEC is not set: %#x, %v", v, err)
	}
}

func TestSocketpairErrors(t *testing.T) {
	a := inbandAPI(t)
	for _, tt := range []struct {
		domain, typ int
		want        error
	}{
		{unix.AF_INET, unix.SOCK_DGRAM, unix.EOPNOTSUPP},
		{unix.AF_MAX + 9, unix.SOCK_DGRAM, unix.EAFNOSUPPORT},
		{unix.AF_UNIX, 15, unix.EINVAL},
		{unix.AF_UNIX, unix.SOCK_DGRAM | SOCK_OOB, unix.EAFNOSUPPORT},
		{unix.AF_INET, unix.SOCK_STREAM | SOCK_OOB, unix.ESOCKTNOSUPPORT},
	} {
		_, err := a.Socketpair(tt.domain, tt.typ, 0)
		want(t, "Socketpair", err, tt.want)
	}
}

// linkRequest asks for all interfaces (rtnetlink(7)).
func linkRequest() []byte {
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(b[8:], 77)
	return b
}

func TestInbandNetlink(t *testing.T) {
	s := inband(t, inbandAPI(t), unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	ok(t, "Bind", s.Bind(Netlink(0, 0)))
	if name := sockname(t, s); name.Family != unix.AF_NETLINK || name.IfIndex == 0 {
		t.Errorf("Getsockname: %v", name)
	}
	if _, err := s.Sendto(linkRequest(), 0, Netlink(0, 0)); err != nil {
		t.Fatalf("Sendto: %v", err)
	}
	b := make([]byte, 1<<16)
	n, from, err := s.Recvfrom(b, 0)
	if err != nil || from != Netlink(0, 0) {
		t.Fatalf("Recvfrom: %v from %v", err, from)
	}
	if seq := binary.NativeEndian.Uint32(b[8:]); binary.NativeEndian.Uint16(b[4:]) != unix.RTM_NEWLINK || seq != 77 {
		t.Errorf("answer of type %d, sequence number %d", binary.NativeEndian.Uint16(b[4:]), seq)
	}
	if !bytes.Contains(b[:n], []byte("lo\x00")) {
		t.Error("no loopback interface in the answer")
	}
}

// inNamespace runs f on a thread in a network namespace of its own, with the
// loopback interface up. The thread ends with f.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	needRoot(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no further use
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = loopbackUp()
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; errors.Is(err, unix.EPERM) {
		t.Skipf("may not make a network namespace: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

func TestInbandPacket(t *testing.T) {
	inNamespace(t, func() {
		a := inbandAPI(t)
		s, err := a.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Errorf("Socket: %v", err)
			return
		}
		defer s.Close()
		const lo = 1
		want(t, "Bind", s.Bind(LinkLayer(lo, 0x88b5, [6]byte{})), nil)
		if name := sockname(t, s); name.IfIndex != lo || name.Extra != 0x88b5 || name.Hatype != unix.ARPHRD_LOOPBACK || name.Halen != 6 {
			t.Errorf("Getsockname: %+v", name)
		}
		if _, err := s.Sendto([]byte("frame"), 0, LinkLayer(lo, 0x88b5, [6]byte{2})); err != nil {
			t.Errorf("Sendto: %v", err)
			return
		}
		b := make([]byte, 64)
		n, from, err := s.Recvfrom(b, 0)
		if err != nil || string(b[:n]) != "frame" {
			t.Errorf("Recvfrom: %q, %v", b[:n], err)
		}
		if from.Family != unix.AF_PACKET || from.IfIndex != lo || from.Extra != 0x88b5 || from.MAC() != [6]byte{} {
			t.Errorf("source %+v", from)
		}
		_, err = s.Sendto(b, 0, Sockaddr{Family: unix.AF_PACKET, IfIndex: 99, Extra: 0x88b5, Halen: 6})
		want(t, "Sendto on no interface", err, unix.ENXIO)
	})
}

func TestInbandRaw(t *testing.T) {
	inNamespace(t, func() {
		a := inbandAPI(t)
		s, err := a.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
		if err != nil {
			t.Errorf("Socket: %v", err)
			return
		}
		defer s.Close()
		echo := []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1} // RFC 792: ident 1, sequence 1
		if _, err := s.Sendto(echo, 0, Inet4([4]byte{127, 0, 0, 1}, 0)); err != nil {
			t.Errorf("Sendto: %v", err)
			return
		}
		b := make([]byte, 64)
		n, from, err := s.Recvfrom(b, 0)
		if err != nil || n != 28 || b[9] != unix.IPPROTO_ICMP || from != Inet4([4]byte{127, 0, 0, 1}, 0) {
			t.Errorf("Recvfrom: %x from %v, %v", b[:n], from, err)
		}
	})
}

func TestInbandVsock(t *testing.T) {
	a := inbandAPI(t)
	s, err := a.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skip("the kernel has no AF_VSOCK")
	}
	ok(t, "Socket", err)
	defer s.Close()
	ok(t, "Bind", s.Bind(Vsock(unix.VMADDR_CID_ANY, unix.VMADDR_PORT_ANY)))
	name := sockname(t, s)
	if name.Family != unix.AF_VSOCK || name.IfIndex != unix.VMADDR_CID_ANY || name.Extra == unix.VMADDR_PORT_ANY {
		t.Errorf("Getsockname: %v", name)
	}
	if got := Vsock(name.IfIndex, name.Extra); got != name {
		t.Errorf("%+v is not %+v", got, name)
	}
	_, err = s.Getpeername()
	want(t, "Getpeername", err, unix.ENOTCONN)
}
