package sockapi

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// setTimes sets SO_TIMESTAMP_OOB.
func setTimes(t testing.TB, s *Socket, flags int) {
	t.Helper()
	if err := s.SetsockoptInt(unix.SOL_SOCKET, SO_TIMESTAMP_OOB, flags); err != nil {
		t.Fatal(err)
	}
}

func TestTimestampOption(t *testing.T) {
	a := newAPI(t)
	s := evlSocket(t, a, SOCK_OOB, localIP)
	for flags := range EVL_SOF_TIMESTAMPS + 1 {
		setTimes(t, s, flags)
		if got, err := s.GetsockoptInt(unix.SOL_SOCKET, SO_TIMESTAMP_OOB); got != flags || err != nil {
			t.Errorf("set %d, got %d, %v", flags, got, err)
		}
	}
	for _, flags := range []int{EVL_SOF_TIMESTAMPS + 1, -1} {
		if err := s.SetsockoptInt(unix.SOL_SOCKET, SO_TIMESTAMP_OOB, flags); err != unix.EINVAL {
			t.Errorf("%d: %v", flags, err)
		}
	}
	if err := evlSocket(t, a, 0, localIP).SetsockoptInt(unix.SOL_SOCKET, SO_TIMESTAMP_OOB, 1); err != unix.ENOPROTOOPT {
		t.Errorf("in-band: %v", err)
	}
}

func TestReceiveTimes(t *testing.T) {
	near, far := evlPair(t)
	tx, rx := evlSocket(t, near, SOCK_OOB, nearIP), evlSocket(t, far, SOCK_OOB, farIP)
	out := message(5)
	out.Name = evlName(t, rx)
	receive := func(control int) (*Msghdr, error) {
		t.Helper()
		if _, err := tx.OobSendmsg(out, nil, 0); err != nil {
			t.Fatal(err)
		}
		m := message(10)
		m.Control = make([]byte, control)
		_, err := rx.OobRecvmsg(m, far.Date(5*time.Second), 0)
		return m, err
	}
	if m, err := receive(100); m.ControlLen != 0 || err != nil {
		t.Errorf("not asked for: %d bytes, %v", m.ControlLen, err)
	}
	tests := []struct {
		flags           int
		device, queuing bool
	}{
		{EVL_SOF_TIMESTAMP_RX, false, false},
		{EVL_SOF_TIMESTAMP_RX | EVL_SOF_TIMESTAMP_QUEUING, false, true},
		{EVL_SOF_TIMESTAMPS, true, true},
	}
	for _, tt := range tests {
		setTimes(t, rx, tt.flags)
		before := far.st.Monotonic()
		m, err := receive(IOTimesLen)
		after := far.st.Monotonic()
		if err != nil || m.ControlLen != IOTimesLen || m.Flags != 0 {
			t.Fatalf("%d: %d bytes, flags %#x, %v", tt.flags, m.ControlLen, m.Flags, err)
		}
		got, ok := ParseIOTimes(m.Control)
		if !ok || got.Device != 0 != tt.device || got.Queuing != 0 != tt.queuing {
			t.Errorf("%d: %+v", tt.flags, got)
		}
		if got.Delivery < before || got.Delivery > after || tt.queuing && (got.Queuing < before || got.Queuing > got.Delivery) {
			t.Errorf("%d: %+v is not between %d and %d", tt.flags, got, before, after)
		}
	}
	if _, err := receive(IOTimesLen - 1); err != unix.EINVAL {
		t.Errorf("control too small: %v", err)
	}
	// The datagram is still there, and a call without control gets it.
	if m := message(10); true {
		if n, err := rx.OobRecvmsg(m, far.Date(time.Second), 0); n != 5 || err != nil || m.ControlLen != 0 {
			t.Errorf("no control: %d, %v", n, err)
		}
	}
}

// transmitTimes reads up to n records without waiting.
func transmitTimes(t *testing.T, s *Socket, n int) (got []IOTimes, flags int, err error) {
	t.Helper()
	m := message(n * IOTimesLen)
	read, err := s.OobRecvmsg(m, nil, MSG_TIMESTAMP|unix.MSG_DONTWAIT)
	for b := m.Iov[0][:read]; len(b) > 0; b = b[IOTimesLen:] {
		r, ok := ParseIOTimes(b)
		if !ok {
			t.Fatalf("%d bytes are no records", read)
		}
		got = append(got, r)
	}
	return got, m.Flags, err
}

func TestTransmitTimes(t *testing.T) {
	near, far := evlPair(t)
	s, rx := evlSocket(t, near, SOCK_OOB, nearIP), evlSocket(t, far, SOCK_OOB, farIP)
	if err := s.Solicit(Inet4(farIP, 0), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Connect(evlName(t, rx)); err != nil {
		t.Fatal(err)
	}
	setTimes(t, s, EVL_SOF_TIMESTAMPS)
	if _, _, err := transmitTimes(t, s, 1); err != unix.EAGAIN {
		t.Errorf("nothing sent: %v", err)
	}
	if _, err := s.OobRecvmsg(message(IOTimesLen), near.Date(time.Millisecond), MSG_TIMESTAMP); err != unix.ETIMEDOUT {
		t.Errorf("nothing sent, with a deadline: %v", err)
	}
	if _, err := s.OobRecvmsg(message(IOTimesLen-1), nil, MSG_TIMESTAMP); err != unix.EINVAL {
		t.Errorf("no room: %v", err)
	}
	before := near.st.Monotonic()
	for range 20 {
		if _, err := s.OobWrite([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := oobOf(s).Events(); got&unix.EPOLLIN == 0 {
		t.Errorf("events %#x do not tell of the records", got)
	}
	got, flags, err := transmitTimes(t, s, 100)
	if len(got) != 20 || flags != MSG_TIMESTAMP || err != nil {
		t.Fatalf("%d records, flags %#x, %v", len(got), flags, err)
	}
	last := before
	for i, r := range got {
		if r.Delivery < last || r.Queuing < r.Delivery || r.Device < r.Queuing || r.Device > near.st.Monotonic() {
			t.Errorf("record %d: %+v after %d", i, r, last)
		}
		last = r.Device
	}
	if got := oobOf(s).Events(); got&unix.EPOLLIN != 0 {
		t.Errorf("events %#x, but all records are read", got)
	}
	const many = 300
	for range many {
		if _, err := s.OobWrite([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got, flags, err = transmitTimes(t, s, many); len(got) != 256 || flags != MSG_TIMESTAMP|unix.MSG_TRUNC || err != nil {
		t.Errorf("%d records, flags %#x, %v", len(got), flags, err)
	}
	setTimes(t, s, 0)
	if _, _, err := transmitTimes(t, s, 1); err != unix.EINVAL {
		t.Errorf("turned off: %v", err)
	}
}

// TestTransmitTimesWait has a reader wait for the first record.
func TestTransmitTimesWait(t *testing.T) {
	a := newAPI(t)
	rx, s := evlSocket(t, a, SOCK_OOB, localIP), evlSocket(t, a, SOCK_OOB, localIP)
	setTimes(t, s, EVL_SOF_TIMESTAMP_TX)
	done := make(chan error)
	read := func() {
		_, err := s.OobRecvmsg(message(IOTimesLen), nil, MSG_TIMESTAMP)
		done <- err
	}
	go read()
	out := message(1)
	out.Name = evlName(t, rx)
	if _, err := s.OobSendmsg(out, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	go read()
	s.Close()
	if err := <-done; err != unix.EBADF {
		t.Errorf("closed: %v", err)
	}
}

// TestTimesCostNoAllocation counts what stamped datagrams allocate.
func TestTimesCostNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a := newAPI(t)
	rx, tx := evlSocket(t, a, SOCK_OOB, localIP), evlSocket(t, a, SOCK_OOB, localIP)
	setTimes(t, rx, EVL_SOF_TIMESTAMPS)
	setTimes(t, tx, EVL_SOF_TIMESTAMPS)
	in, out, records := message(10), message(5), message(16*IOTimesLen)
	in.Control, out.Name = make([]byte, IOTimesLen), evlName(t, rx)
	date := a.Date(time.Minute)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := tx.OobSendmsg(out, date, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := rx.OobRecvmsg(in, date, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.OobRecvmsg(records, date, MSG_TIMESTAMP); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%.1f allocations", allocs)
	}
}
