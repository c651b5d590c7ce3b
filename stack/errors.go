package stack

import (
	"bytes"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// TakeQueuedError takes the oldest entry of the error queue (MSG_ERRQUEUE); ok
// is false if it is empty. As on Linux the pending error is then that of the
// next ICMP error in the queue, if there is one.
func (k *Endpoint) TakeQueuedError() (e QueuedError, ok bool) {
	e, next, ok := k.errors.Pop()
	switch {
	case !ok:
	case next != 0:
		k.setError(next)
	case e.Origin == unix.SO_EE_ORIGIN_ICMP:
		k.TakeError()
	}
	if ok {
		k.drained()
	}
	return e, ok
}

// QueuedErrors returns how many entries the error queue has.
func (k *Endpoint) QueuedErrors() int { return int(k.errors.N.Load()) }

// queueError appends to the error queue and wakes who waits. What finds no room is
// counted.
func (k *Endpoint) queueError(e QueuedError) {
	if !k.errors.Push(e, k.queue.Limit.Load()) {
		k.s.errorsLost.Add(1)
		return
	}
	k.changed(unix.EPOLLERR)
}

// localError reports a datagram that was too long to be sent, to a socket that
// wants to know (ip_local_error in Linux).
func (k *IPSocket) localError(errno unix.Errno, dst ipv4.Addr, port uint16, mtu int) {
	if k.recvErr.Load() {
		k.queueError(QueuedError{Errno: errno, Origin: unix.SO_EE_ORIGIN_LOCAL, Info: uint32(mtu), Dst: dst, DstPort: port})
	}
}

// icmpError takes in an ICMP error about a datagram of the socket's, by the rules
// of Linux' udp_err: without IP_RECVERR only hard errors count, and only on
// connected sockets. It copies e's payload if it keeps it.
func (k *IPSocket) icmpError(e QueuedError, hard bool) {
	if !k.recvErr.Load() {
		if hard && k.hasPeer.Load() {
			k.setError(e.Errno)
		}
		return
	}
	if !k.recvExtension.Load() {
		e.Extension = icmp.Extension{}
	}
	e.Origin, e.Payload = unix.SO_EE_ORIGIN_ICMP, bytes.Clone(e.Payload)
	k.queueError(e)
	k.setError(e.Errno)
}
