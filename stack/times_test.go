package stack

import (
	"net/netip"
	"testing"

	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// TestMonotonicFollowsTheClock has a stack whose clock is nobody's monotonic one.
func TestMonotonicFollowsTheClock(t *testing.T) {
	clock := new(handClock)
	clock.now.Store(1000)
	s := newStack(t, Config{Clock: clock})
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	at := s.Monotonic()
	if at <= 0 || at > ts.Nano() {
		t.Errorf("%d, but CLOCK_MONOTONIC is at %d", at, ts.Nano())
	}
	clock.now.Add(500)
	if got := s.Monotonic() - at; got != 500 {
		t.Errorf("the clock moved by 500, the monotonic time by %d", got)
	}
	if got := s.DeadlineAt(at + 700); got != 1700 {
		t.Errorf("deadline %d", got)
	}
}

// TestReceiveTimesAreCounted sees that frames are stamped while a socket asks for
// it, and no longer.
func TestReceiveTimesAreCounted(t *testing.T) {
	s := newStack(t, Config{})
	a, b := udpSocket(t, s, "127.0.0.1:1"), udpSocket(t, s, "127.0.0.1:2")
	timed := func() int {
		s.lockLanes()
		defer s.unlockLanes()
		return s.timed
	}
	steps := []struct {
		name string
		do   func()
		want int
	}{
		{"one", func() { a.Times().SetReceiveTimes(true) }, 1},
		{"the same again", func() { a.Times().SetReceiveTimes(true) }, 1},
		{"two", func() { b.Times().SetReceiveTimes(true) }, 2},
		{"off", func() { a.Times().SetReceiveTimes(false) }, 1},
		{"closed", func() { b.Close() }, 0},
		{"after close", func() { b.Times().SetReceiveTimes(true) }, 0},
	}
	for _, step := range steps {
		if step.do(); timed() != step.want {
			t.Errorf("%s: %d sockets, want %d", step.name, timed(), step.want)
		}
	}
}

// TestTransmitTimesOfQueued sees that a datagram which waits for its neighbour leaves
// no record, and is said to be queued.
func TestTransmitTimesOfQueued(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	k := udpSocket(t, p.near, "10.9.0.1:1")
	k.Times().SetTransmitTimes(true)
	msgs := []OutMessage{{Buffers: [][]byte{{1}}, To: netip.MustParseAddrPort("10.9.0.77:7"), Options: new(SendOptions)}}
	if n, err := k.SendMessages(msgs, 0, NoDeadline); n != 1 || err != nil || !msgs[0].Options.Queued {
		t.Fatalf("%d, %v, %+v", n, err, msgs[0].Options)
	}
	var times [1]IOTimes
	if _, _, err := k.Times().TransmitTimes(times[:], unix.MSG_DONTWAIT, 0); err != unix.EAGAIN {
		t.Errorf("queued: %v", err)
	}
	udpSocket(t, p.far, "10.9.0.2:7")
	if err := k.Solicit(farAddr, solicitWait, 0); err != nil {
		t.Fatal(err)
	}
	msgs[0].To = netip.MustParseAddrPort("10.9.0.2:7")
	if n, err := k.SendMessages(msgs, 0, NoDeadline); n != 1 || err != nil || msgs[0].Options.Queued {
		t.Fatalf("%d, %v, %+v", n, err, msgs[0].Options)
	}
	if n, lost, err := k.Times().TransmitTimes(times[:], unix.MSG_DONTWAIT, 0); n != 1 || lost || err != nil {
		t.Errorf("sent: %d, %t, %v", n, lost, err)
	}
}

// solicitWait is how long a neighbour may take that is there.
const solicitWait = 5e9
