package sockapi

import (
	"time"

	"github.com/outband/outband/sockapi/internal/kernel"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

func (s *kernelSocket) recv(p []byte, flags int) (int, error) {
	var from kernel.Name
	n, _, err := s.k.Recvfrom(p, flags, &from)
	return n, err
}

// recvfrom costs no allocation but for the path of an AF_UNIX source.
func (s *kernelSocket) recvfrom(p []byte, flags int) (int, Sockaddr, error) {
	var from kernel.Name
	n, size, err := s.k.Recvfrom(p, flags, &from)
	if err != nil {
		return 0, Sockaddr{}, err
	}
	return n, decodeSockaddr((*[addrSize]byte)(&from), size), nil
}

func (s *kernelSocket) recvmsg(iov [][]byte, control []byte, flags int) (received, error) {
	var from kernel.Name
	r, err := s.k.Recvmsg(iov, control, flags, &from)
	if err != nil {
		return received{}, err
	}
	return receivedOf(&r, &from), nil
}

// receivedOf returns what the kernel says of a message from an address.
func receivedOf(r *kernel.Result, from *kernel.Name) received {
	return received{
		n:          r.N,
		name:       decodeSockaddr((*[addrSize]byte)(from), r.Name),
		controlLen: r.ControlLen,
		flags:      r.Flags,
	}
}

func (s *kernelSocket) recvmmsg(msgs []Mmsghdr, flags int, timeout time.Duration) (int, error) {
	b := kernel.NewBatch(len(msgs), buffersOf(msgs))
	defer b.Free()
	for i := range msgs {
		b.SetReceive(i, msgs[i].Hdr.Iov, msgs[i].Hdr.Control)
	}
	n, err := s.k.Recvmmsg(b, flags, timeout)
	for i := range msgs[:n] {
		result := b.Received(i)
		r := receivedOf(&result, b.Name(i))
		msgs[i].Len = r.store(&msgs[i].Hdr)
	}
	return n, err
}

func (s *kernelSocket) recvmsgWith(*stack.Handle, [][]byte, []byte, int) (received, error) {
	return received{}, s.refuse(unix.EOPNOTSUPP)
}

func (s *kernelSocket) recvmmsgWith(*stack.Handle, []Mmsghdr, int) (int, error) {
	return 0, s.refuse(unix.EOPNOTSUPP)
}

func (s *kernelSocket) waited(int64) {} // it spins in the kernel

func (s *kernelSocket) setPollEdges(bool) error { return s.refuse(0) } // it has them

func (s *kernelSocket) snapshot() ([]byte, error) { return nil, s.refuse(unix.EOPNOTSUPP) }

func (s *kernelSocket) holder() (int, error) { return -1, s.refuse(unix.ENOENT) }

// refuse returns EBADF if the socket is closed, and else e.
func (s *kernelSocket) refuse(e unix.Errno) error {
	if s.closed() {
		return unix.EBADF
	}
	if e == 0 {
		return nil
	}
	return e
}

// buffersOf returns how many buffers messages have together.
func buffersOf(msgs []Mmsghdr) int {
	n := 0
	for i := range msgs {
		n += len(msgs[i].Hdr.Iov)
	}
	return n
}

func (s *kernelSocket) send(p []byte, flags int) (int, error) { return s.k.Sendto(p, flags, nil) }

func (s *kernelSocket) sendto(p []byte, flags int, to Sockaddr) (int, error) {
	if to.IsZero() {
		return s.k.Sendto(p, flags, nil)
	}
	var buf kernel.Name
	n := to.encode((*[addrSize]byte)(&buf))
	return s.k.Sendto(p, flags, buf[:n])
}

func (s *kernelSocket) sendmsg(to Sockaddr, iov [][]byte, control []byte, flags int) (int, error) {
	if to.IsZero() {
		return s.k.Sendmsg(nil, iov, control, flags)
	}
	var buf kernel.Name
	n := to.encode((*[addrSize]byte)(&buf))
	return s.k.Sendmsg(buf[:n], iov, control, flags)
}

func (s *kernelSocket) sendmmsg(msgs []Mmsghdr, flags int) (int, error) {
	msgs = msgs[:min(len(msgs), kernel.MaxMessages)]
	b := kernel.NewBatch(len(msgs), buffersOf(msgs))
	defer b.Free()
	for i := range msgs {
		m, name := &msgs[i].Hdr, 0
		if !m.Name.IsZero() {
			name = m.Name.encode((*[addrSize]byte)(b.Name(i)))
		}
		b.SetSend(i, name, m.Iov, m.Control)
	}
	n, err := s.k.Sendmmsg(b, flags)
	for i := range msgs[:n] {
		msgs[i].Len = b.Sent(i)
	}
	return n, err
}

// EVL's calls. Without a deadline they wait in the kernel's call; with one in
// ppoll(2), between attempts that do not wait.

// oobSlice is how long a ppoll(2) lasts at most: until then a Close from elsewhere
// goes unnoticed.
const oobSlice = 20 * time.Millisecond

// oobRecvmsg has no times of what was sent.
func (s *kernelSocket) oobRecvmsg(iov [][]byte, control []byte, flags int, end int64) (r received, err error) {
	if flags&MSG_TIMESTAMP != 0 {
		return r, s.orClosed(unix.EINVAL)
	}
	err = s.until(end, flags, unix.POLLIN, func(wait int) error {
		r, err = s.recvmsg(iov, control, flags|wait)
		return err
	})
	return r, err
}

// oobSendmsg asks for nothing by MSG_PROBE, which has another meaning for the kernel:
// it answers for its neighbours.
func (s *kernelSocket) oobSendmsg(to Sockaddr, iov [][]byte, control []byte, flags int, end int64) (n int, err error) {
	err = s.until(end, flags, unix.POLLOUT, func(wait int) error {
		n, err = s.sendmsg(to, iov, control, flags&^MSG_PROBE|wait)
		return err
	})
	return n, err
}

// until makes attempts until one has not had to wait, or the deadline is there.
// attempt is given MSG_DONTWAIT or 0.
func (s *kernelSocket) until(end int64, flags int, events int16, attempt func(wait int) error) error {
	wait := unix.MSG_DONTWAIT
	if end == stack.NoDeadline {
		wait = 0
	}
	for {
		err := attempt(wait)
		if err != unix.EAGAIN || flags&unix.MSG_DONTWAIT != 0 || s.k.Nonblocking() {
			return err
		}
		if wait == 0 {
			continue // SO_RCVTIMEO or SO_SNDTIMEO, which do not count here
		}
		left := time.Duration(end - s.api.st.Deadline(0))
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		s.k.Await(events, min(left, oobSlice))
	}
}

func (s *kernelSocket) solicit(Sockaddr, int) error { return s.orClosed(unix.EOPNOTSUPP) }

func (s *kernelSocket) orClosed(err error) error {
	if s.k.Closed() {
		return unix.EBADF
	}
	return err
}
