package stack

import (
	"sync/atomic"
	"time"
)

// Values of Config.Spin and Endpoint.SetSpin beside a fixed budget.
const (
	// SpinAdaptive spins shortly where datagrams come quickly and not at all
	// where they do not: the default.
	SpinAdaptive time.Duration = 0
	// SpinNever sleeps at once.
	SpinNever time.Duration = -1
	// SpinAlways never sleeps.
	SpinAlways time.Duration = -2
)

// Limits of the adaptive budget in nanoseconds: the algorithm and the limits are
// those of the Linux kernel's halt polling (virt/kvm/halt-polling.rst). A sleep
// and the wake-up after it cost 5 to 100 us, the more on virtual machines; if both
// ends of a connection sleep, each waits for the other's too. Up to twice that it
// is better to spin.
const (
	spinStart = 20_000  // a new socket's budget
	spinGrow  = 10_000  // the first budget after none
	spinMax   = 200_000 // halt_poll_ns
)

// spinner is one socket's spin budget.
type spinner struct {
	fixed    atomic.Int64 // as Config.Spin, valid if own
	own      atomic.Bool  // the socket has a setting of its own (SO_BUSY_POLL)
	adaptive atomic.Int64 // nanoseconds
}

// mode returns the setting in force.
func (p *spinner) mode(s *Stack) time.Duration {
	if p.own.Load() {
		return time.Duration(p.fixed.Load())
	}
	return s.spinDefault
}

// budget returns how long to spin, in nanoseconds.
func (p *spinner) budget(s *Stack) int64 {
	switch m := p.mode(s); {
	case m == SpinAlways:
		return never
	case m < 0:
		return 0
	case m > 0:
		return int64(m)
	case s.memoryOnly.Load():
		return 0 // only goroutines can bring frames: make room for them
	default:
		return p.adaptive.Load()
	}
}

// adapts reports whether the budget learns from how long waits take.
func (p *spinner) adapts(s *Stack) bool { return p.mode(s) == SpinAdaptive }

// learn takes in that a wait took so many nanoseconds, a sleep among them. A
// wait that a longer spin would have caught makes the budget grow, one that
// none would have makes it shrink.
func (p *spinner) learn(took int64) {
	b := p.adaptive.Load()
	if took <= spinMax {
		b = min(max(2*b, spinGrow), spinMax)
	} else if b /= 2; b < spinGrow/2 {
		b = 0
	}
	p.adaptive.Store(b)
}
