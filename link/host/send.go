package host

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

// The way of a frame out:
//
//  1. The gate is passed, so that no descriptor is closed meanwhile.
//  2. A batch takes the frames up to the first that is not valid: the datagram behind the
//     Ethernet header, its destination, and control messages for what of the route its
//     header does not say.
//  3. The kernel routes each, fills in length and header checksum, and the identification
//     if that is 0 (raw(7)).
//  4. What it says is counted, and returned as it is.
//
// Every call has MSG_DONTWAIT. To an address of the host the kernel runs the receiver's
// side before it returns.

// sendBuffer is how much of what was sent may be in the kernel, in bytes: of all the
// stack's sockets together. The kernel may permit less (net.core.wmem_max).
const sendBuffer = 4 << 20

// A sender is the transmit side of a link.
type sender struct {
	gate  gate
	fd    int // the raw socket
	quiet int // the one for what is not looped to members on the host
	prio  prioritySocket
	pool  batchPool

	frames, bytes, errors, dropped atomic.Uint64
}

// open opens the raw sockets.
func (s *sender) open() (err error) {
	if s.fd, err = openRaw(); err != nil {
		return err
	}
	if s.quiet, err = openRaw(); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(s.quiet, unix.SOL_IP, unix.IP_MULTICAST_LOOP, 0); err != nil {
		return fmt.Errorf("IP_MULTICAST_LOOP: %w", err)
	}
	s.pool.priority = takesPriority(s.fd)
	if !s.pool.priority {
		if s.prio.fd, err = openRaw(); err != nil {
			return err
		}
	}
	for _, fd := range s.fds() {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
			return fmt.Errorf("SO_BROADCAST: %w", err)
		}
	}
	return nil
}

// fds returns the sockets that are open.
func (s *sender) fds() (fds []int) {
	for _, fd := range []int{s.fd, s.quiet, s.prio.fd} {
		if fd >= 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

// openRaw opens a raw socket that sends, and receives nothing.
func openRaw() (int, error) {
	fd, err := descriptor.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		if err == unix.EPERM {
			err = fmt.Errorf("needs CAP_NET_RAW: %w", err)
		}
		return -1, fmt.Errorf("raw socket: %w", err)
	}
	none, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
	if err == nil {
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: none[0].Op, K: none[0].K}})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("raw socket: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	return fd, nil
}

// Send hands one frame to the kernel; see SendBatch.
func (l *Link) Send(frame []byte) error {
	one := [1]link.TxFrame{{Data: frame}}
	_, err := l.SendBatch(one[:])
	return err
}

// SendBatch hands IPv4 frames to the kernel, in order, and all others to the ring on lo.
// Errors are those that the same datagram meets in-band: ENETUNREACH, EHOSTUNREACH, EMSGSIZE (longer than the MTU of the
// device that the route leads to), EPERM (netfilter, or a mark without CAP_NET_RAW), EAGAIN
// and ENOBUFS (no room), EINVAL (a header that makes no sense, a source that is not the
// host's for a group), ...; EAFNOSUPPORT: no IPv4, and no ring; EOPNOTSUPP: a GSO packet.
func (l *Link) SendBatch(frames []link.TxFrame) (int, error) {
	s := &l.tx
	if !s.gate.enter() {
		return 0, unix.ENETDOWN
	}
	sent, bytes := 0, 0
	held := l.ring == nil // our own holders may have what is sent, before the call returns
	var errno syscall.Errno
	for sent < len(frames) && errno == 0 {
		var n int
		if n, errno = s.some(frames[sent:]); errno == unix.EAFNOSUPPORT {
			var other int
			other, errno = l.sendOther(frames[sent+n:])
			n += other
		}
		for _, f := range frames[sent : sent+n] {
			bytes += len(f.Data)
			held = held || f.Device != 0 // to a group, or a broadcast
		}
		sent += n
	}
	s.gate.leave()
	if held && sent > 0 && !l.due.Load() {
		l.due.Store(true)
	}
	return s.count(sent, bytes, errno)
}

// sendOther sends the first of frames, which is no IPv4 datagram, by the ring on lo, if there
// is one: it is a packet socket's, which lo brings back.
func (l *Link) sendOther(frames []link.TxFrame) (int, syscall.Errno) {
	if l.ring == nil {
		return 0, unix.EAFNOSUPPORT
	}
	one := []link.TxFrame{frames[0]} // a copy, so that what Send makes stays on its stack
	n, err := l.ring.SendBatch(one)
	if errno, ok := err.(syscall.Errno); ok {
		return n, errno
	}
	return n, 0
}

// some sends the first of frames that can go by one batch, and returns how many were sent and
// what stopped the next.
func (s *sender) some(frames []link.TxFrame) (int, syscall.Errno) {
	if !s.pool.priority && frames[0].Priority != 0 {
		return s.prio.send(frames)
	}
	n := 1
	for n < min(len(frames), batchSize) && (s.pool.priority || frames[n].Priority == 0) && frames[n].NotLooped == frames[0].NotLooped {
		n++
	}
	fd := s.fd
	if frames[0].NotLooped {
		fd = s.quiet
	}
	return s.pool.send(fd, frames[:n])
}

// count counts what became of a call's frames, and returns what the call does.
func (s *sender) count(sent, bytes int, errno syscall.Errno) (int, error) {
	if sent > 0 {
		s.frames.Add(uint64(sent))
		s.bytes.Add(uint64(bytes))
	}
	if errno == 0 {
		return sent, nil
	}
	s.errors.Add(1)
	if errno == unix.EAGAIN || errno == unix.ENOBUFS {
		s.dropped.Add(1)
	}
	return sent, errno
}

// check returns the errno that a frame is refused with, whatever the route.
func check(f *link.TxFrame) error {
	const caps = link.CapChecksum
	// The kernel compares the length with the MTU of the device that it chooses.
	return memory.CheckTx(f, caps, DefaultMTU)
}

// A gate lets many in until it is shut, which waits for them to leave.
type gate struct{ n atomic.Int64 }

// shutBit is set in a gate that is shut.
const shutBit = 1 << 62

// enter passes the gate, or reports that it is shut.
func (g *gate) enter() bool {
	if g.n.Add(1) < shutBit {
		return true
	}
	g.n.Add(-1)
	return false
}

// leave is the way back.
func (g *gate) leave() { g.n.Add(-1) }

// shut shuts the gate, once, and waits until all have left. No send waits for
// anything, so that is soon.
func (g *gate) shut() {
	for n := g.n.Add(shutBit); n != shutBit; n = g.n.Load() {
		runtime.Gosched()
	}
}
