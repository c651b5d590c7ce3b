package kernel

import (
	"time"

	"golang.org/x/sys/unix"
)

// An interruption decides whether a call that a signal interrupted is made
// again.
type interruption struct {
	k      *Socket
	option int // SO_RCVTIMEO or SO_SNDTIMEO
	began  time.Time
}

// begin starts an operation that waits as the option says.
func (k *Socket) begin(option int) interruption {
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
