package stack

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outband/outband/stack/internal/counter"
)

// A fault stays small: a panic in a protocol or a parser costs the frame, the timer or the
// event that was at hand, and no more. What runs under a lock that is not a lane's, and is
// not of this package, has it released by a deferred call.

// A Fault is the report of a panic that was contained (see Config.Panics).
type Fault struct {
	At        int64  // of Stack.Monotonic
	Work      string // what was at hand: "frame", "timer" or "outbox"
	Interface int    // index of the interface that the frame came by; 0: there is none
	Head      []byte // the beginning of the frame
	Len       int    // the frame's length
	Value     string // what panic was called with
	Stack     string // the goroutine's stack, as debug.Stack has it
}

const (
	// maxFaults is how many reports are kept: the latest.
	maxFaults = 16
	// maxFaultHead and maxFaultStack bound a report, in bytes.
	maxFaultHead  = 256
	maxFaultStack = 16 << 10
	// timerRetry is after what time a timer is called again that has panicked.
	timerRetry = int64(time.Second)
)

// faults are the panics that were contained.
type faults struct {
	through bool // Config.Panics
	n       atomic.Uint64

	mu   sync.Mutex // a leaf
	kept []Fault
}

// keep makes a report.
func (f *faults) keep(r Fault, value any, frame []byte) {
	f.n.Add(1)
	r.Value = fmt.Sprint(value)
	r.Head, r.Len = bytes.Clone(frame[:min(len(frame), maxFaultHead)]), len(frame)
	stack := debug.Stack()
	r.Stack = string(stack[:min(len(stack), maxFaultStack)])
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kept) == maxFaults {
		f.kept = slices.Delete(f.kept, 0, 1)
	}
	f.kept = append(f.kept, r)
}

// Faults returns the reports of the latest panics that were contained, oldest first. The
// counter OutbandFaults has how many there were. Each is a mistake in the stack: please
// report it.
func (s *Stack) Faults() []Fault {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return slices.Clone(s.faults.kept)
}

// containFrame, deferred, ends a panic over a frame, nil for the one of the batch at hand.
func (l *lane) containFrame(ifc *Interface, frame []byte) {
	f := &l.s.faults
	if f.through {
		return
	}
	v := recover()
	if v == nil {
		return
	}
	if frame == nil && l.at > 0 {
		frame = l.batch[l.at-1].Data
	}
	l.count[counter.DropFault]++
	l.forgetMatch()
	l.arrival, l.view.Data = arrival{}, nil
	f.keep(Fault{At: l.s.Monotonic(), Work: "frame", Interface: ifc.Index()}, v, frame)
}

// containTimer, deferred, ends a panic of a timer, which is called again later.
func (l *lane) containTimer(now int64) {
	f := &l.s.faults
	if f.through {
		return
	}
	if v := recover(); v != nil {
		l.s.timers.Again(now + timerRetry)
		f.keep(Fault{At: l.s.Monotonic(), Work: "timer"}, v, nil)
	}
}

// contained implements transmitHost.
func (s *Stack) contained(value any) {
	s.faults.keep(Fault{At: s.Monotonic(), Work: "outbox"}, value, nil)
}
