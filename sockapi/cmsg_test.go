package sockapi

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/outband/outband/sockapi/internal/ancillary"
	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/stack"
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
