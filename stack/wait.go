package stack

import (
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// A Waiter waits until something holds that is not one socket's next datagram:
// that one of many sockets is ready, or that there is room in a device. A goroutine
// that waits drives the links as a receiver does: it leads or follows, spins
// for its budget, then sleeps, on the links' descriptors if no other one does.
//
//	Wait(deadline int64) bool
//
// waits; Wake and WakeAll are for what makes true what is waited for. Arm and Disarm have
// an event loop of the caller's sleep in place of Wait. WaitFor is Wait for a call that
// a Handle may cut short, or a Deadline that changes.
//
// Any number of goroutines may wait with one Waiter.
type Waiter = drive.Waiter

// A Handle is how the waits of calls are cut short by another goroutine: they end with
// EINTR. It is for any goroutines at once, and the zero value is of use.
type Handle = drive.Handle

// NewWaiter returns a Waiter for what ready tells. ready is called often, by
// the goroutines that wait, maybe with the stack's locks held: it must be quick, and
// may take no lock of the stack's. What makes it true calls Wake or WakeAll after that.
func (s *Stack) NewWaiter(ready func() bool) *Waiter { return s.drive.NewWaiter(ready) }

// SetReadDeadline sets until when calls wait that receive, beside their own deadlines: at
// is a time of the stack's clock (Deadline makes one), NoDeadline ends that. It holds for
// calls that wait already: what is past ends them at once, as a time-out does, an earlier
// time shortens their waits, a later one makes them longer. A call that need not wait
// does not look at it.
func (k *Endpoint) SetReadDeadline(at int64) { k.readBy.Set(at) }

// SetWriteDeadline is SetReadDeadline for calls that send.
func (k *Endpoint) SetWriteDeadline(at int64) { k.out.Until.Set(at) }

// A Deadline ends waits, those in progress too, and can be changed meanwhile: see
// Endpoint.SetReadDeadline. The zero value is none.
type Deadline = drive.Deadline

// How WaitFor ends.
const (
	WaitReady   = drive.Ready   // what was waited for is there, or the stack is closed
	WaitExpired = drive.Expired // the deadline is there
	WaitCut     = drive.Cut     // the Handle was cancelled
	WaitSpent   = drive.Spent   // the Handle keeps the call awake, and it has spun for its budget
)

// Values of Config.Spin and Spinner.Set beside a fixed budget.
const (
	// SpinAdaptive spins shortly where datagrams come quickly and not at all
	// where they do not: the default.
	SpinAdaptive = drive.SpinAdaptive
	// SpinNever sleeps at once.
	SpinNever = drive.SpinNever
	// SpinAlways never sleeps.
	SpinAlways = drive.SpinAlways
)

// A Spinner is how a socket's calls wait: Set gives it a spin budget of its own, and Now tells
// what that is; with SetYield a call that is about to sleep lets other goroutines run first.
type Spinner = drive.Spinner

// Spinner returns how the socket's calls wait.
func (k *Endpoint) Spinner() *Spinner { return &k.spin }

// Waited tells a socket's spin budget, if it adapts, of a wait of so many nanoseconds of a
// caller who has slept elsewhere, as the stack's own waits tell it.
func Waited(k *Endpoint, took int64) {
	if k.spin.Adapts() {
		k.spin.Learn(took)
	}
}

// A Watch is somebody who wants to know when a socket's events change: when some may
// have begun to hold, when something has been taken, when the socket has ended. Its
// fields are set before Endpoint.Watch, and not changed while it is in force but by
// ChangeWatch.
type Watch = drive.Watch

// Watch has w told of the socket's events, from now on until Unwatch or Close.
// EBADF: the socket is closed.
func (k *Endpoint) Watch(w *Watch) error {
	k.watches.Add(w)
	if k.Closed() {
		k.Unwatch(w)
		return unix.EBADF
	}
	return nil
}

// Unwatch takes w out. Notify is not running, and will not be called, when it
// returns. It does nothing if w is not in force.
func (k *Endpoint) Unwatch(w *Watch) { k.watches.Remove(w) }

// ChangeWatch changes w, whether it is in force or not.
func (k *Endpoint) ChangeWatch(w *Watch, change func(w *Watch)) { k.watches.Change(w, change) }

// Events returns what holds of the socket now, as poll(2) would report it: the
// rules are those of Linux' datagram_poll.
func (k *Endpoint) Events() uint32 { return k.EventsOf(EventsAll) }

// EventsOf is Events for callers that want to know of some events only; others may be missing.
// To know whether there is room in a device takes a system call.
func (k *Endpoint) EventsOf(want uint32) uint32 {
	var ev uint32
	st := k.state.Load()
	if st&output.StateError != 0 || k.errors.Queued() > 0 {
		ev |= unix.EPOLLERR
		if k.errors.SelectErrors() {
			ev |= unix.EPOLLPRI
		}
	}
	switch st & (output.StateShutRead | output.StateShutWrite) {
	case output.StateShutRead | output.StateShutWrite:
		ev |= unix.EPOLLHUP | unix.EPOLLRDHUP | EventsIn
	case output.StateShutRead:
		ev |= unix.EPOLLRDHUP | EventsIn
	}
	if k.queue.N.Load() > 0 || k.times.sent.Len() > 0 {
		ev |= EventsIn
	}
	switch {
	case want&EventsOut == 0 && k.out.WritableHere():
	case k.out.Writable():
		ev |= EventsOut
	default:
		k.out.Missing()
	}
	return ev
}

// WaitElsewhere counts the goroutines that wait outside of the stack for more than a socket, n
// more or, if it is negative, fewer: see Socket.WaitElsewhere.
func (s *Stack) WaitElsewhere(n int32) { s.drive.Elsewhere(n) }
