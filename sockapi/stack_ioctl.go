package sockapi

import (
	"encoding/binary"

	"github.com/outband/outband/sockapi/internal/ioctl"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/sockapi/internal/readiness"
	"golang.org/x/sys/unix"
)

func (s *stackSocket) ioctl(req uint, arg []byte) (int, error) {
	if s.K.Closed() {
		return 0, unix.EBADF
	}
	switch req {
	case FIONREAD, unix.SIOCOUTQ:
		if s.IsPing() {
			return 0, unix.ENOTTY // Linux' ping sockets know neither
		}
		return storeInt(arg, s.queued(req))
	case unix.SIOCGSTAMP, unix.SIOCGSTAMP_NEW:
		return s.ioctlStamp(arg, false)
	case unix.SIOCGSTAMPNS, unix.SIOCGSTAMPNS_NEW:
		return s.ioctlStamp(arg, true)
	case FIOGETOWN, unix.SIOCGPGRP:
		return storeInt(arg, s.outside.Owner().Number())
	case FIONBIO, FIOASYNC, FIOSETOWN, unix.SIOCSPGRP:
		return 0, s.ioctlSet(req, arg)
	case unix.SIOCGIFCONF:
		return ioctl.Addresses(s.Stack, arg), nil
	case unix.SIOCGIFNAME, unix.SIOCGIFFLAGS, unix.SIOCGIFADDR, unix.SIOCGIFDSTADDR, unix.SIOCGIFBRDADDR,
		unix.SIOCGIFNETMASK, unix.SIOCGIFMTU, unix.SIOCGIFHWADDR, unix.SIOCGIFINDEX:
		if len(arg) < ioctl.RequestLen {
			return 0, unix.EFAULT
		}
		if err := ioctl.Answer(s.Stack, req, (*ioctl.Request)(arg)); err != nil {
			return 0, err
		}
		return ioctl.RequestLen, nil
	default:
		return 0, unix.ENOTTY
	}
}

func storeInt(arg []byte, v int) (int, error) {
	if len(arg) < 4 {
		return 0, unix.EFAULT
	}
	binary.NativeEndian.PutUint32(arg, uint32(v))
	return 4, nil
}

// queued returns how much there is to receive, or is still to be sent.
func (s *stackSocket) queued(req uint) int {
	if req == unix.SIOCOUTQ {
		return s.K.SendQueued()
	}
	n, _ := s.K.NextLen()
	return n
}

// ioctlSet sets what Fcntl sets too.
func (s *stackSocket) ioctlSet(req uint, arg []byte) error {
	if len(arg) < 4 {
		return unix.EFAULT
	}
	v := int(int32(binary.NativeEndian.Uint32(arg)))
	switch req {
	case FIONBIO:
		return s.setNonblock(v != 0)
	case FIOASYNC:
		s.outside.SetAsync(v != 0)
		return nil
	default:
		return s.setOwnerNumber(v)
	}
}

// ioctlStamp stores the time as a struct timeval or timespec.
func (s *stackSocket) ioctlStamp(arg []byte, nano bool) (int, error) {
	if len(arg) < option.TimevalLen {
		return 0, unix.EFAULT
	}
	at, err := s.stamp.Ask(s.api.st.WallTime)
	if err != nil {
		return 0, err
	}
	rest := at % 1e9
	if !nano {
		rest /= 1e3
	}
	binary.NativeEndian.PutUint64(arg, uint64(at/1e9))
	binary.NativeEndian.PutUint64(arg[8:], uint64(rest))
	return option.TimevalLen, nil
}

// Flags of F_SETFL that an out-of-band socket takes, beside O_NONBLOCK and
// O_ASYNC: as on Linux' sockets they say something about files only.
const statusKept = unix.O_APPEND | unix.O_NOATIME

func (s *stackSocket) fcntl(cmd, arg int) (int, error) {
	if s.K.Closed() {
		return -1, unix.EBADF
	}
	switch cmd {
	case unix.F_GETFL:
		return s.statusFlags(), nil
	case unix.F_SETFL:
		return setResult(s.setStatusFlags(arg))
	case unix.F_SETOWN:
		return setResult(s.setOwnerNumber(arg))
	case unix.F_GETOWN:
		return s.outside.Owner().Number(), nil
	case unix.F_SETSIG:
		return setResult(s.outside.SetSignal(arg))
	case unix.F_GETSIG:
		return s.outside.Signal(), nil
	case unix.F_GETFD:
		return unix.FD_CLOEXEC, nil
	case unix.F_SETFD:
		if arg&unix.FD_CLOEXEC == 0 {
			return -1, unix.EINVAL
		}
		return 0, nil
	default:
		return -1, unix.EINVAL
	}
}

// setResult is what fcntl(2) returns for what sets something.
func setResult(err error) (int, error) {
	if err != nil {
		return -1, err
	}
	return 0, nil
}

func (s *stackSocket) statusFlags() int {
	flags := unix.O_RDWR | int(s.status.Load())
	if s.nonblock.Load() != 0 {
		flags |= unix.O_NONBLOCK
	}
	if s.outside.Async() {
		flags |= unix.O_ASYNC
	}
	return flags
}

func (s *stackSocket) setStatusFlags(flags int) error {
	if flags&unix.O_DIRECT != 0 {
		return unix.EINVAL
	}
	s.outside.SetAsync(flags&unix.O_ASYNC != 0)
	s.status.Store(int32(flags & statusKept))
	return s.setNonblock(flags&unix.O_NONBLOCK != 0)
}

// setOwnerNumber is F_SETOWN.
func (s *stackSocket) setOwnerNumber(number int) error {
	o, err := readiness.Numbered(number)
	if err != nil {
		return err
	}
	return s.outside.SetOwner(o)
}

func (s *stackSocket) setOwner(o FileOwner) error {
	if s.K.Closed() {
		return unix.EBADF
	}
	return s.outside.SetOwner(readiness.Owner(o))
}

func (s *stackSocket) owner() (FileOwner, error) {
	if s.K.Closed() {
		return FileOwner{}, unix.EBADF
	}
	return FileOwner(s.outside.Owner()), nil
}
