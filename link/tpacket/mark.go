package tpacket

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// Frames with a priority or a mark go to the socket with virtio_net_hdr, with
// control messages that say so for each of them. Kernels before 6.14 know
// SO_MARK as a control message only: there such frames have a socket of their
// own, whose priority is set when it has to be another.

// marked reports whether f has a priority or a mark.
func marked(f *link.TxFrame) bool { return f.Priority|f.Mark != 0 }

// A controlInt is a control message of SOL_SOCKET whose data is an int (cmsg(3)).
type controlInt struct {
	unix.Cmsghdr
	value uint32
	_     [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// The two must be of one size, or the kernel would not find the second.
var _ [unsafe.Sizeof(controlInt{})]byte = [unix.SizeofCmsghdr + unsafe.Sizeof(uintptr(0))]byte{}

// A control message of each kind stands ready; a frame has the first, the second
// or both.
type frameControl struct{ priority, mark controlInt }

func (c *frameControl) init() {
	for m, typ := range map[*controlInt]int32{&c.priority: unix.SO_PRIORITY, &c.mark: unix.SO_MARK} {
		m.SetLen(unix.SizeofCmsghdr + 4)
		m.Level, m.Type = unix.SOL_SOCKET, typ
	}
}

// set fills c in for f, and makes h point to what of it is to be sent. The
// kernel asks for a privilege to set a mark, to 0 too, so what is 0 is left out.
func (c *frameControl) set(h *unix.Msghdr, f *link.TxFrame, priorityToo bool) {
	const size = int(unsafe.Sizeof(controlInt{}))
	c.priority.value, c.mark.value = f.Priority, f.Mark
	h.Control = (*byte)(unsafe.Pointer(c))
	switch priority := priorityToo && f.Priority != 0; {
	case priority && f.Mark != 0:
		h.SetControllen(2 * size)
	case priority:
		h.SetControllen(size)
	case f.Mark != 0:
		h.Control = (*byte)(unsafe.Pointer(&c.mark))
		h.SetControllen(size)
	default:
		h.Control = nil
		h.SetControllen(0)
	}
}

// A prioritySocket is the socket for frames with a priority where the kernel does
// not take it as a control message. fd is -1 where it does.
type prioritySocket struct {
	fd   int
	mu   sync.Mutex // held from setting its priority until the frames are sent
	now  uint32
	pool batchPool
}

// send sends the first of frames that have one priority.
func (p *prioritySocket) send(frames []link.TxFrame, mtu int) (int, syscall.Errno) {
	n := 1
	for n < len(frames) && frames[n].Priority == frames[0].Priority {
		n++
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := frames[0].Priority; p.now != want {
		if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_PRIORITY, int(int32(want))); err != nil {
			return 0, err.(syscall.Errno)
		}
		p.now = want
	}
	return p.pool.send(p.fd, frames[:n], mtu)
}
