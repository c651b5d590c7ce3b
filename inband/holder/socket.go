package holder

import (
	"errors"

	"github.com/outband/outband/internal/descriptor"
	"golang.org/x/sys/unix"
)

// A Request says how a port is to be held: as the stack's own socket is to be bound.
type Request struct {
	Local [4]byte // zero: all addresses
	Port  uint16  // 0: the kernel chooses
	// Device is SO_BINDTODEVICE, by index; 0: none.
	Device int32
	// ReuseAddr and ReusePort are SO_REUSEADDR and SO_REUSEPORT.
	ReuseAddr, ReusePort bool
	// FreeBind and Transparent are IP_FREEBIND and IP_TRANSPARENT (ip(7)), by which Local
	// may be an address that the host has not.
	FreeBind, Transparent bool
	// PortLow and PortHigh are IP_LOCAL_PORT_RANGE: between which ports the kernel
	// chooses, both included; 0: the system's bound.
	PortLow, PortHigh uint16
	// Adopt is the descriptor of a socket that is bound as the rest says already, maybe by
	// another process, to be the holder in place of a new one, if Adopts is set. The Hold
	// has a copy of it. EINVAL: it has another name, or is no UDP socket.
	Adopt  int
	Adopts bool
}

// A socket is an in-band socket. What may change is guarded by Holders.mu, and port by
// receiver.mu too.
type socket struct {
	fd    int
	slot  int32   // in the receiver's table
	id    uint32  // never 0
	asked Request // reuse as it is now, the rest as it was opened
	port  uint16
	holds int  // that share it
	alone bool // no other Hold may share it
	// shared says that others may have the port too. It is guarded by receiver.mu too.
	shared bool
	route  Peer // whose options are set
}

// wild reports whether the socket was bound to no address.
func (s *socket) wild() bool { return s.asked.Local == [4]byte{} }

// errnoOf returns the errno that an error is, or wraps.
func errnoOf(err error) unix.Errno {
	var e unix.Errno
	if err == nil || errors.As(err, &e) {
		return e
	}
	return unix.EIO
}

// openLocked opens a socket for a request, and binds it; shared says that others may have the
// port though the request does not say so. The filter is there before a
// datagram can be.
func (h *Holders) openLocked(r Request, shared bool) (s *socket, e unix.Errno) {
	s = &socket{fd: -1, asked: r, holds: 1, route: Peer{MTUDiscover: unix.IP_PMTUDISC_WANT}, shared: shared || r.ReuseAddr || r.ReusePort}
	s.asked.Adopt, s.asked.Adopts = 0, false // once
	if s.fd, e = h.newSocket(&r); e != 0 {
		return nil, e
	}
	err := attach(s.fd, h.filterLocked(s))
	if err == nil {
		err = setOptions(s.fd, &r)
	}
	if err == nil && !r.Adopts {
		err = unix.Bind(s.fd, &unix.SockaddrInet4{Addr: r.Local, Port: int(r.Port)})
	}
	if err == nil {
		s.port, err = portOf(s.fd)
	}
	if err == nil {
		err = h.rx.add(s)
	}
	if err != nil {
		unix.Close(s.fd)
		return nil, errnoOf(err)
	}
	return s, 0
}

// newSocket returns a socket in the namespace, or a copy of the one that is to be adopted.
func (h *Holders) newSocket(r *Request) (fd int, e unix.Errno) {
	if r.Adopts {
		return adopt(r)
	}
	err := h.space.Do(func() (err error) {
		fd, err = descriptor.Raised(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0))
		return err
	})
	return fd, errnoOf(err)
}

// adopt copies a descriptor, of a UDP socket that has the name which the request says.
func adopt(r *Request) (int, unix.Errno) {
	protocol, err := unix.GetsockoptInt(r.Adopt, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return -1, errnoOf(err)
	}
	name, err := nameOf(r.Adopt)
	if err != nil || protocol != unix.IPPROTO_UDP || name.Port != int(r.Port) || name.Addr != r.Local && r.Local != [4]byte{} {
		return -1, unix.EINVAL
	}
	fd, err := descriptor.Raised(unix.FcntlInt(uintptr(r.Adopt), unix.F_DUPFD_CLOEXEC, 0))
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	return fd, errnoOf(err)
}

// setOptions makes a new socket what is asked for, and has it tell all that it knows of
// a datagram.
func setOptions(fd int, r *Request) error {
	const always = true
	for _, o := range [...]struct {
		level, name, value int
		on                 bool
	}{
		{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, int(r.Device), r.Device != 0},
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, r.ReuseAddr},
		{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, r.ReusePort},
		{unix.SOL_IP, unix.IP_FREEBIND, 1, r.FreeBind},
		{unix.SOL_IP, unix.IP_TRANSPARENT, 1, r.Transparent},
		{unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, int(r.PortHigh)<<16 | int(r.PortLow), r.PortLow|r.PortHigh != 0},
		{unix.SOL_IP, unix.IP_PKTINFO, 1, always},
		{unix.SOL_IP, unix.IP_RECVTTL, 1, always},
		{unix.SOL_IP, unix.IP_RECVTOS, 1, always},
		{unix.SOL_IP, unix.IP_RECVOPTS, 1, always},
		{unix.SOL_IP, unix.IP_RECVERR, 1, always},
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1, always},
		{unix.SOL_UDP, unix.UDP_GRO, 1, always},
	} {
		if !o.on {
			continue
		}
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	// Marks and priorities do not leave the host: of datagrams from itself only. The
	// options are of Linux 5.19 and 6.14, and the first asks for CAP_NET_RAW: without
	// them both are 0, as in-band.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVMARK, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVPRIORITY, 1)
	return nil
}

// nameOf returns the address and the port to which a socket is bound.
func nameOf(fd int) (*unix.SockaddrInet4, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	in, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return nil, unix.EAFNOSUPPORT
	}
	return in, nil
}

func portOf(fd int) (uint16, error) {
	in, err := nameOf(fd)
	if err != nil {
		return 0, err
	}
	return uint16(in.Port), nil
}
