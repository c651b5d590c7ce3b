package readiness

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// async is a socket's signal-driven I/O (O_ASYNC in open(2), F_SETOWN in
// fcntl(2)).
type async struct {
	turning sync.Mutex // held while it is turned on or off; before the socket's watches

	mu     sync.Mutex // a leaf
	owner  Owner
	signal int // F_SETSIG; 0: SIGIO, without information
	on     bool
	watch  stack.Watch
}

// What a signal says has happened: si_code's meaning and si_band (sigaction(2)).
const (
	bandIn  = unix.EPOLLIN | unix.EPOLLRDNORM
	bandOut = unix.EPOLLOUT | unix.EPOLLWRNORM | unix.EPOLLWRBAND
	bandErr = unix.EPOLLERR
)

// Offsets in a siginfo_t of 64-bit machines.
const (
	siginfoSize = 128
	siCodeAt    = 8
	siBandAt    = 16
	siFdAt      = 24
)

// siSIGIO is the si_code SI_SIGIO (sigaction(2)): the kernel lets a process say
// that it queued a SIGIO, but not that the kernel did (POLL_IN).
const siSIGIO = -5

// SetAsync turns signals on or off.
func (t *Outside) SetAsync(on bool) {
	a := &t.async
	a.turning.Lock()
	defer a.turning.Unlock()
	a.mu.Lock()
	was := a.on
	a.on = on
	a.mu.Unlock()
	switch {
	case on && !was:
		a.watch.Notify = t.signal
		if t.k.Watch(&a.watch) == nil {
			t.waitElsewhere(1)
		}
	case was && !on:
		t.k.Unwatch(&a.watch)
		t.waitElsewhere(-1)
	}
}

// signal sends the signal for events: as in Linux for what came, for an error,
// and for space that a send had missed, but not for a shutdown.
func (t *Outside) signal(events uint32) bool {
	var band int64
	switch {
	case events == stack.EventsAll:
		return false
	case events&bandIn != 0:
		band = bandIn
	case events&bandErr != 0:
		band = bandErr
	case events&bandOut != 0 && t.k.TakeMissed():
		band = bandOut
	default:
		return false
	}
	a := &t.async
	a.mu.Lock()
	owner, sig := a.owner, a.signal
	a.mu.Unlock()
	if owner.PID != 0 {
		sendSignal(owner, sig, band, t.fd.number())
	}
	return false
}

// sendSignal sends a signal to its owner. A signal of the owner's choice says
// what has happened, and where; a group's processes are not told that, nor is a
// thread of another process.
func sendSignal(owner Owner, sig int, band int64, fd int) {
	if sig == 0 || !owner.canBeTold() {
		if sig == 0 {
			sig = int(unix.SIGIO)
		}
		owner.kill(unix.Signal(sig))
		return
	}
	var info [siginfoSize]byte
	binary.NativeEndian.PutUint32(info[:], uint32(sig))
	code := int32(siSIGIO)
	binary.NativeEndian.PutUint32(info[siCodeAt:], uint32(code))
	binary.NativeEndian.PutUint64(info[siBandAt:], uint64(band))
	binary.NativeEndian.PutUint32(info[siFdAt:], uint32(int32(fd)))
	var e unix.Errno
	if owner.Type == OwnerTID {
		_, _, e = unix.RawSyscall6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(unix.Getpid()), uintptr(owner.PID), uintptr(sig),
			uintptr(unsafe.Pointer(&info)), 0, 0)
	} else {
		_, _, e = unix.RawSyscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(owner.PID), uintptr(sig), uintptr(unsafe.Pointer(&info)))
	}
	if e == unix.EAGAIN { // its queue is full: Linux says so with a SIGIO
		owner.kill(unix.SIGIO)
	}
}

// maxSignal is the last signal's number (_NSIG).
const maxSignal = 64

// SetSignal is F_SETSIG, Signal F_GETSIG.
func (t *Outside) SetSignal(sig int) error {
	if sig < 0 || sig > maxSignal {
		return unix.EINVAL
	}
	t.async.mu.Lock()
	defer t.async.mu.Unlock()
	t.async.signal = sig
	return nil
}

// Signal returns the signal that SetSignal has set.
func (t *Outside) Signal() int {
	t.async.mu.Lock()
	defer t.async.mu.Unlock()
	return t.async.signal
}

// Async reports whether signals are on.
func (t *Outside) Async() bool {
	t.async.mu.Lock()
	defer t.async.mu.Unlock()
	return t.async.on
}
