package sockapi

import (
	"time"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// EVL's calls on in-band sockets. Without a deadline they wait in the kernel's call;
// with one in ppoll(2), between attempts that do not wait.

// oobSlice is how long a ppoll(2) lasts at most: until then a Close from elsewhere
// goes unnoticed. oobNap is the pause where ppoll would not wait, since the
// socket's error queue has something that nobody takes.
const (
	oobSlice = 20 * time.Millisecond
	oobNap   = time.Millisecond
)

// oobRecvKernel is OobRecvmsg in-band. There are no times of what was sent.
func (s *Socket) oobRecvKernel(m *Msghdr, deadline *unix.Timespec, flags int) (int, error) {
	if flags&MSG_TIMESTAMP != 0 {
		return 0, s.orClosed(unix.EINVAL)
	}
	return s.untilDeadline(deadline, flags, unix.POLLIN, func(wait int) (int, error) {
		return s.kernel.recvmsg(m, flags|wait)
	})
}

// oobSendKernel is OobSendmsg in-band. The kernel answers for its neighbours, so
// MSG_PROBE, which has another meaning for it, asks for nothing.
func (s *Socket) oobSendKernel(m *Msghdr, deadline *unix.Timespec, flags int) (int, error) {
	return s.untilDeadline(deadline, flags, unix.POLLOUT, func(wait int) (int, error) {
		return s.kernel.sendmsg(m, flags&^MSG_PROBE|wait)
	})
}

// untilDeadline makes attempts until one has not had to wait, or the deadline is
// there. attempt is given MSG_DONTWAIT or 0.
func (s *Socket) untilDeadline(date *unix.Timespec, flags int, events int16, attempt func(wait int) (int, error)) (int, error) {
	end, err := s.api.deadlineAt(date)
	if err != nil {
		return 0, s.orClosed(err)
	}
	wait := unix.MSG_DONTWAIT
	if end == stack.NoDeadline {
		wait = 0
	}
	for {
		n, err := attempt(wait)
		if err != unix.EAGAIN || flags&unix.MSG_DONTWAIT != 0 || s.kernel.nonblocking() {
			return n, err
		}
		if wait == 0 {
			continue // SO_RCVTIMEO or SO_SNDTIMEO, which do not count here
		}
		left := time.Duration(end - s.api.st.Deadline(0))
		if left <= 0 {
			return 0, unix.ETIMEDOUT
		}
		s.kernel.awaitEvents(events, min(left, oobSlice))
	}
}

// awaitEvents waits until one of the events holds, for d at most.
func (k *kernelSocket) awaitEvents(events int16, d time.Duration) {
	if !k.acquire() {
		return
	}
	defer k.release()
	set := [1]unix.PollFd{{Fd: int32(k.fd), Events: events}}
	ts := unix.NsecToTimespec(int64(d))
	n, err := unix.Ppoll(set[:], &ts, nil)
	if err == nil && n > 0 && set[0].Revents&(events|unix.POLLHUP) == 0 {
		time.Sleep(min(d, oobNap))
	}
}

// nonblocking reports whether the descriptor has O_NONBLOCK.
func (k *kernelSocket) nonblocking() bool {
	if !k.acquire() {
		return false
	}
	defer k.release()
	flags, err := unix.FcntlInt(uintptr(k.fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK != 0
}
