package sockapi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Listen has an in-band socket take connections (listen(2)). Out-of-band
// sockets have none: EOPNOTSUPP.
func (s *Socket) Listen(backlog int) error {
	if s.oob == nil {
		return s.kernel.listen(backlog)
	}
	if s.oob.Closed() {
		return unix.EBADF
	}
	return unix.EOPNOTSUPP
}

// Accept takes a connection from an in-band socket that listens, and returns
// its socket and its peer (accept4(2)). It takes the flags unix.SOCK_NONBLOCK
// and unix.SOCK_CLOEXEC, EINVAL for others. EAGAIN: there is none, or none came
// within SO_RCVTIMEO. EINVAL: the socket does not listen. Out-of-band:
// EOPNOTSUPP.
func (s *Socket) Accept(flags int) (*Socket, Sockaddr, error) {
	if flags&^kernelTypeFlags != 0 {
		return nil, Sockaddr{}, s.orClosed(unix.EINVAL) // SOCK_OOB too
	}
	if s.oob != nil {
		if s.oob.Closed() {
			return nil, Sockaddr{}, unix.EBADF
		}
		return nil, Sockaddr{}, unix.EOPNOTSUPP
	}
	fd, peer, err := s.kernel.accept(flags)
	if err != nil {
		return nil, Sockaddr{}, err
	}
	c := s.api.inband(fd, s.domain, s.typ, s.proto)
	c.kernel.timed.Store(s.kernel.timed.Load()) // Linux' sockets inherit time-outs
	return c, peer, nil
}

// Socketpair opens two in-band sockets connected with each other
// (socketpair(2)), which only AF_UNIX has: EOPNOTSUPP for others.
func (a *API) Socketpair(domain, typ, proto int) ([2]*Socket, error) {
	if typ&SOCK_OOB != 0 {
		// As Linux does, what is wrong with the sockets comes first.
		s, err := a.Socket(domain, typ, proto)
		if err != nil {
			return [2]*Socket{}, err
		}
		_ = s.Close()
		return [2]*Socket{}, unix.EOPNOTSUPP
	}
	var fds [2]int32
	_, _, e := unix.Syscall6(unix.SYS_SOCKETPAIR, uintptr(domain), uintptr(typ|unix.SOCK_CLOEXEC), uintptr(proto),
		uintptr(unsafe.Pointer(&fds)), 0, 0)
	if e != 0 {
		return [2]*Socket{}, e
	}
	return [2]*Socket{
		a.inband(int(fds[0]), domain, typ, proto),
		a.inband(int(fds[1]), domain, typ, proto),
	}, nil
}

func (k *kernelSocket) listen(backlog int) error {
	if !k.acquire() {
		return unix.EBADF
	}
	defer k.release()
	_, _, e := unix.Syscall(unix.SYS_LISTEN, uintptr(k.fd), uintptr(backlog), 0)
	return failed(e)
}

func (k *kernelSocket) accept(flags int) (int, Sockaddr, error) {
	if !k.acquire() {
		return 0, Sockaddr{}, unix.EBADF
	}
	defer k.release()
	var buf [addrSize]byte
	i := k.begin(unix.SO_RCVTIMEO)
	for {
		size := uint32(addrSize)
		fd, _, e := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(k.fd), uintptr(unsafe.Pointer(&buf)),
			uintptr(unsafe.Pointer(&size)), uintptr(flags|unix.SOCK_CLOEXEC), 0, 0)
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			return int(fd), decodeSockaddr(&buf, int(size)), nil
		case unix.EINTR:
		default:
			return 0, Sockaddr{}, e
		}
	}
}
