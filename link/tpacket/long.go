package tpacket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

const (
	// maxLong is how many frames longer than a slot one batch holds: each
	// needs a buffer of its own until it is released.
	maxLong = 8
	// longPad places the frame, behind its virtio_net_hdr, so that the IPv4
	// header is aligned to 16 bytes.
	longPad     = 8
	longBufSize = longPad + vnetHeaderLen + maxFrame
	// longTries bounds the tries to read a frame: an error that waits on the
	// socket, as when the device went down, is reported first, and once.
	longTries = 4
)

// longFrames holds received frames that are longer than a slot. The kernel
// queues each of them on the ring's socket, in the order of the slots that say
// TP_STATUS_COPY. Buffers are made when first needed, and kept.
type longFrames struct {
	bufs [maxLong][]byte
	used int
}

// full reports whether every buffer is in use: the batch must end here.
func (l *longFrames) full() bool { return l.used == maxLong }

// release takes all buffers back.
func (l *longFrames) release() { l.used = 0 }

// read replaces f's data, cut to its slot, by the whole frame from the socket's
// queue. It reports whether the frame is whole now.
func (l *longFrames) read(fd int, f *link.Frame) bool {
	buf := l.bufs[l.used]
	if buf == nil {
		buf = make([]byte, longBufSize)
		l.bufs[l.used] = buf
	}
	for range longTries {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(&buf[longPad])), longBufSize-longPad, unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0 && n >= vnetHeaderLen+link.HeaderLen:
			l.used++
			f.Data = buf[longPad+vnetHeaderLen:][: n-vnetHeaderLen : n-vnetHeaderLen]
			return len(f.Data) >= f.WireLen
		case errno == 0 || errno == unix.EAGAIN:
			return false // nothing there, or no frame: the view of the slot is all there is
		}
	}
	return false
}
