package tpacket

import (
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// The way of a frame out:
//
//  1. The gate is passed, so that no descriptor is closed meanwhile.
//  2. Plain frames go to the transmit socket by sendto(2) or sendmmsg(2); frames that
//     want more, to the socket with virtio_net_hdr, those with a priority or a mark
//     with control messages: see mark.go.
//  3. What the kernel says is counted, and errors are made those of link.Link.
//
// Every call has MSG_DONTWAIT. On veth it runs the peer's receive path before it
// returns, so nobody may hold the receive lock while he sends.

// A sender is the transmit side of a link.
type sender struct {
	gate   gate
	fd     int // transmit socket
	vnetFD int // with virtio_net_hdr
	mode   TxMode
	plain  batchPool
	vnet   batchPool
	marked batchPool // for vnetFD
	prio   prioritySocket
	room   room

	frames, bytes, errors, dropped, lost atomic.Uint64
}

// init makes s a sender with nothing open.
func (s *sender) init(o *Options) {
	s.fd, s.vnetFD, s.prio.fd, s.mode = -1, -1, -1, o.TxMode
	s.vnet.vnet = true
	s.marked.vnet, s.marked.marked, s.marked.priority = true, true, true
	s.prio.pool.vnet, s.prio.pool.marked = true, true
}

// open opens the transmit sockets.
func (s *sender) open(ifi *net.Interface, o *Options) (err error) {
	if s.fd, err = openTx(ifi, false, o); err != nil {
		return err
	}
	if s.vnetFD, err = openTx(ifi, true, o); err != nil {
		return err
	}
	if !kernelHasPriorityMessage() {
		if s.prio.fd, err = openTx(ifi, true, o); err != nil {
			return err
		}
	}
	return nil
}

// fds returns the sockets; those that are not there are -1.
func (s *sender) fds() []int { return []int{s.fd, s.vnetFD, s.prio.fd} }

// bind binds the sockets to a device.
func (s *sender) bind(index int) error {
	for _, fd := range s.fds() {
		if fd < 0 {
			continue
		}
		if err := bind(fd, 0, index); err != nil {
			return err
		}
	}
	return nil
}

// addTo stores the counters.
func (s *sender) addTo(to *link.Stats) {
	to.TxFrames, to.TxBytes = s.frames.Load(), s.bytes.Load()
	to.TxErrors, to.TxDropped, to.TxLost = s.errors.Load(), s.dropped.Load(), s.lost.Load()
}

// Send transmits one frame. See [link.Link].
func (l *Link) Send(frame []byte) error {
	s := &l.tx
	if !s.gate.enter() {
		return unix.ENETDOWN
	}
	errno := s.one(frame)
	s.gate.leave()
	if errno != 0 {
		_, err := l.sent(nil, 0, 0, errno)
		return err
	}
	s.frames.Add(1)
	s.bytes.Add(uint64(len(frame)))
	return nil
}

// one sends a frame by the mode's call for single frames.
func (s *sender) one(frame []byte) syscall.Errno {
	if len(frame) < link.HeaderLen {
		return unix.EINVAL
	}
	errno := sendto(s.fd, frame)
	if errno != 0 {
		s.note(s.fd, errno)
	}
	return errno
}

// note notes which socket has said EAGAIN.
func (s *sender) note(fd int, errno syscall.Errno) {
	if errno == unix.EAGAIN {
		s.room.stuck(fd)
	}
}

// sendto hands one frame to the kernel. The call never waits, so the scheduler
// need not hear of it: RawSyscall.
func sendto(fd int, frame []byte) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame)), unix.MSG_DONTWAIT, 0, 0)
	return errno
}

// SendBatch transmits frames in order. See [link.Link]. EINVAL: a frame is
// shorter than its header, or than its checksum's place, or wants segmentation
// without a partial checksum. EPERM: a mark, or a priority above 6, and the process
// has neither CAP_NET_RAW nor CAP_NET_ADMIN (any more).
func (l *Link) SendBatch(frames []link.TxFrame) (int, error) {
	s := &l.tx
	if !s.gate.enter() {
		return 0, unix.ENETDOWN
	}
	sent, bytes := 0, 0
	var errno syscall.Errno
	for sent < len(frames) && errno == 0 {
		var n int
		n, errno = s.some(frames[sent:], l)
		for _, f := range frames[sent : sent+n] {
			bytes += len(f.Data)
		}
		sent += n
	}
	s.gate.leave()
	return l.sent(frames, sent, bytes, errno)
}

// sent counts what became of frames, nil for one alone, of which some were sent, and
// returns what Send or SendBatch does.
func (l *Link) sent(frames []link.TxFrame, sent, bytes int, errno syscall.Errno) (int, error) {
	s := &l.tx
	if sent > 0 {
		s.frames.Add(uint64(sent))
		s.bytes.Add(uint64(bytes))
	}
	if errno == 0 {
		return sent, nil
	}
	if l.losing(errno) {
		s.lost.Add(uint64(max(len(frames), 1) - sent))
		return len(frames), nil
	}
	return sent, l.failed(errno)
}

// losing reports whether a frame was refused for want of a carrier: then it, and all
// that come after it, are sent and lost, as the kernel's own datagrams are. With
// PACKET_QDISC_BYPASS the errno is the same as with a full queue; without, there is no
// error at all, and what is lost counts as sent.
func (l *Link) losing(errno syscall.Errno) bool {
	return errno == unix.ENOBUFS && l.dev.State() == link.NoCarrier
}

// wants is which socket a frame needs: each takes what those before it take.
type wants uint8

const (
	wantsNothing wants = iota
	wantsHeader        // virtio_net_hdr
	wantsControl       // and control messages
)

func wantsOf(f *link.TxFrame) wants {
	switch {
	case marked(f):
		return wantsControl
	case special(f):
		return wantsHeader
	default:
		return wantsNothing
	}
}

// some sends the first of frames that can go by one call, and returns how many
// went. No error and none sent does not happen.
func (s *sender) some(frames []link.TxFrame, l *Link) (int, syscall.Errno) {
	most := wantsOf(&frames[0])
	n := 1
	for n < len(frames) && n < batchSize {
		// A mixed batch goes to the socket that takes all of it: in order, and
		// with one call.
		if w := wantsOf(&frames[n]); w != most {
			if s.mode != TxSendmmsg {
				break
			}
			most = max(most, w)
		}
		n++
	}
	var errno syscall.Errno
	fd := s.vnetFD
	switch {
	case most == wantsControl && s.prio.fd >= 0:
		fd = s.prio.fd
		n, errno = s.prio.send(frames[:n], l.Info().MTU)
	case most == wantsControl:
		n, errno = s.marked.send(fd, frames[:n], l.Info().MTU)
	case most == wantsHeader:
		n, errno = s.vnet.send(fd, frames[:n], l.Info().MTU)
	case s.mode == TxSendmmsg && n > 1:
		fd = s.fd
		n, errno = s.plain.send(fd, frames[:n], 0)
	default:
		if errno := s.one(frames[0].Data); errno != 0 {
			return 0, errno
		}
		return 1, 0
	}
	s.note(fd, errno)
	return n, errno
}

// failed counts a frame that could not be sent, and returns the error that
// [link.Link] promises.
func (l *Link) failed(errno syscall.Errno) error {
	l.tx.errors.Add(1)
	switch errno {
	case unix.ENXIO, unix.ENODEV:
		return unix.ENETDOWN // no device, or none any more
	case unix.ENOBUFS, unix.EAGAIN:
		l.tx.dropped.Add(1)
	}
	return errno
}

// A gate counts the goroutines that use the transmit sockets, so that Close can wait for
// them: a descriptor closed under a send could be somebody else's by then.
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
