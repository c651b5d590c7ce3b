package stack

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// sendBuffer is what of a socket's datagrams has not left yet. charged is what
// waits in the stack: for a neighbour that does not answer yet, for its time, or in
// the backlog. What waits in the device is charged to the socket's own way out, if it
// has one (txqueue.go).
type sendBuffer struct {
	charged atomic.Int64
	limit   atomic.Int64 // SO_SNDBUF in bytes
	missed  atomic.Bool  // somebody wanted space, and there was none
	// space is made by the first sender that has to wait.
	space atomic.Pointer[Waiter]
	// waits are those for room in devices; guarded by rooms.mu.
	waits []*roomWait
	// full is the way out that has said EAGAIN last, until it has room.
	full atomic.Pointer[txQueue]
	// own are the socket's own ways out; apart says that it is to have them.
	own   ownQueues
	apart atomic.Bool
}

// chargeFrame returns what a frame of n bytes weighs against SO_SNDBUF.
func chargeFrame(n int) int64 { return charge(n - headroom) }

// wake wakes the senders that wait for space.
func (b *sendBuffer) wake() {
	if w := b.space.Load(); w != nil {
		w.WakeAll()
	}
}

// chargeSend counts a frame that begins to wait.
func (k *Endpoint) chargeSend(frame int) {
	if k.sending.charged.Add(chargeFrame(frame)) >= k.sending.limit.Load() {
		k.markSendFull()
	}
}

// unchargeSend takes back what chargeSend counted: the frame has left, or never
// will. As in Linux' sock_def_write_space nobody is told before half is free.
func (k *Endpoint) unchargeSend(frame int) {
	k.sending.charged.Add(-chargeFrame(frame))
	k.markSendFull()
	if k.writable() {
		k.sending.wake()
		k.changed(EventsOut)
	}
}

// markSendFull sets or clears stateSendFull by what is charged. Whoever changes
// what it depends on calls it after that, so that the last one is right.
func (k *Endpoint) markSendFull() {
	b := &k.sending
	for {
		full := b.charged.Load() >= b.limit.Load()
		k.markExtras(stateSendFull, full)
		if full == (b.charged.Load() >= b.limit.Load()) {
			return
		}
	}
}

// sendFull reports whether a send has to wait for space.
func (k *Endpoint) sendFull() bool { return k.state.Load()&stateSendFull != 0 }

// noSpace is for a send that sendFull refuses.
func (k *Endpoint) noSpace() unix.Errno {
	k.sending.missed.Store(true)
	return unix.EAGAIN
}

// TakeMissed reports whether somebody has wanted to send, or asked if it is
// possible, and could not, since it was last called: who is told of space by a
// signal is told then only (SOCKWQ_ASYNC_NOSPACE in Linux).
func (k *Endpoint) TakeMissed() bool { return k.sending.missed.Swap(false) }

// noRoom is for a send for which there was no room in a device.
func (k *Endpoint) noRoom(to *txQueue) {
	k.sending.missed.Store(true)
	k.sending.full.Store(to)
	if k.watched() {
		k.s.rooms.arm(k, to)
	}
}

// writable reports what EPOLLOUT does: Linux' sock_writeable.
func (k *Endpoint) writable() bool { return k.writableHere() && k.stuckOn() == nil }

// writableHere is writable as far as it is known without asking a device.
func (k *Endpoint) writableHere() bool {
	b := &k.sending
	return b.charged.Load()+1 < b.limit.Load()>>1 && k.state.Load()&stateSendBehind == 0
}

// stuckOn returns a way out in whose device there is no room for the socket, nil if
// there is none.
func (k *Endpoint) stuckOn() *txQueue {
	b := &k.sending
	for q := range b.own.all {
		if !q.hasRoom() {
			b.full.Store(q)
			return q
		}
	}
	if list := b.own.shares.Load(); list != nil {
		for _, i := range *list {
			// Where others send too it does not matter: see moveAside.
			if i.sharers.Load() < 2 && !i.queue.hasRoom() {
				b.full.Store(i.queue)
				return i.queue
			}
		}
	}
	if to := b.full.Load(); to != nil {
		if !to.hasRoom() {
			return to
		}
		b.full.CompareAndSwap(to, nil)
	}
	return nil
}

// missing notes that somebody wants to hear of room.
func (k *Endpoint) missing() {
	k.sending.missed.Store(true)
	to := k.sending.full.Load()
	if behind := k.behindOn(); behind != nil {
		to = behind
	}
	if to != nil && k.watched() {
		k.s.rooms.arm(k, to)
	}
}

// sent tells who watches the socket that a datagram has left: as on Linux,
// where its memory is free then, that is an edge for EPOLLOUT.
func (k *Endpoint) sent() {
	switch {
	case !k.watched():
	case k.writableHere() && k.sending.full.Load() == nil && k.sending.own.list.Load() == nil || k.writable():
		k.watches.tell(EventsOut) // who looks for itself, and asks the device
	default:
		k.armFull()
	}
}

// armFull has those who watch the socket told when the device that is full has room.
func (k *Endpoint) armFull() {
	if to := k.stuckOn(); to != nil {
		k.s.rooms.arm(k, to)
	} else if k.writable() { // meanwhile
		k.sending.wake()
		k.changed(EventsOut)
	}
}

// pause waits until a send that found the send buffer full may be tried again. It
// returns false if the call ends instead.
func (k *Endpoint) pause(flags int, deadline int64) bool {
	if flags&unix.MSG_DONTWAIT != 0 || k.state.Load()&stateSendEnds != 0 ||
		deadline != never && k.s.clock.Now() >= deadline {
		return false
	}
	if to := k.behindOn(); to != nil {
		k.sleepForRoom(to, deadline)
		return true
	}
	if !k.sendFull() && !k.kind.ported() {
		return false // no port was free
	}
	k.spaceWaiter().Wait(deadline)
	return true
}

// whyNot returns what a send says that ended without having sent anything, and
// without waiting or while it did.
func (k *Endpoint) whyNot() unix.Errno {
	switch st := k.state.Load(); {
	case st&stateClosed != 0:
		return unix.EBADF
	case st&stateError != 0:
		if e := k.TakeError(); e != 0 {
			return e
		}
	case st&stateShutWrite != 0:
		return unix.EPIPE
	}
	return unix.EAGAIN
}

// spaceWaiter returns what senders wait with.
func (k *Endpoint) spaceWaiter() *Waiter {
	b := &k.sending
	if w := b.space.Load(); w != nil {
		return w
	}
	w := k.s.NewWaiter(func() bool { return !k.sendFull() || k.state.Load()&stateSendEnds != 0 })
	b.space.CompareAndSwap(nil, w)
	return b.space.Load()
}

// SetSendBuffer sets how much may wait to be sent, in the bytes that Linux would
// charge: about twice the payload's (SO_SNDBUF).
func (k *Endpoint) SetSendBuffer(n int) {
	k.sending.limit.Store(int64(n))
	if n != defaultSndbuf {
		k.separate() // what all use has a size of its own
	}
	for q := range k.sending.own.all {
		q.room.SetBuffer(n)
	}
	k.markSendFull()
	if k.writable() {
		k.sending.wake()
		k.changed(EventsOut)
	}
}

// SendBuffer returns what SetSendBuffer set.
func (k *Endpoint) SendBuffer() int { return int(k.sending.limit.Load()) }

// SendQueued returns how much is charged for what waits to be sent, in the stack and in
// the device (SIOCOUTQ in udp(7)). Of what the socket has sent by a way out that others
// use too it knows no more than what all have there, and nothing once it has its own:
// that it gets with the first call.
func (k *Endpoint) SendQueued() int {
	n := k.sendQueued()
	if list := k.sending.own.shares.Load(); list != nil {
		for _, i := range *list {
			if i.sharers.Load() > 1 {
				k.separate()
			}
		}
	}
	return n
}

// sendQueued is SendQueued, of which the socket does not notice anything.
func (k *Endpoint) sendQueued() int {
	n := int(k.sending.charged.Load())
	for q := range k.sending.own.all {
		n += q.room.Queued()
	}
	if list := k.sending.own.shares.Load(); list != nil {
		for _, i := range *list {
			if i.queue.room != nil && k.sending.own.of(i) == nil {
				n += i.queue.room.Queued()
			}
			k.sending.own.leave(i)
		}
	}
	return n
}
