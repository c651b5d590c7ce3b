package sockapi

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

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

// A socket says whether it is out-of-band, and by which device its peer is reached.
func TestPath(t *testing.T) {
	a := newAPI(t)
	path := func(s *Socket) (b [8]byte, n int, err error) {
		n, err = s.Getsockopt(unix.SOL_SOCKET, SO_OOB_PATH, b[:])
		return b, n, err
	}
	for name, c := range map[string]struct {
		typ    int
		path   uint32
		device uint32
	}{"in-band": {unix.SOCK_DGRAM, OOB_PATH_INBAND, 0}, "out-of-band": {unix.SOCK_DGRAM | SOCK_OOB, OOB_PATH_RING, 1}} {
		s, err := a.Socket(unix.AF_INET, c.typ, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Connect(Inet4([4]byte{127, 0, 0, 1}, 9)); err != nil {
			t.Fatal(err)
		}
		b, n, err := path(s)
		if got, dev := binary.NativeEndian.Uint32(b[:]), binary.NativeEndian.Uint32(b[4:]); got != c.path || dev != c.device || n != 8 || err != nil {
			t.Errorf("%s: path %d by %d, %d bytes, %v", name, got, dev, n, err)
		}
		if err := s.SetsockoptInt(unix.SOL_SOCKET, SO_OOB_PATH, 1); err != unix.ENOPROTOOPT {
			t.Errorf("%s: it can be set: %v", name, err)
		}
		s.Close()
		if _, _, err := path(s); err != unix.EBADF {
			t.Errorf("%s, closed: %v", name, err)
		}
	}
}
