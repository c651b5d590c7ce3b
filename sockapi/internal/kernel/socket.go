package kernel

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Socket is an in-band socket: a file descriptor, and the system calls
// on it. Nothing is between the caller and the kernel: arguments, results,
// flags, addresses and errnos are its own, so that it is also what out-of-band
// sockets are compared with.
//
// The descriptor never is in Go's netpoller. A call that waits, waits in the
// system call, as it would in C, and holds a thread for as long.
//
// # Signals
//
// A program in Go gets signals that it did not ask for. The runtime has the
// kernel restart what they interrupt (SA_RESTART); what Linux does not restart,
// because the socket has a time-out (signal(7)), is called again here. That
// starts SO_RCVTIMEO and SO_SNDTIMEO anew, so that an interrupted call may last
// up to twice as long, and no longer, than its time-out. EINTR is never
// returned.
//
// # Close
//
// Linux' close does not wake the threads that wait on a descriptor, and gives its
// number to the next file that is opened. Here the number stays the socket's until
// the last call has left, and [Socket.wake] has them leave.
type Socket struct {
	fd     int
	domain int
	// calls counts the calls in flight, with closing added by close.
	calls atomic.Int64
	// timed is whether the socket has had a time-out.
	timed atomic.Bool
	// lent are the time-outs that wake has set.
	lent []int
}

// closing is added to calls when a socket is closed.
const closing = 1 << 62

// New returns the socket of a descriptor, which is its own from now on.
func New(fd, domain int) *Socket { return &Socket{fd: fd, domain: domain} }

// Acquire begins a call: until Release the descriptor is the socket's. It
// reports false, for EBADF, if the socket is closed.
func (k *Socket) Acquire() bool {
	for {
		n := k.calls.Load()
		if n >= closing {
			return false
		}
		if k.calls.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release ends a call. The last one of a closing socket gives the descriptor back.
func (k *Socket) Release() {
	if k.calls.Add(-1) == closing {
		k.restoreTimeouts()
		_ = unix.Close(k.fd) // Close has returned, or is about to return nil
	}
}

// Close closes the socket. Calls that wait on it return EBADF, and have
// returned when Close does, so that its port is free.
func (k *Socket) Close() error {
	n := k.calls.Load()
	for n < closing && !k.calls.CompareAndSwap(n, n+closing+1) { // a call of its own
		n = k.calls.Load()
	}
	switch {
	case n >= closing:
		return unix.EBADF
	case n == 0: // no other call is under way, nor ever will be
		k.calls.Add(-1)
		return unix.Close(k.fd)
	}
	k.wake(OwnThreads)
	return nil
}

// FD returns the descriptor, which is the socket's between Acquire and Release.
func (k *Socket) FD() int { return k.fd }

// Closed reports whether the socket is closed, or closing.
func (k *Socket) Closed() bool { return k.calls.Load() >= closing }
