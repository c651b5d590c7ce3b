package drive

import (
	"sync/atomic"
	"time"
)

// Spin budgets beside a fixed one.
const (
	// SpinAdaptive spins shortly where datagrams come quickly and not at all
	// where they do not.
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
	spinStart = 20_000  // the first budget of all
	spinGrow  = 10_000  // the first budget after none
	spinMax   = 200_000 // halt_poll_ns
)

// A Spinner is a spin budget that learns.
type Spinner struct {
	d        *Driver
	fixed    atomic.Int64 // a duration or one of the above, valid if own
	own      atomic.Bool  // there is a setting of its own (SO_BUSY_POLL)
	yields   atomic.Bool  // see SetYield
	adaptive atomic.Int64 // nanoseconds
}

// Init has the budget begin, and follow a driver's default until Set.
func (p *Spinner) Init(d *Driver) {
	p.d = d
	p.adaptive.Store(spinStart)
}

// Set sets a budget of its own: a duration, SpinAdaptive, SpinNever or SpinAlways.
func (p *Spinner) Set(t time.Duration) {
	p.fixed.Store(int64(t))
	p.own.Store(true)
}

// SetYield has calls that are about to sleep let other goroutines run first. Those that the
// caller has just started would have to wait until the runtime finds out that it sleeps, or for
// another thread to be woken. It is for callers that are goroutines among others: to one
// that has a thread of its own (runtime.LockOSThread) it costs two switches of threads.
func (p *Spinner) SetYield(on bool) { p.yields.Store(on) }

// mode returns the setting in force.
func (p *Spinner) mode() time.Duration {
	if p.own.Load() {
		return time.Duration(p.fixed.Load())
	}
	return p.d.spin
}

// Budget returns how long to spin, in nanoseconds; Never: without end.
func (p *Spinner) Budget() int64 {
	switch m := p.mode(); {
	case m == SpinAlways:
		return Never
	case m < 0:
		return 0
	case m > 0:
		return int64(m)
	case p.d.memoryOnly.Load():
		return 0 // only goroutines can bring frames: make room for them
	default:
		return p.adaptive.Load()
	}
}

// Now returns the budget that holds now: a duration, SpinNever or SpinAlways.
func (p *Spinner) Now() time.Duration {
	switch b := p.Budget(); b {
	case Never:
		return SpinAlways
	case 0:
		return SpinNever
	default:
		return time.Duration(b)
	}
}

// Adapts reports whether the budget learns from how long waits take.
func (p *Spinner) Adapts() bool { return p.mode() == SpinAdaptive }

// Learn takes in that a wait took so many nanoseconds, a sleep among them. A
// wait that a longer spin would have caught makes the budget grow, one that
// none would have makes it shrink.
func (p *Spinner) Learn(took int64) {
	b := p.adaptive.Load()
	if took <= spinMax {
		b = min(max(2*b, spinGrow), spinMax)
	} else if b /= 2; b < spinGrow/2 {
		b = 0
	}
	p.adaptive.Store(b)
}
