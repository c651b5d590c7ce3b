package sockapi

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/outband/outband/sockapi/internal/ancillary"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/stack"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// newAPI returns the sockets of a stack that has loopback only.
func newAPI(t testing.TB) *API {
	t.Helper()
	st, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return New(st)
}

// oobSocket opens an out-of-band UDP socket bound to 127.0.0.1.
func oobSocket(t testing.TB, a *API) (*Socket, Sockaddr) {
	t.Helper()
	s, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|SOCK_OOB, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(Inet4([4]byte{127, 0, 0, 1}, 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	name, err := s.Getsockname()
	if err != nil {
		t.Fatal(err)
	}
	return s, name
}

// enable turns a boolean option on.
func enable(t testing.TB, s *Socket, level, name int) {
	t.Helper()
	if err := s.SetsockoptInt(level, name, 1); err != nil {
		t.Fatalf("option %d/%d: %v", level, name, err)
	}
}

// receiveControl receives one datagram and returns its control messages by type.
func receiveControl(t *testing.T, s *Socket) (Msghdr, map[int]Cmsg) {
	t.Helper()
	m := Msghdr{Iov: [][]byte{make([]byte, 100)}, Control: make([]byte, 512)}
	if _, err := s.Recvmsg(&m, 0); err != nil {
		t.Fatal(err)
	}
	got := make(map[int]Cmsg)
	for c, rest, ok := NextCmsg(m.Control[:m.ControlLen]); ok; c, rest, ok = NextCmsg(rest) {
		got[c.Type] = c
	}
	return m, got
}

func TestControlMessagesArrive(t *testing.T) {
	a := newAPI(t)
	rx, addr := oobSocket(t, a)
	tx, _ := oobSocket(t, a)
	for _, o := range []int{unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS, unix.IP_RECVORIGDSTADDR} {
		enable(t, rx, unix.SOL_IP, o)
	}
	enable(t, rx, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS)
	var control []byte
	control = AppendCmsgInt(control, unix.SOL_IP, unix.IP_TTL, 9)
	control = AppendCmsgInt(control, unix.SOL_IP, unix.IP_TOS, 0x28)
	control = AppendPktInfo(control, 0, [4]byte{127, 0, 0, 5})
	before := time.Now()
	if _, err := tx.Sendmsg(&Msghdr{Name: addr, Iov: [][]byte{[]byte("he"), []byte("llo")}, Control: control}, 0); err != nil {
		t.Fatal(err)
	}
	m, got := receiveControl(t, rx)
	if m.Name.IP4() != [4]byte{127, 0, 0, 5} || m.Flags != 0 {
		t.Errorf("source %v, flags %#x", m.Name, m.Flags)
	}
	if v := got[unix.IP_TTL].Int(); v != 9 {
		t.Errorf("TTL %d", v)
	}
	if v := got[unix.IP_TOS].Int(); v != 0x28 {
		t.Errorf("TOS %#x", v)
	}
	if d := got[unix.IP_PKTINFO].Data; len(d) != 12 || [4]byte(d[8:]) != addr.IP4() || binary.NativeEndian.Uint32(d) != 1 {
		t.Errorf("pktinfo %v", d)
	}
	if d := got[unix.IP_RECVORIGDSTADDR].Data; len(d) != 16 || binary.BigEndian.Uint16(d[2:]) != addr.Port {
		t.Errorf("original destination %v", d)
	}
	d := got[unix.SO_TIMESTAMPNS].Data
	if len(d) != 16 {
		t.Fatalf("time stamp %v", d)
	}
	at := time.Unix(int64(binary.NativeEndian.Uint64(d)), int64(binary.NativeEndian.Uint64(d[8:])))
	if at.Before(before) || at.After(time.Now()) {
		t.Errorf("time stamp %v is not between %v and now", at, before)
	}
}

func TestControlTruncation(t *testing.T) {
	a := newAPI(t)
	rx, addr := oobSocket(t, a)
	tx, _ := oobSocket(t, a)
	enable(t, rx, unix.SOL_IP, unix.IP_RECVTTL)
	for _, room := range []int{0, 8, cmsg.HeaderLen, cmsg.HeaderLen + 2, cmsg.HeaderLen + 4} {
		if _, err := tx.Sendto([]byte("x"), 0, addr); err != nil {
			t.Fatal(err)
		}
		m := Msghdr{Iov: [][]byte{make([]byte, 10)}, Control: make([]byte, room)}
		if _, err := rx.Recvmsg(&m, 0); err != nil {
			t.Fatal(err)
		}
		if cut := m.Flags&unix.MSG_CTRUNC != 0; cut != (room < cmsg.HeaderLen+4) {
			t.Errorf("%d bytes: MSG_CTRUNC %v", room, cut)
		}
	}
}

func TestErrorQueue(t *testing.T) {
	a := newAPI(t)
	s, _ := oobSocket(t, a)
	enable(t, s, unix.SOL_IP, unix.IP_RECVERR)
	to := Inet4([4]byte{127, 0, 0, 1}, 9)
	if _, err := s.Sendto([]byte("payload"), 0, to); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(make([]byte, 10), 0); err != unix.ECONNREFUSED {
		t.Fatalf("Recv: %v, want ECONNREFUSED", err)
	}
	m := Msghdr{Iov: [][]byte{make([]byte, 100)}, Control: make([]byte, 512)}
	n, err := s.Recvmsg(&m, unix.MSG_ERRQUEUE)
	if err != nil || string(m.Iov[0][:n]) != "payload" {
		t.Fatalf("Recvmsg: %q, %v", m.Iov[0][:n], err)
	}
	if m.Name.AddrPort() != to.AddrPort() || m.Flags != unix.MSG_ERRQUEUE {
		t.Errorf("name %v, flags %#x", m.Name, m.Flags)
	}
	c, _, ok := NextCmsg(m.Control[:m.ControlLen])
	if !ok || c.Type != unix.IP_RECVERR || len(c.Data) != ancillary.ExtendedErrLen {
		t.Fatalf("control message %+v", c)
	}
	if errno := binary.NativeEndian.Uint32(c.Data); unix.Errno(errno) != unix.ECONNREFUSED {
		t.Errorf("ee_errno %v", unix.Errno(errno))
	}
	if c.Data[4] != unix.SO_EE_ORIGIN_ICMP || c.Data[5] != 3 || c.Data[6] != 3 {
		t.Errorf("origin, type, code %v", c.Data[4:7])
	}
	if [4]byte(c.Data[20:]) != [4]byte{127, 0, 0, 1} {
		t.Errorf("offender %v", c.Data[16:])
	}
	if _, err := s.Recvmsg(&m, unix.MSG_ERRQUEUE); err != unix.EAGAIN {
		t.Errorf("second Recvmsg: %v, want EAGAIN", err)
	}
}

func TestSegmentAndCork(t *testing.T) {
	a := newAPI(t)
	rx, addr := oobSocket(t, a)
	tx, _ := oobSocket(t, a)
	if err := tx.Connect(addr); err != nil {
		t.Fatal(err)
	}
	recv := func() string {
		t.Helper()
		b := make([]byte, 100)
		n, err := rx.Recv(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if err := tx.SetsockoptInt(unix.SOL_UDP, unix.UDP_SEGMENT, 4); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Send([]byte("abcdefghij"), 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"abcd", "efgh", "ij"} {
		if got := recv(); got != want {
			t.Errorf("segment %q, want %q", got, want)
		}
	}
	if err := tx.SetsockoptInt(unix.SOL_UDP, unix.UDP_SEGMENT, 0); err != nil {
		t.Fatal(err)
	}
	enable(t, tx, unix.SOL_UDP, unix.UDP_CORK)
	for _, p := range []string{"one ", "two"} {
		if _, err := tx.Send([]byte(p), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.SetsockoptInt(unix.SOL_UDP, unix.UDP_CORK, 0); err != nil {
		t.Fatal(err)
	}
	if got := recv(); got != "one two" {
		t.Errorf("corked datagram %q", got)
	}
	for _, p := range []struct {
		s     string
		flags int
	}{{"more ", unix.MSG_MORE}, {"less", 0}} {
		if _, err := tx.Send([]byte(p.s), p.flags); err != nil {
			t.Fatal(err)
		}
	}
	if got := recv(); got != "more less" {
		t.Errorf("datagram with MSG_MORE %q", got)
	}
}

func TestTransmitTimestamps(t *testing.T) {
	a := newAPI(t)
	_, addr := oobSocket(t, a)
	s, _ := oobSocket(t, a)
	flags := unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID |
		unix.SOF_TIMESTAMPING_OPT_TSONLY
	if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags); err != nil {
		t.Fatal(err)
	}
	for want := range uint32(3) {
		before := time.Now().UnixNano()
		if _, err := s.Sendto([]byte("x"), 0, addr); err != nil {
			t.Fatal(err)
		}
		m := Msghdr{Iov: [][]byte{make([]byte, 100)}, Control: make([]byte, 512)}
		n, err := s.Recvmsg(&m, unix.MSG_ERRQUEUE)
		if err != nil || n != 0 {
			t.Fatalf("Recvmsg: %d, %v", n, err)
		}
		stamp, rest, _ := NextCmsg(m.Control[:m.ControlLen])
		extended, _, _ := NextCmsg(rest)
		if stamp.Type != unix.SO_TIMESTAMPING || extended.Type != unix.IP_RECVERR {
			t.Fatalf("control messages %d, %d", stamp.Type, extended.Type)
		}
		ns := int64(binary.NativeEndian.Uint64(stamp.Data))*1e9 + int64(binary.NativeEndian.Uint64(stamp.Data[8:]))
		if ns < before || ns > time.Now().UnixNano() {
			t.Errorf("time stamp %d is not between %d and now", ns, before)
		}
		if got := binary.NativeEndian.Uint32(extended.Data[12:]); got != want {
			t.Errorf("number %d, want %d", got, want)
		}
	}
}

// TestFilter attaches a program that keeps four bytes of datagrams whose first
// byte of payload is 'k'.
func TestFilter(t *testing.T) {
	a := newAPI(t)
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 8, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 'k', SkipFalse: 1},
		bpf.RetConstant{Val: 12},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []int{SOCK_OOB, 0} {
		rx, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer rx.Close()
		tx, _ := a.Socket(unix.AF_INET, unix.SOCK_DGRAM|flag, 0)
		defer tx.Close()
		if err := rx.Bind(Inet4([4]byte{127, 0, 0, 1}, 0)); err != nil {
			t.Fatal(err)
		}
		addr, _ := rx.Getsockname()
		if err := rx.AttachFilter(program); err != nil {
			t.Fatalf("out-of-band %v: %v", flag != 0, err)
		}
		for _, p := range []string{"drop me", "keep me"} {
			if _, err := tx.Sendto([]byte(p), 0, addr); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, 100)
		if n, err := rx.Recv(b, 0); err != nil || string(b[:n]) != "keep" {
			t.Errorf("out-of-band %v: %q, %v", flag != 0, b[:n], err)
		}
		if err := rx.SetsockoptInt(unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1); err != nil {
			t.Error(err)
		}
		if err := rx.AttachFilter(program); err != unix.EPERM {
			t.Errorf("out-of-band %v: attaching to a locked socket: %v", flag != 0, err)
		}
	}
}
