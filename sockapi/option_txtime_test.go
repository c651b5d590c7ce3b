package sockapi

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi/internal/ancillary"
	"github.com/outband/outband/sockapi/internal/option"
)

// sockTxTime returns struct sock_txtime.
func sockTxTime(clock, flags uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, clock)
	return binary.NativeEndian.AppendUint32(b, flags)
}

// TestTxTime schedules a datagram, and one whose time is over.
func TestTxTime(t *testing.T) {
	a := newAPI(t)
	rx, to := oobSocket(t, a)
	s, _ := oobSocket(t, a)
	if err := s.Setsockopt(unix.SOL_SOCKET, unix.SO_TXTIME, sockTxTime(unix.CLOCK_MONOTONIC, option.TxTimeReport)); err != nil {
		t.Fatal(err)
	}
	now := func() uint64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return uint64(ts.Nano())
	}
	// A machine may be too busy to come back in time: then it is told.
	for came := false; !came; {
		at := now() + uint64(30*time.Millisecond)
		if _, err := s.Sendmsg(&Msghdr{Name: to, Iov: [][]byte{[]byte("in time")}, Control: AppendTxTime(nil, at)}, 0); err != nil {
			t.Fatal(err)
		}
		fds := []PollFd{{Socket: rx, Events: unix.POLLIN}, {Socket: s}}
		if _, err := a.Poll(fds, time.Minute); err != nil {
			t.Fatal(err)
		}
		if came = fds[0].Revents != 0; !came {
			if _, err := s.Recvmsg(&Msghdr{}, unix.MSG_ERRQUEUE); err != nil {
				t.Fatalf("it did not come, and the error queue says %v", err)
			}
			continue
		}
		var b [16]byte
		n, err := rx.Recv(b[:], 0)
		if took := now(); err != nil || string(b[:n]) != "in time" || took < at {
			t.Errorf("%q, %v, %v before its time", b[:n], err, time.Duration(at-took))
		}
	}

	late := now() - uint64(5*time.Second)
	if _, err := s.Sendmsg(&Msghdr{Name: to, Iov: [][]byte{[]byte("too late")}, Control: AppendTxTime(nil, late)}, 0); err != nil {
		t.Fatal(err)
	}
	m := Msghdr{Name: to, Iov: [][]byte{make([]byte, 100)}, Control: make([]byte, 100)}
	n, err := s.Recvmsg(&m, unix.MSG_ERRQUEUE)
	if err != nil {
		t.Fatal(err)
	}
	if frame := m.Iov[0][:n]; len(frame) < 8 || string(frame[len(frame)-8:]) != "too late" || m.Flags != unix.MSG_ERRQUEUE || !m.Name.IsZero() {
		t.Errorf("the error queue has %q from %v, flags %#x", frame, m.Name, m.Flags)
	}
	c, rest, ok := NextCmsg(m.Control[:m.ControlLen])
	if !ok || len(rest) != 0 || c.Level != unix.SOL_IP || c.Type != unix.IP_RECVERR || len(c.Data) != ancillary.ExtendedErrLen {
		t.Fatalf("control message %+v, and %d bytes more", c, len(rest))
	}
	told := uint64(binary.NativeEndian.Uint32(c.Data[12:]))<<32 | uint64(binary.NativeEndian.Uint32(c.Data[8:]))
	if unix.Errno(c.Int()) != unix.EINVAL || c.Data[4] != unix.SO_EE_ORIGIN_TXTIME ||
		c.Data[6] != unix.SO_EE_CODE_TXTIME_INVALID_PARAM || told != late {
		t.Errorf("sock_extended_err % x", c.Data)
	}
}

// TestTxTimePrivileges sets clocks with and without CAP_NET_ADMIN, on a socket of
// the kernel's and on ours.
func TestTxTimePrivileges(t *testing.T) {
	ours, _ := oobSocket(t, newAPI(t))
	linux := inband(t, New(nil), unix.AF_INET, unix.SOCK_DGRAM, 0)
	all := func() {
		t.Helper()
		for _, clock := range []uint32{unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_TAI, unix.CLOCK_BOOTTIME, 99} {
			for _, flags := range []uint32{0, 3, 8} {
				v := sockTxTime(clock, flags)
				want, got := linux.Setsockopt(unix.SOL_SOCKET, unix.SO_TXTIME, v), ours.Setsockopt(unix.SOL_SOCKET, unix.SO_TXTIME, v)
				if got != want {
					t.Errorf("clock %d, flags %d: %v, Linux says %v", clock, flags, got, want)
				}
			}
		}
	}
	all()
	without(t, all, unix.CAP_NET_ADMIN)
}
