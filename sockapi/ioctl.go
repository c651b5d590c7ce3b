package sockapi

import (
	"encoding/binary"

	"github.com/outband/outband/sockapi/internal/readiness"
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
func (s *Socket) Ioctl(req uint, arg []byte) (n int, err error) { return s.ioctl(req, arg) }

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

// Fcntl is fcntl(2) with an integer argument. Out-of-band:
//
//   - F_GETFL, F_SETFL: O_NONBLOCK, and O_ASYNC for signal-driven I/O.
//   - F_SETOWN, F_GETOWN: the process (positive) or group (negative) that gets
//     the signals; 0: none. ESRCH: there is no such. FcntlOwner takes threads.
//   - F_SETSIG, F_GETSIG: the signal, 0 for SIGIO. With one of the caller's
//     choice si_band says what has happened, and si_fd is the socket's PollFD,
//     -1 if it was not asked for. si_code is SI_SIGIO. A group's processes get
//     the signal without that, and so does a thread of another process.
//   - F_GETFD, F_SETFD: FD_CLOEXEC is always set, since the socket is not the
//     kernel's. EINVAL: without it.
//
// EINVAL for others. An in-band socket takes all that the kernel knows.
func (s *Socket) Fcntl(cmd, arg int) (int, error) { return s.fcntl(cmd, arg) }

// Types of a FileOwner (fcntl(2)).
const (
	F_OWNER_TID  = readiness.OwnerTID  // a thread
	F_OWNER_PID  = readiness.OwnerPID  // a process
	F_OWNER_PGRP = readiness.OwnerPGRP // a process group
)

// A FileOwner is what gets a socket's signals (struct f_owner_ex in fcntl(2)).
type FileOwner struct {
	Type int32 // F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP
	PID  int32 // its number; 0: none
}

// FcntlOwner is fcntl(2) with unix.F_SETOWN_EX, which takes what gets the signals
// from owner, or unix.F_GETOWN_EX, which stores it there; PID is 0 if it is gone.
// EINVAL: another command, or no such type. ESRCH: there is no such thread,
// process or group.
func (s *Socket) FcntlOwner(cmd int, owner *FileOwner) error {
	switch cmd {
	case unix.F_SETOWN_EX:
		return s.setOwner(*owner)
	case unix.F_GETOWN_EX:
		o, err := s.owner()
		if err == nil {
			*owner = o
		}
		return err
	default:
		return s.orClosed(unix.EINVAL)
	}
}
