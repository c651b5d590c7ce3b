package sockapi

import (
	"sync"
	"time"

	"github.com/outband/outband/internal/mmsg"
	"golang.org/x/sys/unix"
)

// A kernelBatch is the kernel's view of several messages, reused from call to
// call.
type kernelBatch struct {
	hdrs  []mmsg.Header
	names [][addrSize]byte
	iov   []unix.Iovec
}

var kernelBatches = sync.Pool{New: func() any { return new(kernelBatch) }}

// newKernelBatch returns a batch with room for msgs and all their buffers.
func newKernelBatch(msgs []Mmsghdr) *kernelBatch {
	buffers := 0
	for i := range msgs {
		buffers += len(msgs[i].Hdr.Iov)
	}
	b := kernelBatches.Get().(*kernelBatch)
	if cap(b.hdrs) < len(msgs) {
		b.hdrs = make([]mmsg.Header, len(msgs))
		b.names = make([][addrSize]byte, len(msgs))
	}
	b.hdrs, b.names = b.hdrs[:len(msgs)], b.names[:len(msgs)]
	if cap(b.iov) < buffers {
		b.iov = make([]unix.Iovec, 0, buffers)
	}
	return b
}

// free gives the batch back, without the callers' buffers, unless it is larger
// than most will ever need.
func (b *kernelBatch) free() {
	if cap(b.hdrs) > maxMessages || cap(b.iov) > 2*maxMessages {
		return
	}
	clear(b.hdrs)
	clear(b.names)
	clear(b.iov)
	b.iov = b.iov[:0]
	kernelBatches.Put(b)
}

// iovecs returns the kernel's view of a message's buffers.
func (b *kernelBatch) iovecs(buffers [][]byte) []unix.Iovec {
	n := len(b.iov)
	b.iov = appendIovecs(b.iov, buffers) // newKernelBatch made room: no move
	return b.iov[n:]
}

// recvmmsg receives several messages. The kernel looks at timeout, unless it is
// negative, after each message only.
func (k *kernelSocket) recvmmsg(msgs []Mmsghdr, flags int, timeout time.Duration) (int, error) {
	if !k.acquire() {
		return 0, unix.EBADF
	}
	defer k.release()
	b := newKernelBatch(msgs)
	defer b.free()
	for j := range msgs {
		m := &msgs[j].Hdr
		b.hdrs[j].Hdr = receiveHeader(m, &b.names[j], b.iovecs(m.Iov))
	}
	var left *unix.Timespec
	if timeout >= 0 {
		ts := unix.NsecToTimespec(int64(timeout))
		left = &ts
	}
	added := k.addedRecvFlags(flags)
	i := k.begin(unix.SO_RCVTIMEO)
	for {
		n, e := mmsg.Recv(k.fd, b.hdrs, flags|added, left)
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			for j := range msgs[:n] {
				msgs[j].Len = int(b.hdrs[j].N)
				storeReceived(&msgs[j].Hdr, &b.hdrs[j].Hdr, &b.names[j], added)
			}
			return n, nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// sendmmsg sends several messages: the kernel takes no more than maxMessages.
func (k *kernelSocket) sendmmsg(msgs []Mmsghdr, flags int) (int, error) {
	if !k.acquire() {
		return 0, unix.EBADF
	}
	defer k.release()
	msgs = msgs[:min(len(msgs), maxMessages)]
	b := newKernelBatch(msgs)
	defer b.free()
	for j := range msgs {
		m := &msgs[j].Hdr
		b.hdrs[j].Hdr = sendHeader(m, &b.names[j], b.iovecs(m.Iov))
	}
	i := k.begin(unix.SO_SNDTIMEO)
	for {
		n, e := mmsg.Send(k.fd, b.hdrs, flags)
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			for j := range msgs[:n] {
				msgs[j].Len = int(b.hdrs[j].N)
			}
			return n, nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}
