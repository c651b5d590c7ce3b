package sockapi

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
	owner  FileOwner
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

// setAsync turns signals on or off.
func (s *stackSocket) setAsync(on bool) {
	a := &s.async
	a.turning.Lock()
	defer a.turning.Unlock()
	a.mu.Lock()
	was := a.on
	a.on = on
	a.mu.Unlock()
	switch {
	case on && !was:
		a.watch.Notify = s.signal
		if s.K.Watch(&a.watch) == nil {
			s.waitElsewhere(1)
		}
	case was && !on:
		s.K.Unwatch(&a.watch)
		s.waitElsewhere(-1)
	}
}

// signal sends the signal for events: as in Linux for what came, for an error,
// and for space that somebody had missed, but not for a shutdown.
func (s *stackSocket) signal(events uint32) bool {
	var band int64
	switch {
	case events == stack.EventsAll:
		return false
	case events&bandIn != 0:
		band = bandIn
	case events&bandErr != 0:
		band = bandErr
	case events&bandOut != 0 && s.K.TakeMissed():
		band = bandOut
	default:
		return false
	}
	a := &s.async
	a.mu.Lock()
	owner, sig := a.owner, a.signal
	a.mu.Unlock()
	if owner.PID != 0 {
		sendSignal(owner, sig, band, s.fd.number())
	}
	return false
}

// sendSignal sends a signal to its owner. A signal of the owner's choice says
// what has happened, and where; a group's processes are not told that, nor is a
// thread of another process.
func sendSignal(owner FileOwner, sig int, band int64, fd int) {
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
	if owner.Type == F_OWNER_TID {
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

func (s *stackSocket) setSignal(sig int) error {
	if sig < 0 || sig > maxSignal {
		return unix.EINVAL
	}
	s.async.mu.Lock()
	defer s.async.mu.Unlock()
	s.async.signal = sig
	return nil
}

func (s *stackSocket) getSignal() int {
	s.async.mu.Lock()
	defer s.async.mu.Unlock()
	return s.async.signal
}

func (s *stackSocket) isAsync() bool {
	s.async.mu.Lock()
	defer s.async.mu.Unlock()
	return s.async.on
}
