package sockapi

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of ioctl(2) that golang.org/x/sys/unix has no names for
// (asm-generic/ioctls.h and asm-generic/sockios.h).
const (
	FIONREAD  = 0x541b // the next datagram's length; SIOCINQ is the same
	FIONBIO   = 0x5421 // set or clear O_NONBLOCK
	FIOASYNC  = 0x5452 // set or clear O_ASYNC
	FIOSETOWN = 0x8901 // F_SETOWN; SIOCSPGRP is the same
	FIOGETOWN = 0x8903 // F_GETOWN; SIOCGPGRP is the same
)

// Ioctl is ioctl(2): arg is what the request's third argument points to, as the
// kernel has it, an int or a struct timeval or ifreq; what is returned is stored
// in it. n is the number of bytes stored, or for SIOCGIFCONF needed.
//
// Out-of-band the requests are
//
//   - SIOCINQ (FIONREAD), SIOCOUTQ: udp(7); not of ping sockets, as on Linux.
//   - SIOCGSTAMP, SIOCGSTAMPNS: when the last datagram received had come.
//   - FIONBIO, FIOASYNC, FIOSETOWN, FIOGETOWN, SIOCSPGRP, SIOCGPGRP: as Fcntl.
//   - SIOCGIFADDR, SIOCGIFDSTADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFFLAGS,
//     SIOCGIFHWADDR, SIOCGIFMTU, SIOCGIFINDEX, SIOCGIFNAME: netdevice(7), of the
//     stack's interfaces.
//   - SIOCGIFCONF: for both kinds of sockets, and unlike ioctl(2), arg is the
//     buffer for the structs ifreq itself. nil asks how long it has to be.
//
// Errors: ENOTTY: another request. EFAULT: arg is too short. ENODEV: no such
// interface. EADDRNOTAVAIL: it has no address. ENOENT: there was no datagram.
func (s *Socket) Ioctl(req uint, arg []byte) (n int, err error) {
	if s.oob == nil {
		return s.kernel.ioctl(req, arg)
	}
	if s.oob.Closed() {
		return 0, unix.EBADF
	}
	switch req {
	case FIONREAD, unix.SIOCOUTQ:
		if s.typ == unix.SOCK_DGRAM && s.proto == unix.IPPROTO_ICMP {
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

// IoctlInt is Ioctl for a request that returns an int.
func (s *Socket) IoctlInt(req uint) (int, error) {
	var b [4]byte
	if _, err := s.Ioctl(req, b[:]); err != nil {
		return 0, err
	}
	return int(int32(binary.NativeEndian.Uint32(b[:]))), nil
}

// IoctlSetInt is Ioctl for a request that takes an int.
func (s *Socket) IoctlSetInt(req uint, v int) error {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(v))
	_, err := s.Ioctl(req, b[:])
	return err
}

func storeInt(arg []byte, v int) (int, error) {
	if len(arg) < 4 {
		return 0, unix.EFAULT
	}
	binary.NativeEndian.PutUint32(arg, uint32(v))
	return 4, nil
}

// queued returns how much there is to receive, or is still to be sent.
func (s *Socket) queued(req uint) int {
	if req == unix.SIOCOUTQ {
		return s.oob.SendQueued()
	}
	n, _ := s.oob.NextLen()
	return n
}

// ioctlSet sets what Fcntl sets too.
func (s *Socket) ioctlSet(req uint, arg []byte) error {
	if len(arg) < 4 {
		return unix.EFAULT
	}
	v := int(int32(binary.NativeEndian.Uint32(arg)))
	switch req {
	case FIONBIO:
		return s.SetNonblock(v != 0)
	case FIOASYNC:
		s.setAsync(v != 0)
		return nil
	default:
		return s.setOwner(v)
	}
}

// ioctlScratch is more than any request without a size in its number reads or
// writes, but for those with a pointer in them.
const ioctlScratch = 256

// ioctl makes the call with a copy of arg, behind which there is room for what
// the kernel might write if it is too short.
func (k *kernelSocket) ioctl(req uint, arg []byte) (int, error) {
	if !k.acquire() {
		return 0, unix.EBADF
	}
	defer k.release()
	if req == unix.SIOCGIFCONF {
		return k.ifconf(arg)
	}
	size := max(ioctlScratch, len(arg), int(req>>16&0x3fff)) // _IOC_SIZE
	b := make([]byte, size)
	copy(b, arg)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(k.fd), uintptr(req), uintptr(unsafe.Pointer(&b[0]))); e != 0 {
		return 0, e
	}
	return copy(arg, b), nil
}

// ifconf fills buf with structs ifreq.
func (k *kernelSocket) ifconf(buf []byte) (int, error) {
	var conf struct { // struct ifconf
		n   int32
		buf *byte
	}
	conf.n, conf.buf = int32(len(buf)), unsafe.SliceData(buf)
	if buf == nil {
		conf.buf = nil
	}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(k.fd), unix.SIOCGIFCONF, uintptr(unsafe.Pointer(&conf)))
	if e != 0 {
		return 0, e
	}
	return int(conf.n), nil
}
