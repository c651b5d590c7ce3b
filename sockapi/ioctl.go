package sockapi

import (
	"encoding/binary"
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
