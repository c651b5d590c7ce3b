package stack

import (
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
)

// A Waiter waits until something holds that is not one socket's next datagram:
// that one of many sockets is ready, or that there is room in a device. Who waits
// drives the links as a receiver does: it leads or follows, spins
// for its budget, then sleeps, on the links' descriptors if nobody else does.
//
//	Wait(deadline int64) bool
//
// waits; Wake and WakeAll are for who makes true what is waited for. Arm and Disarm have
// an event loop of the caller's sleep in place of Wait. WaitFor is Wait for a call that
// a Handle may cut short, or a Deadline that changes.
//
// Any number of goroutines may wait with one Waiter.
type Waiter = drive.Waiter

// A Handle is how the waits of calls are cut short by another goroutine: they end with
// EINTR. It is for any goroutines at once, and the zero value is of use.
type Handle = drive.Handle

// NewWaiter returns a Waiter for what ready tells. ready is called often, by
// whoever waits, maybe with the stack's locks held: it must be quick, and may
// take no lock of the stack's. Who makes it true calls Wake or WakeAll after
// that.
func (s *Stack) NewWaiter(ready func() bool) *Waiter { return s.drive.NewWaiter(ready) }

// SetReadDeadline sets until when calls wait that receive, beside their own deadlines: at
// is a time of the stack's clock (Deadline makes one), NoDeadline ends that. It holds for
// calls that wait already: what is past ends them at once, as a time-out does, an earlier
// time shortens their waits, a later one makes them longer. A call that need not wait
// does not look at it.
func (k *Endpoint) SetReadDeadline(at int64) { k.readBy.Set(at) }

// SetWriteDeadline is SetReadDeadline for calls that send.
func (k *Endpoint) SetWriteDeadline(at int64) { k.out.Until.Set(at) }

// A Call says how long Waiter.WaitFor waits: its Deadline (NoDeadline: without end), and
// what may end it that others change, Until and Handle. The other fields are the
// Waiter's.
type Call = drive.Call

// A Deadline ends waits, those in progress too, and can be changed meanwhile: see
// Endpoint.SetReadDeadline. The zero value is none.
type Deadline = drive.Deadline

// How WaitFor ends.
const (
	WaitReady   = drive.Ready   // what was waited for is there, or the stack is closed
	WaitExpired = drive.Expired // the deadline is there
	WaitCut     = drive.Cut     // the Handle was cancelled
)

// RecvWith is Recv for a call that h may cut short: EINTR.
func (k *Endpoint) RecvWith(h *Handle, p []byte, flags int, deadline int64) (n int, info Info, err error) {
	t := queue.Target{One: p}
	if e := k.s.receive(k, &t, flags, deadline, h); e != 0 {
		return 0, Info{}, e
	}
	return t.N, t.Info, nil
}
