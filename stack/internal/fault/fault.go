// Package fault keeps reports of panics that were contained. A fault stays small: a panic
// in a protocol or a parser costs the frame, the timer or the event that was at hand, and
// no more.
package fault

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Report is what is known of a panic.
type Report struct {
	At        int64  // of CLOCK_MONOTONIC
	Work      string // what was at hand: "frame", "timer" or "outbox"
	Interface int    // index of the interface that the frame came by; 0: there is none
	Head      []byte // the beginning of the frame
	Len       int    // the frame's length
	Value     string // what panic was called with
	Stack     string // the goroutine's stack, as debug.Stack has it; of many panics, not each's
}

const (
	// Max is how many reports are kept.
	Max = 16
	// maxHead and maxStack bound a report, in bytes.
	maxHead  = 256
	maxStack = 16 << 10
	// stackEvery is the time between two reports with a stack, in nanoseconds, once Max
	// were made. A stack takes a hundred times as long as what else there is to do, and
	// whoever knows a frame that makes for a panic can send it at the rate of the wire.
	stackEvery = int64(time.Second)
)

// A Log has the reports of a stack's panics. Its methods may be called by any goroutines
// at once.
type Log struct {
	n atomic.Uint64

	mu      sync.Mutex // a leaf
	kept    []Report
	stacked int64 // when a stack was taken last
}

// Count returns how many panics there were.
func (l *Log) Count() uint64 { return l.n.Load() }

// Keep completes the report of a panic with a value over a frame, nil for none, and keeps
// it. It is called by the deferred function that has recovered the value.
func (l *Log) Keep(r Report, value any, frame []byte) {
	l.n.Add(1)
	r.Value = fmt.Sprint(value)
	r.Head, r.Len = bytes.Clone(frame[:min(len(frame), maxHead)]), len(frame)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) < Max || r.At-l.stacked >= stackEvery {
		stack := debug.Stack()
		r.Stack = string(stack[:min(len(stack), maxStack)])
		l.stacked = r.At
	}
	if len(l.kept) == Max {
		at := l.spare(&r)
		l.kept = slices.Delete(l.kept, at, at+1)
	}
	l.kept = append(l.kept, r)
}

// spare returns the index of the report that goes for r: the oldest one, or if r has no
// stack, the oldest of those that have none either. mu is held.
func (l *Log) spare(r *Report) int {
	if r.Stack != "" {
		return 0
	}
	return max(0, slices.IndexFunc(l.kept, func(k Report) bool { return k.Stack == "" }))
}

// Reports returns the reports that are kept, oldest first: of the latest panics, or of
// more than Max within a short time those with a stack, and the latest.
func (l *Log) Reports() []Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.kept)
}
