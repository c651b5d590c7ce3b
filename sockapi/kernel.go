package sockapi

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A kernelSocket is an in-band socket: a file descriptor, and the system calls
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
// Linux' close does not wake those who wait on a descriptor, and gives its
// number to the next who opens a file. Here the number stays the socket's until
// the last call has left, and [kernelSocket.wake] has them leave.
type kernelSocket struct {
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

// kernelTypeFlags are the flags in a socket's type that the kernel knows.
const kernelTypeFlags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC

// openKernel opens an in-band socket.
func (a *API) openKernel(domain, typ, proto int) (*Socket, error) {
	typ &^= SOCK_OOB
	fd, _, e := unix.Syscall(unix.SYS_SOCKET, uintptr(domain), uintptr(typ|unix.SOCK_CLOEXEC), uintptr(proto))
	if e != 0 {
		return nil, e
	}
	return a.inband(int(fd), domain, typ, proto), nil
}

// inband makes a Socket of a descriptor.
func (a *API) inband(fd, domain, typ, proto int) *Socket {
	return &Socket{
		api:    a,
		kernel: &kernelSocket{fd: fd, domain: domain},
		domain: domain, typ: typ &^ kernelTypeFlags, proto: proto,
	}
}

// acquire begins a call: until release the descriptor is the socket's. It
// reports false, for EBADF, if the socket is closed.
func (k *kernelSocket) acquire() bool {
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

// release ends a call. The last one of a closing socket gives the descriptor back.
func (k *kernelSocket) release() {
	if k.calls.Add(-1) == closing {
		k.restoreTimeouts()
		_ = unix.Close(k.fd) // Close has returned, or is about to return nil
	}
}

// close closes the socket. Calls that wait on it return EBADF, and have
// returned when close does, so that its port is free.
func (k *kernelSocket) close() error {
	n := k.calls.Load()
	for n < closing && !k.calls.CompareAndSwap(n, n+closing+1) { // a call of its own
		n = k.calls.Load()
	}
	switch {
	case n >= closing:
		return unix.EBADF
	case n == 0: // nobody else is in a call, nor ever will be
		k.calls.Add(-1)
		return unix.Close(k.fd)
	}
	k.wake(ownThreads)
	return nil
}

// An interruption decides whether a call that a signal interrupted is made
// again.
type interruption struct {
	k      *kernelSocket
	option int // SO_RCVTIMEO or SO_SNDTIMEO
	began  time.Time
}

// begin starts an operation that waits as the option says.
func (k *kernelSocket) begin(option int) interruption {
	i := interruption{k: k, option: option}
	if k.timed.Load() {
		i.began = time.Now()
	}
	return i
}

// result returns what a call's errno means: EINTR to call again, EBADF if the
// socket has been closed, or timeout if its time-out has passed meanwhile.
func (i *interruption) result(e, timeout unix.Errno) unix.Errno {
	switch {
	case e != unix.EINTR:
		return e
	case i.k.calls.Load() >= closing:
		return unix.EBADF
	case i.began.IsZero():
		return e
	}
	tv, err := unix.GetsockoptTimeval(i.k.fd, unix.SOL_SOCKET, i.option)
	if err == nil && tv.Nano() != 0 && time.Since(i.began) >= time.Duration(tv.Nano()) {
		return timeout
	}
	return e
}

// failed returns an errno as an error.
func failed(e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}
