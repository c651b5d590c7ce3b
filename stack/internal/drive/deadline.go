package drive

import "sync/atomic"

// A Deadline is a time that ends waits, those that are in progress too. The zero value
// is none. It is for any goroutines at once.
type Deadline struct {
	turned atomic.Int64 // the time, such that 0 is Never
	asleep List         // calls that sleep no longer than that
}

// At returns the time; Never if there is none.
func (d *Deadline) At() int64 { return d.turned.Load() ^ Never }

// Set sets the time, in nanoseconds of the clock: one of the past ends the waits that are
// in progress, an earlier one shortens them, a later one or Never makes them longer.
func (d *Deadline) Set(at int64) {
	d.turned.Store(at ^ Never)
	d.asleep.Tell(All)
}

// A Handle is how one call's wait, or those of several, is cut short by another
// goroutine. It is for any goroutines at once; the zero value is of use. Word and Awake are
// set while no call has it.
type Handle struct {
	// Word ends the waits of calls that spin as soon as it is not 0: memory that somebody else
	// writes who cannot call Cancel, such as the handler of a signal. nil: there is none.
	Word *atomic.Uint32
	// Awake has calls not sleep: who has spun for its budget gives up.
	Awake bool

	cut    atomic.Bool
	asleep List
}

// Cancel ends the waits that the handle was given to, and those to come, until Renew.
func (h *Handle) Cancel() {
	h.cut.Store(true)
	h.asleep.Tell(All)
}

// Renew makes a handle fit for calls again.
func (h *Handle) Renew() { h.cut.Store(false) }

// Cancelled reports whether waits end.
func (h *Handle) Cancelled() bool {
	return h.cut.Load() || h.Word != nil && h.Word.Load() != 0
}
