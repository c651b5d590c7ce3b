package inband

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"github.com/outband/outband/internal/mmsg"
	"golang.org/x/sys/unix"
)

// A UDP is an in-band UDP socket: a file descriptor outside Go's netpoller,
// used by plain system calls. It is the yardstick for an out-of-band socket, and
// the peer for tests. Errors are unix errnos as the kernel gives them, without
// a wrapper. Its calls may be made by several goroutines at once, Close excepted.
type UDP struct {
	fd int
}

// OpenUDP opens a socket, in the calling thread's network namespace, and binds it. Port 0 asks for an ephemeral port.
func OpenUDP(local netip.AddrPort) (*UDP, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, sockaddr(local)); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &UDP{fd: fd}, nil
}

// FD returns the file descriptor. It stays the socket's.
func (u *UDP) FD() int { return u.fd }

// Connect sets the peer (connect(2)).
func (u *UDP) Connect(peer netip.AddrPort) error { return unix.Connect(u.fd, sockaddr(peer)) }

// LocalAddr returns the address to which the socket is bound.
func (u *UDP) LocalAddr() (netip.AddrPort, error) {
	sa, err := unix.Getsockname(u.fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return addrPort(sa), nil
}

// Send sends a datagram to the peer of a connected socket (send(2)).
func (u *UDP) Send(p []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(u.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return result(n, errno)
}

// SendTo sends a datagram to an address (sendto(2)).
func (u *UDP) SendTo(p []byte, to netip.AddrPort) error {
	return unix.Sendto(u.fd, p, 0, sockaddr(to))
}

// Recv receives a datagram (recv(2)); flags are MSG_DONTWAIT and its like.
// It allocates nothing. With MSG_DONTWAIT it does not tell Go's scheduler.
func (u *UDP) Recv(p []byte, flags int) (int, error) {
	if flags&unix.MSG_DONTWAIT != 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(u.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0)
		return result(n, errno)
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(u.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0)
		if errno != unix.EINTR { // which Go's own signals bring about where there is a time-out
			return result(n, errno)
		}
	}
}

// RecvFrom receives a datagram, and returns its source (recvfrom(2)).
func (u *UDP) RecvFrom(p []byte, flags int) (int, netip.AddrPort, error) {
	for {
		n, sa, err := unix.Recvfrom(u.fd, p, flags)
		switch err {
		case nil:
			return n, addrPort(sa), nil
		case unix.EINTR: // see Recv
		default:
			return 0, netip.AddrPort{}, err
		}
	}
}

// SetReadTimeout bounds how long Recv, RecvFrom and Batch.Recv wait
// (SO_RCVTIMEO); then they return EAGAIN. 0: for ever.
func (u *UDP) SetReadTimeout(d time.Duration) error {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	return unix.SetsockoptTimeval(u.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
}

// SetBuffers asks for room for n bytes in each direction, beyond the system's
// limits if the process may (SO_RCVBUFFORCE), else up to them (SO_RCVBUF).
func (u *UDP) SetBuffers(n int) error {
	for _, option := range [...]struct{ force, plain int }{
		{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF},
	} {
		if unix.SetsockoptInt(u.fd, unix.SOL_SOCKET, option.force, n) == nil {
			continue
		}
		if err := unix.SetsockoptInt(u.fd, unix.SOL_SOCKET, option.plain, n); err != nil {
			return err
		}
	}
	return nil
}

// SetOption sets an option that is an int (setsockopt(2)).
func (u *UDP) SetOption(level, name, value int) error {
	return unix.SetsockoptInt(u.fd, level, name, value)
}

// Close closes the socket. A blocked Recv does not wake: bound it first.
func (u *UDP) Close() error { return unix.Close(u.fd) }

// A Batch is memory for many datagrams that one system call sends or receives.
// It is for one goroutine at a time.
type Batch struct {
	msgs []mmsg.Header
	iovs []unix.Iovec
	bufs [][]byte
}

// NewBatch returns memory for n datagrams of up to size bytes each.
func NewBatch(n, size int) *Batch {
	b := &Batch{msgs: make([]mmsg.Header, n), iovs: make([]unix.Iovec, n), bufs: make([][]byte, n)}
	for i := range n {
		b.bufs[i] = make([]byte, size)
		b.iovs[i].Base = unsafe.SliceData(b.bufs[i])
		b.iovs[i].SetLen(size)
		b.msgs[i].Hdr.Iov = &b.iovs[i]
		b.msgs[i].Hdr.SetIovlen(1)
	}
	return b
}

// payload returns datagram i: after Recv its bytes, before that its whole room.
func (b *Batch) payload(i int) []byte {
	if n := int(b.msgs[i].N); n > 0 {
		return b.bufs[i][:n]
	}
	return b.bufs[i]
}

// Send sends all datagrams of the batch to the peer of a connected socket, each
// in its whole size, and returns how many were sent (sendmmsg(2)).
func (b *Batch) Send(u *UDP) (int, error) {
	n, errno := mmsg.Send(u.fd, b.msgs, 0)
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}

// Recv waits for a datagram and takes as many as there are, up to the batch's
// length (recvmmsg(2) with MSG_WAITFORONE). It returns how many datagrams and
// how many bytes came.
func (b *Batch) Recv(u *UDP) (datagrams, bytes int, err error) {
	n, errno := mmsg.Recv(u.fd, b.msgs, unix.MSG_WAITFORONE, nil)
	if errno != 0 {
		return 0, 0, errno
	}
	for i := range n {
		bytes += int(b.msgs[i].N)
	}
	return n, bytes, nil
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	if in, ok := sa.(*unix.SockaddrInet4); ok {
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
	}
	return netip.AddrPort{}
}

// String names the socket for error messages.
func (u *UDP) String() string {
	local, err := u.LocalAddr()
	if err != nil {
		return fmt.Sprintf("udp fd %d", u.fd)
	}
	return "udp " + local.String()
}
