package latmus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// Port is the UDP port of both hosts.
const Port = 59059

// A Config says what to measure.
type Config struct {
	Peer   netip.AddrPort
	Period time.Duration
	Size   int // of a packet in bytes
	Cells  int // of the histograms; 0: none
	// NoSequence leaves serial numbers unchecked. KeepGoing goes on after a packet
	// that is wrong or missing.
	NoSequence, KeepGoing bool
	// Abort ends the run at a longer latency; 0: never.
	Abort time.Duration
	// Second is called once a second, and Trouble with what is wrong with a
	// packet; both may be nil.
	Second  func(*Result)
	Trouble func(string)
}

// What ends a run before its time.
var (
	ErrPacket  = errors.New("a packet is wrong or missing")
	ErrLatency = errors.New("a latency is beyond the limit")
)

// A run is a measurement that is under way, by one thread.
type run struct {
	Config
	s *sockapi.Socket
	r Result

	in, out, stamps sockapi.Msghdr
	next            uint64 // the serial number to come
	synced          bool   // next is known
	switches        int64  // before the run
	began           int64  // nanoseconds of CLOCK_MONOTONIC
}

// Run measures until ctx ends, on the calling thread, which should be locked. To end it
// within a period, close s as well. The error is nil if the measurement
// went well; the result is valid with ErrPacket and ErrLatency too.
func Run(ctx context.Context, c Config, s *sockapi.Socket) (*Result, error) {
	const times = sockapi.EVL_SOF_TIMESTAMPS
	if err := s.SetsockoptInt(unix.SOL_SOCKET, sockapi.SO_TIMESTAMP_OOB, times); err != nil {
		return nil, err
	}
	m := &run{Config: c, s: s, switches: switches()}
	m.out = sockapi.Msghdr{Name: sockapi.InetAddrPort(c.Peer), Iov: [][]byte{make([]byte, c.Size)}}
	m.in = sockapi.Msghdr{Iov: [][]byte{make([]byte, MaxSize)}, Control: make([]byte, sockapi.IOTimesLen)}
	m.stamps = sockapi.Msghdr{Iov: [][]byte{make([]byte, 16*sockapi.IOTimesLen)}}
	if c.Cells > 0 {
		for _, s := range m.r.series() {
			s.Cells = make([]uint64, c.Cells)
		}
	}
	began := time.Now()
	err := m.loop(ctx, began)
	m.r.Elapsed, m.r.Switches = time.Since(began), switches()-m.switches
	if ctx.Err() != nil && errors.Is(err, unix.EBADF) {
		err = nil // what ended ctx closed the socket too
	}
	return &m.r, err
}

// loop runs the periods.
func (m *run) loop(ctx context.Context, began time.Time) error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return err
	}
	m.began = ts.Nano()
	due, second := m.began, began.Add(time.Second)
	for ctx.Err() == nil {
		now := time.Now()
		if m.Second != nil && now.After(second) {
			m.r.Elapsed, m.r.Switches = now.Sub(began), switches()-m.switches
			m.Second(&m.r)
			second = second.Add(time.Second)
		}
		due += int64(m.Period)
		date := unix.NsecToTimespec(due)
		if err := m.period(&date); err != nil {
			return err
		}
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			return err
		}
		if late := (ts.Nano() - due) / int64(m.Period); late > 0 {
			m.r.Overruns += uint64(late)
			due += late * int64(m.Period)
		}
	}
	return nil
}

// period sends a packet, and receives until the date: waiting for packets is how
// the next period is waited for.
func (m *run) period(date *unix.Timespec) error {
	if err := m.send(date); err != nil {
		return err
	}
	if err := m.readStamps(); err != nil {
		return err
	}
	for {
		n, err := m.s.OobRecvmsg(&m.in, date, 0)
		switch err {
		case nil:
			if err := m.received(m.in.Iov[0][:n]); err != nil {
				return err
			}
		case unix.ETIMEDOUT:
			return nil
		default:
			return err
		}
	}
}

// send sends the next packet. One that does not leave before the date is given up.
func (m *run) send(date *unix.Timespec) error {
	putPacket(m.out.Iov[0], m.r.Sent)
	_, err := m.s.OobSendmsg(&m.out, nil, unix.MSG_DONTWAIT)
	if err == unix.EAGAIN {
		m.r.Overruns++
		_, err = m.s.OobSendmsg(&m.out, date, 0)
	}
	switch err {
	case nil:
		m.r.Sent++
	case unix.ETIMEDOUT:
		return nil
	}
	return err
}

// readStamps takes in the times of what was sent.
func (m *run) readStamps() error {
	n, err := m.s.OobRecvmsg(&m.stamps, nil, sockapi.MSG_TIMESTAMP|unix.MSG_DONTWAIT)
	if err == unix.EAGAIN {
		return nil // it waits for the neighbour
	}
	if err != nil {
		return err
	}
	for b := m.stamps.Iov[0][:n]; ; b = b[sockapi.IOTimesLen:] {
		t, ok := sockapi.ParseIOTimes(b)
		if !ok {
			return nil
		}
		if err := m.measured(&m.r.TxSched, t.Queuing-t.Delivery, &m.r.TxUser, t.Device-t.Delivery); err != nil {
			return err
		}
	}
}

// received takes in a packet.
func (m *run) received(p []byte) error {
	if m.in.Name.AddrPort().Addr() != m.Peer.Addr() {
		return nil // a stranger's
	}
	if err := m.check(p); err != nil && !m.KeepGoing {
		return err
	}
	t, ok := sockapi.ParseIOTimes(m.in.Control[:m.in.ControlLen])
	if !ok || t.Device == 0 {
		return nil // the link made no stamp
	}
	return m.arrived(t)
}

// The device's stamp is by another clock than the stack's times, the wall clock. Between
// a stamp and the time behind it some rounding is no difference, and while the clocks
// go alike no packet is much older than the measurement.
const (
	clockRounding = int64(time.Microsecond)
	clockLeeway   = int64(time.Second)
)

// arrived adds the latencies of a packet that has come, if its stamp can be compared
// with our times; if not, that is what is told, and no latency.
func (m *run) arrived(t sockapi.IOTimes) error {
	sched, user := t.Queuing-t.Device, t.Delivery-t.Device
	first, last := min(sched, user), max(sched, user)
	if first < -clockRounding || last > t.Queuing-m.began+clockLeeway {
		m.r.ClocksDiffer++
		if difference := -first; first < 0 {
			m.r.ClockDifference = max(m.r.ClockDifference, difference)
		} else {
			m.r.ClockDifference = max(m.r.ClockDifference, last)
		}
		return nil
	}
	return m.measured(&m.r.RxSched, max(sched, 0), &m.r.RxUser, max(user, 0))
}

// check looks at a packet's bytes and serial number.
func (m *run) check(p []byte) error {
	serial, err := parsePacket(p)
	if err != nil {
		m.r.Wrong++
		return m.trouble("%d bytes from the peer: %v", len(p), err)
	}
	m.r.Received++
	want, synced := m.next, m.synced
	m.next, m.synced = serial+1, true
	switch {
	case m.NoSequence || !synced || serial == want:
		return nil
	case serial > want:
		m.r.Lost += serial - want
		return m.trouble("packets %d to %d are missing", want, serial-1)
	default:
		m.r.Wrong++
		m.next = max(want, serial+1)
		if serial == 0 {
			m.next = 1 // the peer has begun anew
		}
		return m.trouble("packet %d after %d", serial, want-1)
	}
}

func (m *run) trouble(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if m.Trouble != nil {
		m.Trouble(text)
	}
	return fmt.Errorf("%w: %s", ErrPacket, text)
}

// measured adds two latencies.
func (m *run) measured(a *Series, aNs int64, b *Series, bNs int64) error {
	a.add(aNs)
	b.add(bNs)
	if worst := max(aNs, bNs); m.Abort > 0 && worst > int64(m.Abort) {
		return fmt.Errorf("%w: %.3f us", ErrLatency, us(worst))
	}
	return nil
}

// switches returns how often the kernel has taken the CPU from this thread
// (ru_nivcsw in getrusage(2)).
func switches() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return u.Nivcsw
}

// Log returns a Trouble that writes to w.
func Log(w io.Writer) func(string) {
	return func(text string) { fmt.Fprintln(w, "latmus:", text) }
}
