package follow

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket is a netlink socket for requests and their answers, for one goroutine at a
// time. The kernel does a request within the sender's system call: the answer is there
// when that returns, and nothing ever waits for one.
type socket struct {
	fd  int
	seq uint32
	req [128]byte
	buf []byte
}

// openSocket opens a socket in the calling thread's network namespace, with room for
// messages of n bytes. It is connected to the kernel, so that no process can send it
// anything.
func openSocket(n int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// Errors need not repeat the request. Kernels before 4.3 do.
	unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &socket{fd: fd, buf: make([]byte, n)}, nil
}

func (s *socket) close() {
	if s != nil {
		unix.Close(s.fd)
	}
}

// begin starts a request; send sends it.
func (s *socket) begin(kind, flags uint16, header int) (w writer, fixed []byte) {
	s.seq++
	w.buf = s.req[:]
	return w, w.begin(kind, flags, s.seq, header)
}

func (s *socket) send(req []byte) unix.Errno {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(req))), uintptr(len(req)), 0, 0, 0)
		if errno != unix.EINTR {
			return errno
		}
	}
}

// receive returns what a datagram holds: one message, or several parts of a dump.
func (s *socket) receive() ([]byte, unix.Errno) {
	n, errno := receive(s.fd, s.buf)
	switch {
	case errno == unix.EAGAIN:
		return nil, unix.ENOBUFS // the kernel had no memory for the answer
	case errno != 0:
		return nil, errno
	case n > len(s.buf):
		return nil, unix.EMSGSIZE
	}
	return s.buf[:n], 0
}

// receive receives a datagram without waiting, and returns its length, also if the
// buffer is shorter.
func receive(fd int, b []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// ask sends a request of one answer and returns that; its data is good until the next.
func (s *socket) ask(req []byte) (message, unix.Errno) {
	if errno := s.send(req); errno != 0 {
		return message{}, errno
	}
	for {
		b, errno := s.receive()
		if errno != 0 {
			return message{}, errno
		}
		m, _, ok := cutMessage(b)
		switch {
		case !ok || m.seq != s.seq: // of a request that was given up
		case m.kind == unix.NLMSG_ERROR:
			return m, m.errno()
		default:
			return m, 0
		}
	}
}

// dump asks for all objects of a kind, and calls each with them. EINTR: they changed
// meanwhile, so what came may be no state that ever was (NLM_F_DUMP_INTR).
func (s *socket) dump(req []byte, each func(message)) unix.Errno {
	if errno := s.send(req); errno != 0 {
		return errno
	}
	interrupted := false
	for {
		b, errno := s.receive()
		if errno != 0 {
			s.drain()
			return errno
		}
		for m, rest, ok := cutMessage(b); ok; m, rest, ok = cutMessage(rest) {
			if m.seq != s.seq {
				continue
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			switch m.kind {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				if errno := m.errno(); errno != 0 || !interrupted {
					return errno
				}
				return unix.EINTR
			default:
				each(m)
			}
		}
	}
}

// drain reads the rest of a dump, before which the kernel begins no other (EBUSY).
func (s *socket) drain() {
	for {
		if _, errno := receive(s.fd, s.buf); errno != 0 && errno != unix.ENOBUFS {
			return
		}
	}
}
