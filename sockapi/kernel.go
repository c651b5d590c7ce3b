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
// number to the next who opens a file. See wake for how Close does better.
type kernelSocket struct {
	fd     int
	domain int
	// calls counts the calls in flight, with closing added by close.
	calls atomic.Int64
	// drained is closed when a closing socket's last call has left.
	drained chan struct{}
	// timed is whether the socket has had a time-out.
	timed atomic.Bool
}

// closing is added to calls when a socket is closed.
const closing = 1 << 62

// kernelTypeFlags are the flags in a socket's type that the kernel knows.
const kernelTypeFlags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC

// openKernel opens an in-band socket.
func (a *API) openKernel(domain, typ, proto int) (*Socket, error) {
	typ &^= SOCK_OOB
	if err := graves.open(); err != nil {
		return nil, err
	}
	fd, _, e := unix.Syscall(unix.SYS_SOCKET, uintptr(domain), uintptr(typ|unix.SOCK_CLOEXEC), uintptr(proto))
	if e != 0 {
		graves.close()
		return nil, e
	}
	return a.inband(int(fd), domain, typ, proto), nil
}

// inband makes a Socket of a descriptor, for which a grave is open.
func (a *API) inband(fd, domain, typ, proto int) *Socket {
	return &Socket{
		api:    a,
		kernel: &kernelSocket{fd: fd, domain: domain, drained: make(chan struct{})},
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

// release ends a call.
func (k *kernelSocket) release() {
	if k.calls.Add(-1) == closing {
		_ = unix.Close(k.fd) // the grave, not the socket: nothing can fail
		graves.close()
		close(k.drained)
	}
}

// close closes the socket. Calls that wait on it return EBADF, and have
// returned when close does, so that its port is free.
func (k *kernelSocket) close() error {
	n := k.calls.Load()
	for n < closing && !k.calls.CompareAndSwap(n, n+closing) {
		n = k.calls.Load()
	}
	if n >= closing {
		return unix.EBADF
	}
	if n == 0 {
		err := unix.Close(k.fd)
		graves.close()
		return err
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

// result returns what a call's errno means: EINTR to call again, or timeout if
// the socket's time-out has passed meanwhile.
func (i *interruption) result(e, timeout unix.Errno) unix.Errno {
	if e != unix.EINTR || i.began.IsZero() {
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
