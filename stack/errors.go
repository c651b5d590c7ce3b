package stack

import (
	"bytes"
	"sync/atomic"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// A QueuedError is one entry of a socket's error queue (IP_RECVERR in ip(7),
// struct sock_extended_err in recvmsg(2)).
type QueuedError = queue.QueuedError

// Errors is what a socket has to report: the pending error, and the error queue.
type Errors struct {
	k        *Endpoint
	pending  atomic.Int32 // an errno, if output.StateError
	all      atomic.Bool  // see SetRecvErr
	priority atomic.Bool  // see SetSelectErrors
	queue    queue.Errors
}

// Errors returns what the socket has to report.
func (k *Endpoint) Errors() *Errors { return &k.errors }

// set makes e the socket's pending error: the next call returns it, once.
func (x *Errors) set(e unix.Errno) {
	x.pending.Store(int32(e))
	x.k.setState(output.StateError, unix.EPOLLERR)
}

// Take returns the pending error and clears it (SO_ERROR, socket(7)); 0 if there is
// none.
func (x *Errors) Take() unix.Errno {
	if x.k.state.Load()&output.StateError == 0 {
		return 0
	}
	x.k.state.And(^uint32(output.StateError))
	e := unix.Errno(x.pending.Swap(0))
	x.k.watches.Drained()
	return e
}

// Keep makes err, an errno other than EAGAIN, the pending error again: the call that got
// it has something else to return.
func (x *Errors) Keep(err error) {
	if e, ok := err.(unix.Errno); ok && e != unix.EAGAIN && e != unix.EBADF {
		x.set(e)
	}
}

// TakeQueued takes the oldest entry of the error queue (MSG_ERRQUEUE); ok is false if it
// is empty. As on Linux the pending error is then that of the next ICMP error in the
// queue, if there is one.
func (x *Errors) TakeQueued() (e QueuedError, ok bool) {
	e, next, ok := x.queue.Pop()
	switch {
	case !ok:
	case next != 0:
		x.set(next)
	case e.Origin == unix.SO_EE_ORIGIN_ICMP:
		x.Take()
	}
	if ok {
		x.k.watches.Drained()
	}
	return e, ok
}

// Queued returns how many entries the error queue has.
func (x *Errors) Queued() int { return int(x.queue.N.Load()) }

// push appends to the error queue and wakes the calls that wait. What finds no room is counted.
func (x *Errors) push(e QueuedError) {
	if !x.queue.Push(e, x.k.queue.Limit.Load()) {
		x.k.s.errorsLost.Add(1)
		return
	}
	x.k.watches.Tell(unix.EPOLLERR)
}

// SetRecvErr asks for all ICMP errors, the transient ones too (IP_RECVERR, ip(7)).
// Turned off, it drops what is in the error queue.
func (x *Errors) SetRecvErr(on bool) {
	x.all.Store(on)
	if !on {
		x.queue.Purge()
		x.k.watches.Drained()
	}
}

// RecvErr returns what SetRecvErr set.
func (x *Errors) RecvErr() bool { return x.all.Load() }

// SetSelectErrors makes an error, and what is in the error queue, EPOLLPRI too
// (SO_SELECT_ERR_QUEUE in socket(7)).
func (x *Errors) SetSelectErrors(on bool) {
	x.priority.Store(on)
	x.k.watches.Tell(unix.EPOLLERR)
}

// SelectErrors returns what SetSelectErrors set.
func (x *Errors) SelectErrors() bool { return x.priority.Load() }

// localError reports a datagram that was too long to be sent, to a socket that
// wants to know (ip_local_error in Linux).
func (k *IPSocket) localError(errno unix.Errno, dst ipv4.Addr, port uint16, mtu int) {
	if k.errors.RecvErr() {
		k.errors.push(QueuedError{Errno: errno, Origin: unix.SO_EE_ORIGIN_LOCAL, Info: uint32(mtu), Dst: dst, DstPort: port})
	}
}

// icmpError takes in an ICMP error about a datagram of the socket's, by the rules
// of Linux' udp_err: without IP_RECVERR only hard errors count, and only on
// connected sockets. It copies e's payload if it keeps it.
func (k *IPSocket) icmpError(e QueuedError, hard bool) {
	if !k.errors.RecvErr() {
		if hard && k.hasPeer.Load() {
			k.errors.set(e.Errno)
		}
		return
	}
	if !k.recvExtension.Load() {
		e.Extension = icmp.Extension{}
	}
	e.Origin, e.Payload = unix.SO_EE_ORIGIN_ICMP, bytes.Clone(e.Payload)
	k.errors.push(e)
	k.errors.set(e.Errno)
}

// errorOf returns e as an error, nil if it is 0.
func errorOf(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}
