package sockapi

import (
	"encoding/binary"

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
		return storeInt(arg, s.getOwner().number())
	case FIONBIO, FIOASYNC, FIOSETOWN, unix.SIOCSPGRP:
		return 0, s.ioctlSet(req, arg)
	case unix.SIOCGIFCONF:
		return s.api.ifconf(arg), nil
	case unix.SIOCGIFNAME, unix.SIOCGIFFLAGS, unix.SIOCGIFADDR, unix.SIOCGIFDSTADDR, unix.SIOCGIFBRDADDR,
		unix.SIOCGIFNETMASK, unix.SIOCGIFMTU, unix.SIOCGIFHWADDR, unix.SIOCGIFINDEX:
		if len(arg) < ifreqLen {
			return 0, unix.EFAULT
		}
		if err := s.api.ifreq(req, (*ifreq)(arg)); err != nil {
			return 0, err
		}
		return ifreqLen, nil
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
		s.setAsync(v != 0)
		return nil
	default:
		return s.setOwnerNumber(v)
	}
}
