package stack

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack/internal/output"
)

// TxTime is how the datagrams of a socket are scheduled (struct sock_txtime of
// linux/net_tstamp.h).
type TxTime struct {
	// Clock is the clock of the datagrams' times: unix.CLOCK_MONOTONIC, _REALTIME or
	// _TAI. Times are converted when the datagram is sent: a clock that is set
	// after that has no effect on it.
	Clock int32
	// Deadline says that a datagram leaves at once, unless its time is over.
	Deadline bool
	// Report puts datagrams that are dropped into the error queue.
	Report bool
}

// SetTxTime lets datagrams have times (SO_TXTIME): see SendOptions.TxTime.
func (k *Endpoint) SetTxTime(t TxTime) { k.txTime.Store(&t) }

// TxTime returns what SetTxTime set; ok is false if nothing did.
func (k *Endpoint) TxTime() (t TxTime, ok bool) {
	if p := k.txTime.Load(); p != nil {
		return *p, true
	}
	return TxTime{}, false
}

// later returns when a datagram is to leave; nil: now.
func (k *Endpoint) later(o *outgoing) *output.Later {
	t := k.txTime.Load()
	if o.opts == nil || o.opts.TxTime == 0 || t == nil {
		return nil
	}
	l := &output.Later{Time: o.opts.TxTime, Report: t.Report}
	l.Due = k.s.timeOf(t.Clock, int64(l.Time))
	if t.Deadline && l.Due >= k.s.clock.Now() {
		return nil
	}
	return l
}

// timeOf returns a time of one of the kernel's clocks by the stack's clock.
func (s *Stack) timeOf(clock int32, t int64) int64 {
	from := s.clock.Base() // of the clock's time at 0
	if clock != unix.CLOCK_MONOTONIC {
		var now unix.Timespec
		if unix.ClockGettime(clock, &now) != nil {
			return math.MinInt64 // no such time: it is over
		}
		from = now.Nano() - s.clock.Now()
	}
	due := t - from
	if from < 0 && due < t {
		return never - 1 // beyond what the clock can tell
	}
	return due
}

// Scheduled returns how many frames wait for their time (SO_TXTIME).
func (s *Stack) Scheduled() int {
	return s.out.ScheduledFrames()
}
