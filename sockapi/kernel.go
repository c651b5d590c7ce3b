package sockapi

import (
	"unsafe"

	"github.com/outband/outband/sockapi/internal/epoll"
	"github.com/outband/outband/sockapi/internal/kernel"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/sockapi/internal/readiness"
	"github.com/outband/outband/stack"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A kernelSocket is an in-band socket. Nothing is between the caller and the kernel:
// arguments, results, flags, addresses and errnos are its own, so that it is also
// what out-of-band sockets are compared with.
type kernelSocket struct {
	option.Kind
	api *API
	k   *kernel.Socket
}

// kernelTypeFlags are the flags in a socket's type that the kernel knows.
const kernelTypeFlags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC

// openKernel opens an in-band socket.
func (a *API) openKernel(domain, typ, proto int) (*Socket, error) {
	typ &^= SOCK_OOB
	fd, _, e := unix.Syscall(unix.SYS_SOCKET, uintptr(domain), uintptr(typ|unix.SOCK_CLOEXEC), uintptr(proto))
	if e != 0 {
		return nil, e
	}
	return a.inband(kernel.New(int(fd), domain), option.Kind{Domain: domain, Typ: typ, Proto: proto}), nil
}

// inband makes a Socket of one of the kernel's.
func (a *API) inband(k *kernel.Socket, is option.Kind) *Socket {
	is.Typ &^= kernelTypeFlags
	return &Socket{&kernelSocket{Kind: is, api: a, k: k}, a}
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
	is := option.Kind{Domain: domain, Typ: typ, Proto: proto}
	return [2]*Socket{
		a.inband(kernel.New(int(fds[0]), domain), is),
		a.inband(kernel.New(int(fds[1]), domain), is),
	}, nil
}

func (s *kernelSocket) outOfBand() bool { return false }

func (s *kernelSocket) closed() bool { return s.k.Closed() }

func (s *kernelSocket) setNonblock(on bool) error { return s.k.SetNonblock(on) }

func (s *kernelSocket) bind(local Sockaddr) error {
	var buf kernel.Name
	n := local.encode((*[addrSize]byte)(&buf))
	return s.k.Bind(buf[:n])
}

func (s *kernelSocket) connect(peer Sockaddr) error {
	var buf kernel.Name
	n := peer.encode((*[addrSize]byte)(&buf))
	return s.k.Connect(buf[:n])
}

func (s *kernelSocket) getsockname() (Sockaddr, error) {
	var buf kernel.Name
	n, err := s.k.Getsockname(&buf)
	return decoded(&buf, n, err)
}

func (s *kernelSocket) getpeername() (Sockaddr, error) {
	var buf kernel.Name
	n, err := s.k.Getpeername(&buf)
	return decoded(&buf, n, err)
}

// decoded returns the address in name, unless there was an error.
func decoded(name *kernel.Name, n int, err error) (Sockaddr, error) {
	if err != nil {
		return Sockaddr{}, err
	}
	return decodeSockaddr((*[addrSize]byte)(name), n), nil
}

func (s *kernelSocket) listen(backlog int) error { return s.k.Listen(backlog) }

func (s *kernelSocket) accept(flags int) (*Socket, Sockaddr, error) {
	var buf kernel.Name
	c, n, err := s.k.Accept(flags, &buf)
	if err != nil {
		return nil, Sockaddr{}, err
	}
	return s.api.inband(c, s.Kind), decodeSockaddr((*[addrSize]byte)(&buf), n), nil
}

func (s *kernelSocket) shutdown(how int) error { return s.k.Shutdown(how) }

func (s *kernelSocket) close() error { return s.k.Close() }

func (s *kernelSocket) setsockopt(level, name int, value []byte) error {
	return s.k.Setsockopt(level, name, value)
}

func (s *kernelSocket) getsockopt(level, name int, value []byte) (int, error) {
	if level == unix.SOL_SOCKET && name == SO_OOB_PATH { // ours, for both kinds of sockets
		var inband [8]byte
		return copy(value, inband[:]), s.orClosed(nil)
	}
	return s.k.Getsockopt(level, name, value)
}

func (s *kernelSocket) attachFilter(program []bpf.RawInstruction) error {
	return s.k.AttachProgram(unix.SO_ATTACH_FILTER, program)
}

func (s *kernelSocket) attachReusePort(program []bpf.RawInstruction) error {
	return s.k.AttachProgram(unix.SO_ATTACH_REUSEPORT_CBPF, program)
}

func (s *kernelSocket) fcntl(cmd, arg int) (int, error) {
	if cmd != unix.F_GETOWN {
		return s.k.Fcntl(cmd, arg)
	}
	o, err := s.k.Owner()
	if err != nil {
		return -1, err
	}
	return readiness.Owner(o).Number(), nil
}

func (s *kernelSocket) owner() (FileOwner, error) {
	o, err := s.k.Owner()
	return FileOwner(o), err
}

func (s *kernelSocket) setOwner(o FileOwner) error { return s.k.SetOwner(kernel.Owner(o)) }

func (s *kernelSocket) ioctl(req uint, arg []byte) (int, error) { return s.k.Ioctl(req, arg) }

func (s *kernelSocket) pollFD() (int, error) {
	if s.k.Closed() {
		return -1, unix.EBADF
	}
	return s.k.FD(), nil
}

func (s *kernelSocket) epollCtl(e *epoll.Set, op int, ev epoll.Event) error {
	fd, err := s.holdFD()
	if err != nil {
		return err
	}
	defer s.releaseFD()
	return e.CtlFd(op, fd, ev)
}

func (s *kernelSocket) holdFD() (int, error) {
	if !s.k.Acquire() {
		return -1, unix.EBADF
	}
	return s.k.FD(), nil
}

func (s *kernelSocket) releaseFD() { s.k.Release() }

// events and watch are not for the kernel's sockets: their descriptors tell.
func (s *kernelSocket) events(uint32) uint32 { return 0 }

func (s *kernelSocket) watch(*stack.Watch) bool { return false }

func (s *kernelSocket) unwatch(*stack.Watch) {}
