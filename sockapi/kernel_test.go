package sockapi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/sockapi/internal/kernel"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// inbandAPI returns an API for in-band sockets, which need no stack, and has
// the test fail if it leaves one open.
func inbandAPI(t testing.TB) *API {
	t.Helper()
	before := openSockets(t)
	t.Cleanup(func() {
		if after := openSockets(t); after > before {
			t.Errorf("%d in-band sockets left open", after-before)
		}
	})
	return New(nil)
}

// openSockets returns how many of the process's descriptors are sockets.
func openSockets(t testing.TB) int {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	n := 0
	for _, fd := range dir {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, "socket:") {
			n++
		}
	}
	return n
}

// inband opens an in-band socket, bound to a loopback address if the family
// has one, for the length of a test.
func inband(t testing.TB, a *API, domain, typ, proto int) *Socket {
	t.Helper()
	s, err := a.Socket(domain, typ, proto)
	if err != nil {
		t.Fatalf("Socket(%d, %#x, %d): %v", domain, typ, proto, err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if ip, ok := map[int]string{unix.AF_INET: "127.0.0.1", unix.AF_INET6: "::1"}[domain]; ok {
		if err := s.Bind(InetAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))); err != nil {
			t.Skipf("no loopback address %s here: %v", ip, err)
		}
	}
	return s
}

func sockname(t testing.TB, s *Socket) Sockaddr {
	t.Helper()
	a, err := s.Getsockname()
	if err != nil {
		t.Fatalf("Getsockname: %v", err)
	}
	return a
}

// want fails the test unless err is exactly what Linux gives.
func want(t testing.TB, what string, err, errno error) {
	t.Helper()
	if err != errno {
		t.Errorf("%s: %v, want %v", what, err, errno)
	}
}

// ok fails the test at once if there is an error.
func ok(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestInbandDatagrams(t *testing.T) {
	for _, family := range []struct {
		name   string
		domain int
	}{{"IPv4", unix.AF_INET}, {"IPv6", unix.AF_INET6}} {
		t.Run(family.name, func(t *testing.T) {
			a := inbandAPI(t)
			here, there := inband(t, a, family.domain, unix.SOCK_DGRAM, 0), inband(t, a, family.domain, unix.SOCK_DGRAM, 0)
			if here.OutOfBand() {
				t.Error("a socket without SOCK_OOB is out-of-band")
			}
			to, from := sockname(t, there), sockname(t, here)
			if int(to.Family) != family.domain || to.Port == 0 {
				t.Fatalf("Getsockname: %v", to)
			}

			n, err := here.Sendto([]byte("hello"), 0, to)
			if n != 5 {
				t.Fatalf("Sendto: %d, %v", n, err)
			}
			buf := make([]byte, 4)
			n, src, err := there.Recvfrom(buf, unix.MSG_PEEK|unix.MSG_TRUNC)
			if err != nil || n != 5 || src != from || string(buf) != "hell" {
				t.Errorf("peeked %d %q from %v, %v", n, buf, src, err)
			}
			n, err = there.Recv(buf, 0)
			if err != nil || n != 4 {
				t.Errorf("Recv: %d, %v", n, err)
			}

			ok(t, "Connect", here.Connect(to))
			if peer, err := here.Getpeername(); err != nil || peer != to {
				t.Errorf("Getpeername: %v, %v", peer, err)
			}
			if n, err = here.Send(nil, 0); n != 0 || err != nil {
				t.Errorf("Send of nothing: %d, %v", n, err)
			}
			if n, src, err = there.Recvfrom(nil, 0); n != 0 || err != nil || src != from {
				t.Errorf("Recvfrom of nothing: %d from %v, %v", n, src, err)
			}
			ok(t, "Connect to none", here.Connect(Sockaddr{}))
			_, err = here.Getpeername()
			want(t, "Getpeername", err, unix.ENOTCONN)
			_, err = here.Send([]byte("x"), 0)
			want(t, "Send without a peer", err, unix.EDESTADDRREQ)
		})
	}
}

func TestInbandErrors(t *testing.T) {
	a := inbandAPI(t)
	s := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	buf := make([]byte, 70000)
	_, err := s.Recv(buf, 0)
	want(t, "Recv, O_NONBLOCK", err, unix.EAGAIN)
	ok(t, "SetNonblock", s.SetNonblock(false))
	_, err = s.Recv(buf, unix.MSG_DONTWAIT)
	want(t, "Recv, MSG_DONTWAIT", err, unix.EAGAIN)
	_, err = s.Recv(buf, unix.MSG_OOB|unix.MSG_DONTWAIT)
	want(t, "Recv, MSG_OOB, which UDP ignores", err, unix.EAGAIN)
	_, err = s.Sendto(buf, 0, Inet4([4]byte{127, 0, 0, 1}, 9))
	want(t, "Sendto of 70000 bytes", err, unix.EMSGSIZE)
	_, err = s.Sendto(buf[:65508], 0, Inet4([4]byte{127, 0, 0, 1}, 9))
	want(t, "Sendto of 65508 bytes", err, unix.EMSGSIZE)
	_, err = s.Sendto(buf[:1], 0, Unix("/x"))
	want(t, "Sendto to another family", err, unix.EINVAL)
	_, err = s.Sendto(buf[:1], 0, Inet4([4]byte{127, 255, 255, 255}, 9))
	want(t, "Sendto to a broadcast", err, unix.EACCES)
	want(t, "Bind again", s.Bind(Inet4([4]byte{127, 0, 0, 1}, 0)), unix.EINVAL)
	want(t, "Shutdown", s.Shutdown(unix.SHUT_RDWR), unix.ENOTCONN)
	want(t, "Listen", s.Listen(1), unix.EOPNOTSUPP)
	_, _, err = s.Accept(0)
	want(t, "Accept", err, unix.EOPNOTSUPP)
	_, _, err = s.Accept(SOCK_OOB)
	want(t, "Accept with SOCK_OOB", err, unix.EINVAL)

	_, err = s.Sendto(buf[:1], 0, sockname(t, s))
	want(t, "Sendto after Shutdown, which did its work", err, unix.EPIPE)

	s = inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	gone := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	to := sockname(t, gone)
	ok(t, "Close", gone.Close())
	ok(t, "Connect", s.Connect(to))
	_, err = s.Send([]byte("x"), 0)
	ok(t, "Send", err)
	_, err = s.Recv(buf, 0)
	want(t, "Recv after a port unreachable", err, unix.ECONNREFUSED)

	for _, tt := range []struct {
		domain, typ, proto int
		want               error
	}{
		{unix.AF_MAX + 9, unix.SOCK_DGRAM, 0, unix.EAFNOSUPPORT},
		{unix.AF_INET, 15, 0, unix.EINVAL},
		{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_TCP, unix.EPROTONOSUPPORT},
		{unix.AF_INET, unix.SOCK_SEQPACKET, 0, unix.ESOCKTNOSUPPORT},
	} {
		_, err := a.Socket(tt.domain, tt.typ, tt.proto)
		want(t, "Socket", err, tt.want)
	}
}

func TestInbandClosed(t *testing.T) {
	a := inbandAPI(t)
	s := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	ok(t, "Close", s.Close())
	b := make([]byte, 8)
	m := &Msghdr{Iov: [][]byte{b}}
	for name, call := range map[string]func() error{
		"Close":       s.Close,
		"Bind":        func() error { return s.Bind(Inet4([4]byte{}, 0)) },
		"Connect":     func() error { return s.Connect(Sockaddr{}) },
		"Getsockname": func() error { _, err := s.Getsockname(); return err },
		"Getpeername": func() error { _, err := s.Getpeername(); return err },
		"Shutdown":    func() error { return s.Shutdown(unix.SHUT_RD) },
		"SetNonblock": func() error { return s.SetNonblock(true) },
		"Setsockopt":  func() error { return s.Setsockopt(unix.SOL_SOCKET, unix.SO_BROADCAST, b[:4]) },
		"Getsockopt":  func() error { _, err := s.Getsockopt(unix.SOL_SOCKET, unix.SO_TYPE, b); return err },
		"Recv":        func() error { _, err := s.Recv(b, 0); return err },
		"Recvmsg":     func() error { _, err := s.Recvmsg(m, 0); return err },
		"Recvmmsg":    func() error { _, err := s.Recvmmsg([]Mmsghdr{{Hdr: *m}}, 0, -1); return err },
		"Send":        func() error { _, err := s.Send(b, 0); return err },
		"Sendmsg":     func() error { _, err := s.Sendmsg(m, 0); return err },
		"Sendmmsg":    func() error { _, err := s.Sendmmsg([]Mmsghdr{{Hdr: *m}}, 0); return err },
		"Listen":      func() error { return s.Listen(1) },
		"Accept":      func() error { _, _, err := s.Accept(0); return err },
	} {
		want(t, name, call(), unix.EBADF)
	}
}

func TestInbandOptions(t *testing.T) {
	a := inbandAPI(t)
	s := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	for _, tt := range []struct {
		name              string
		level, opt        int
		set, want, length int
	}{
		{"SO_TYPE", unix.SOL_SOCKET, unix.SO_TYPE, -1, unix.SOCK_DGRAM, 4},
		{"SO_DOMAIN", unix.SOL_SOCKET, unix.SO_DOMAIN, -1, unix.AF_INET, 4},
		{"SO_PROTOCOL", unix.SOL_SOCKET, unix.SO_PROTOCOL, -1, unix.IPPROTO_UDP, 4},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 5000, 10000, 4},
		{"IP_TTL", unix.SOL_IP, unix.IP_TTL, 7, 7, 4},
	} {
		if tt.set >= 0 {
			ok(t, tt.name, s.SetsockoptInt(tt.level, tt.opt, tt.set))
		}
		var b [16]byte
		n, err := s.Getsockopt(tt.level, tt.opt, b[:])
		if got := int(binary.NativeEndian.Uint32(b[:])); err != nil || n != tt.length || got != tt.want {
			t.Errorf("%s: %d in %d bytes, %v; want %d in %d", tt.name, got, n, err, tt.want, tt.length)
		}
	}
	var b [1]byte
	if n, err := s.Getsockopt(unix.SOL_IP, unix.IP_TTL, b[:]); n != 1 || err != nil || b[0] != 7 {
		t.Errorf("IP_TTL in a byte: %d in %d bytes, %v", b[0], n, err)
	}
	if n, err := s.Getsockopt(unix.SOL_SOCKET, unix.SO_TYPE, nil); n != 0 || err != nil {
		t.Errorf("SO_TYPE in no bytes: %d bytes, %v", n, err)
	}
	want(t, "short SO_BROADCAST", s.Setsockopt(unix.SOL_SOCKET, unix.SO_BROADCAST, nil), unix.EINVAL)
	want(t, "SO_TYPE set", s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_TYPE, 1), unix.ENOPROTOOPT)
	_, err := s.Getsockopt(unix.SOL_SOCKET, 9999, b[:])
	want(t, "no such option", err, unix.ENOPROTOOPT)
}

func TestInbandTimeout(t *testing.T) {
	a := inbandAPI(t)
	s := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	ok(t, "SO_RCVTIMEO", s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 30*time.Millisecond))
	start := time.Now()
	_, err := s.Recv(make([]byte, 1), 0)
	want(t, "Recv", err, unix.EAGAIN)
	if d := time.Since(start); d < 25*time.Millisecond {
		t.Errorf("gave up after %v of 30 ms", d)
	}
}

func TestInbandFlags(t *testing.T) {
	a := inbandAPI(t)
	s := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	for name, flag := range map[string]struct{ cmd, bit int }{
		"FD_CLOEXEC": {unix.F_GETFD, unix.FD_CLOEXEC},
		"O_NONBLOCK": {unix.F_GETFL, unix.O_NONBLOCK},
	} {
		v, err := unix.FcntlInt(uintptr(kernelOf(s).FD()), flag.cmd, 0)
		if err != nil || v&flag.bit == 0 {
			t.Errorf("%s is not set: %#x, %v", name, v, err)
		}
	}
	if s.Is().Typ != unix.SOCK_DGRAM {
		t.Errorf("type %#x", s.Is().Typ)
	}
}

func TestInbandMessages(t *testing.T) {
	a := inbandAPI(t)
	here, there := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0), inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	ok(t, "IP_PKTINFO", there.SetsockoptInt(unix.SOL_IP, unix.IP_PKTINFO, 1))
	ok(t, "IP_RECVTTL", there.SetsockoptInt(unix.SOL_IP, unix.IP_RECVTTL, 1))

	// Control messages both ways: the TTL of one datagram, and what it came by.
	ttl := make([]byte, unix.CmsgSpace(4))
	h := (*unix.Cmsghdr)(firstCmsg(ttl))
	h.Level, h.Type = unix.SOL_IP, unix.IP_TTL
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(ttl[unix.CmsgLen(0):], 33)
	out := Msghdr{Name: sockname(t, there), Iov: [][]byte{[]byte("ab"), nil, []byte("cde")}, Control: ttl}
	if n, err := here.Sendmsg(&out, 0); n != 5 || err != nil {
		t.Fatalf("Sendmsg: %d, %v", n, err)
	}
	b1, b2 := make([]byte, 3), make([]byte, 1)
	in := Msghdr{Iov: [][]byte{b1, b2}, Control: make([]byte, 256)}
	n, err := there.Recvmsg(&in, unix.MSG_TRUNC)
	if n != 5 || err != nil || string(b1)+string(b2) != "abcd" || in.Flags != unix.MSG_TRUNC || in.Name != sockname(t, here) {
		t.Errorf("Recvmsg: %d, %v, %q %q, flags %#x from %v", n, err, b1, b2, in.Flags, in.Name)
	}
	got := map[int32][]byte{}
	cmsgs, err := unix.ParseSocketControlMessage(in.Control[:in.ControlLen])
	ok(t, "control messages", err)
	for _, c := range cmsgs {
		got[c.Header.Type] = c.Data
	}
	if v := got[unix.IP_TTL]; len(v) < 4 || v[0] != 33 {
		t.Errorf("IP_TTL %x", v)
	}
	if v := got[unix.IP_PKTINFO]; len(v) != unix.SizeofInet4Pktinfo || string(v[8:12]) != "\x7f\x00\x00\x01" {
		t.Errorf("IP_PKTINFO %x", v)
	}

	_, err = here.Sendmsg(&out, 0)
	ok(t, "Sendmsg", err)
	in.Control = in.Control[:unix.CmsgSpace(4)]
	_, err = there.Recvmsg(&in, 0)
	if err != nil || in.Flags&unix.MSG_CTRUNC == 0 {
		t.Errorf("too little room for control messages: flags %#x, %v", in.Flags, err)
	}

	// More buffers than fit the stack, and more than Linux takes.
	many := Msghdr{Name: sockname(t, there)}
	for range 3 * kernel.FewBuffers {
		many.Iov = append(many.Iov, []byte("x"))
	}
	if n, err := here.Sendmsg(&many, 0); n != 3*kernel.FewBuffers || err != nil {
		t.Errorf("Sendmsg of many: %d, %v", n, err)
	}
	for range 1025 {
		many.Iov = append(many.Iov, []byte("x"))
	}
	_, err = here.Sendmsg(&many, 0)
	want(t, "Sendmsg of too many", err, unix.EMSGSIZE)
}

func TestInbandErrorQueue(t *testing.T) {
	a := inbandAPI(t)
	s, gone := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0), inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	to := sockname(t, gone)
	ok(t, "Close", gone.Close())
	ok(t, "IP_RECVERR", s.SetsockoptInt(unix.SOL_IP, unix.IP_RECVERR, 1))
	_, err := s.Sendto([]byte("lost"), 0, to)
	ok(t, "Sendto", err)
	b := make([]byte, 8)
	m := Msghdr{Iov: [][]byte{b}, Control: make([]byte, 128)}
	n, err := s.Recvmsg(&m, unix.MSG_ERRQUEUE)
	if err != nil || string(b[:n]) != "lost" || m.Flags&unix.MSG_ERRQUEUE == 0 || m.Name != to {
		t.Errorf("error queue: %q for %v, flags %#x, %v", b[:n], m.Name, m.Flags, err)
	}
	if c, err := unix.ParseSocketControlMessage(m.Control[:m.ControlLen]); err != nil || len(c) != 1 || c[0].Header.Type != unix.IP_RECVERR {
		t.Errorf("control messages %v, %v", c, err)
	}
}

func TestInbandManyMessages(t *testing.T) {
	a := inbandAPI(t)
	here, there := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0), inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	to := sockname(t, there)
	const count = 40
	out := make([]Mmsghdr, count)
	in := make([]Mmsghdr, count)
	for i := range out {
		out[i].Hdr = Msghdr{Name: to, Iov: [][]byte{[]byte(strings.Repeat("a", i)), []byte("b")}}
		in[i].Hdr.Iov = [][]byte{make([]byte, 20), make([]byte, 10)}
	}
	if n, err := here.Sendmmsg(out, 0); n != count || err != nil || out[7].Len != 8 {
		t.Fatalf("Sendmmsg: %d (the eighth %d bytes), %v", n, out[7].Len, err)
	}
	n, err := there.Recvmmsg(in, unix.MSG_WAITFORONE, -1)
	if n != count || err != nil {
		t.Fatalf("Recvmmsg: %d, %v", n, err)
	}
	for i := range in {
		m := &in[i]
		flags := 0
		if i+1 > 30 {
			flags = unix.MSG_TRUNC
		}
		if m.Len != min(i+1, 30) || m.Hdr.Flags != flags || m.Hdr.Name != sockname(t, here) {
			t.Errorf("message %d: %d bytes, flags %#x, from %v", i, m.Len, m.Hdr.Flags, m.Hdr.Name)
		}
	}
	_, err = there.Recvmmsg(in, unix.MSG_DONTWAIT, -1)
	want(t, "Recvmmsg of nothing", err, unix.EAGAIN)
	_, err = there.Recvmmsg(in, unix.MSG_DONTWAIT, 0)
	want(t, "Recvmmsg of nothing with a time-out", err, unix.EAGAIN)
	if n, err := here.Sendmmsg(nil, 0); n != 0 || err != nil {
		t.Errorf("Sendmmsg of none: %d, %v", n, err)
	}
	if n, err := there.Recvmmsg(nil, 0, -1); n != 0 || err != nil {
		t.Errorf("Recvmmsg of none: %d, %v", n, err)
	}

	// The time-out ends it after a message, with others there.
	if n, err := here.Sendmmsg(out[:4], 0); n != 4 || err != nil {
		t.Fatalf("Sendmmsg: %d, %v", n, err)
	}
	if n, err := there.Recvmmsg(in, 0, 0); n != 1 || err != nil {
		t.Errorf("Recvmmsg that has no time: %d, %v", n, err)
	}

	// An error in the middle says how many went before it.
	out[2].Hdr.Name = Unix("/x")
	if n, err := here.Sendmmsg(out, 0); n != 2 || err != nil {
		t.Errorf("Sendmmsg with a bad address: %d, %v", n, err)
	}
	_, err = here.Sendmmsg(out[2:], 0)
	want(t, "Sendmmsg with a bad address first", err, unix.EINVAL)
}

func TestInbandAllocations(t *testing.T) {
	a := inbandAPI(t)
	here, there := inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0), inband(t, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	to := sockname(t, there)
	p := make([]byte, 64)
	iov := [][]byte{p[:32], p[32:]}
	outs, ins := []Mmsghdr{{Hdr: Msghdr{Name: to, Iov: iov}}}, []Mmsghdr{{Hdr: Msghdr{Iov: iov}}}
	for _, tt := range []struct {
		name string
		call func() (int, error)
	}{
		{"Sendto, Recvfrom", func() (int, error) {
			_, _ = here.Sendto(p, 0, to)
			n, _, err := there.Recvfrom(p, 0)
			return n, err
		}},
		{"Sendmsg, Recvmsg", func() (int, error) {
			_, _ = here.Sendmsg(&outs[0].Hdr, 0)
			return there.Recvmsg(&ins[0].Hdr, 0)
		}},
		{"Sendmmsg, Recvmmsg", func() (int, error) {
			_, _ = here.Sendmmsg(outs, 0)
			_, err := there.Recvmmsg(ins, 0, -1)
			return ins[0].Len, err
		}},
		{"EAGAIN", func() (int, error) {
			_, err := there.Recv(p, unix.MSG_DONTWAIT)
			if !errors.Is(err, unix.EAGAIN) {
				return 0, err
			}
			return len(p), nil
		}},
	} {
		allocs := testing.AllocsPerRun(100, func() {
			if n, err := tt.call(); n != len(p) || err != nil {
				t.Fatalf("%s: %d, %v", tt.name, n, err)
			}
		})
		if allocs != 0 && !(raceEnabled && strings.Contains(tt.name, "mm")) {
			t.Errorf("%s: %v allocations", tt.name, allocs)
		}
	}
}

func BenchmarkInbandRoundTrip(b *testing.B) {
	a := inbandAPI(b)
	here, there := inband(b, a, unix.AF_INET, unix.SOCK_DGRAM, 0), inband(b, a, unix.AF_INET, unix.SOCK_DGRAM, 0)
	to := sockname(b, there)
	p := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = here.Sendto(p, 0, to)
		if _, _, err := there.Recvfrom(p, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// needRoot skips a test that needs the right to make network namespaces.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
}

// TestGetFilter reads a filter back, in-band and out-of-band, into buffers of which
// the kernel takes the length for a number of instructions.
func TestGetFilter(t *testing.T) {
	program := []bpf.RawInstruction{{Op: 0x80}, {Op: 0x16}, {Op: 0x06, K: 0xffff}} // ld #len; ret a; ret #65535
	for _, oob := range []int{0, SOCK_OOB} {
		s, err := newAPI(t).Socket(unix.AF_INET, unix.SOCK_DGRAM|oob, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AttachFilter(program); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			size, n int
			err     error
		}{{0, 3, nil}, {16, 0, unix.EINVAL}, {23, 0, unix.EINVAL}, {24, 3, nil}, {40, 3, nil}} {
			b := bytes.Repeat([]byte{0xaa}, 64)
			n, err := s.Getsockopt(unix.SOL_SOCKET, unix.SO_GET_FILTER, b[:tt.size:tt.size])
			if n != tt.n || err != tt.err {
				t.Errorf("oob %#x: %d bytes: %d, %v, want %d, %v", oob, tt.size, n, err, tt.n, tt.err)
			}
			if !bytes.Equal(b[min(tt.size, 24):], bytes.Repeat([]byte{0xaa}, 64-min(tt.size, 24))) {
				t.Errorf("oob %#x: %d bytes: what is behind was overwritten", oob, tt.size)
			}
			if err == nil && tt.size > 0 && (b[0] != 0x80 || b[8] != 0x16 || b[16] != 0x06) {
				t.Errorf("oob %#x: %x", oob, b[:24])
			}
		}
		s.Close()
	}
}
