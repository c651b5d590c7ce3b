package drive

import (
	"sync"

	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// armed is the event loop that sleeps in place of a goroutine.
type armed struct {
	mu   sync.Mutex
	pol  *link.Poller // nil: it was never armed
	w    *sleeper     // nil: it is not armed
	call Call
	led  bool

	began int64 // when it was armed, if the budget learns from that
}

// Arm has an event loop of the caller's sleep in place of Wait. It appends to fds the
// descriptors that the loop sleeps on, for reading, and returns until when it may sleep,
// by the stack's clock: Never, without end; what is past, not at all. The
// descriptors stay the stack's: they are good until Disarm, which the caller owes as
// soon as one is readable, the time has come, or it does not want to sleep any more.
//
// Whatever would wake a goroutine from Wait makes one of the descriptors readable,
// from now on. The stack counts on the loop as on a goroutine that sleeps: it may be the
// only one that hears of frames.
//
// One loop at a time sleeps with a Waiter: EBUSY. EMFILE or ENFILE: there is no
// descriptor left, of the one that it takes until Close.
func (g *Waiter) Arm(deadline int64, fds []int) (on []int, until int64, err error) {
	a, d := &g.armed, g.d
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.w != nil {
		return fds, 0, unix.EBUSY
	}
	if a.pol == nil {
		a.pol = link.NewPoller()
	}
	fd, err := a.pol.Arm()
	if err != nil {
		return fds, 0, err
	}
	a.w = d.sleepers.pool.Get().(*sleeper)
	g.wakes(&a.call)
	a.w.pol.Store(a.pol) // before anybody can wake it
	a.w.attach(&a.call)
	if g.spin.Adapts() {
		a.began = d.clock.Now()
	}
	fds, until = append(fds, fd), deadline
	again := false
	if a.led = d.enter(a.w, a.pol); a.led {
		d.sleepers.armed.Store(a.pol)
		again = d.lookAgain()
		for _, l := range d.host.Links() {
			if fd := l.FD(); fd >= 0 {
				fds = append(fds, fd)
			}
		}
		until = min(until, d.Timers.next.Load())
	}
	set := g.sources.set()
	if set != nil {
		for _, p := range set.polls {
			if fd := p.FD(); fd >= 0 {
				fds = append(fds, fd)
			}
		}
	}
	if again || g.holds() || g.sources.set() != set {
		until = d.clock.Now()
	}
	return fds, until, nil
}

// Disarm ends what Arm began: it drives the links once, and reports whether the wait is
// over, as Wait does. It does nothing else if the Waiter is not armed.
func (g *Waiter) Disarm() bool {
	a, d := &g.armed, g.d
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.w; w != nil {
		a.pol.Disarm()
		if a.led {
			d.sleepers.armed.Store(nil)
		}
		d.exit(w)
		w.detach(&a.call)
		if a.led {
			d.runDueTimers()
		}
		d.recycle(w)
		a.w = nil
		if g.spin.Adapts() {
			g.spin.Learn(d.clock.Now() - a.began)
		}
	}
	g.Poll()
	over := g.holds() || g.sources.ready()
	if a.led {
		if !over {
			a.pol.Wait(d.host.Links(), 0) // a system call, which looks after errors of theirs
		}
		a.led = false
		d.passLead()
	}
	return over
}

func (a *armed) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pol != nil {
		a.pol.Close()
	}
}
