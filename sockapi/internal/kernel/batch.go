package kernel

import (
	"sync"
	"time"

	"github.com/outband/outband/internal/mmsg"
	"golang.org/x/sys/unix"
)

// A Batch is the kernel's view of several messages, reused from call to call. What
// is put into it stays the caller's.
type Batch struct {
	hdrs  []mmsg.Header
	names []Name
	iov   []unix.Iovec
	added int // flags of the call beside the caller's
}

var batches = sync.Pool{New: func() any { return new(Batch) }}

// NewBatch returns a Batch for so many messages, which have so many buffers together.
func NewBatch(messages, buffers int) *Batch {
	b := batches.Get().(*Batch)
	if cap(b.hdrs) < messages {
		b.hdrs = make([]mmsg.Header, messages)
		b.names = make([]Name, messages)
	}
	b.hdrs, b.names = b.hdrs[:messages], b.names[:messages]
	if cap(b.iov) < buffers {
		b.iov = make([]unix.Iovec, 0, buffers)
	}
	return b
}

// MaxMessages is how many messages a sending call takes at most (UIO_MAXIOV).
const MaxMessages = 1024

// Free gives the batch back, without the callers' buffers, unless it is larger
// than most will ever need.
func (b *Batch) Free() {
	if cap(b.hdrs) > MaxMessages || cap(b.iov) > 2*MaxMessages {
		return
	}
	clear(b.hdrs)
	clear(b.names)
	clear(b.iov)
	b.iov = b.iov[:0]
	batches.Put(b)
}

// Name returns the room for message i's address, which is zero in a new batch.
func (b *Batch) Name(i int) *Name { return &b.names[i] }

// SetReceive makes message i one to be received.
func (b *Batch) SetReceive(i int, iov [][]byte, control []byte) {
	b.hdrs[i].Hdr = receiveHeader(control, &b.names[i], b.iovecs(iov))
}

// SetSend makes message i one to be sent, to the first name bytes of Name(i); 0: to
// the peer.
func (b *Batch) SetSend(i, name int, iov [][]byte, control []byte) {
	var to []byte
	if name > 0 {
		to = b.names[i][:name]
	}
	b.hdrs[i].Hdr = sendHeader(to, control, b.iovecs(iov))
}

// Sent returns how many bytes of message i were sent.
func (b *Batch) Sent(i int) int { return int(b.hdrs[i].N) }

// Received returns what is to be said of message i.
func (b *Batch) Received(i int) Result {
	return resultOf(&b.hdrs[i].Hdr, int(b.hdrs[i].N), b.added)
}

// iovecs returns the kernel's view of a message's buffers.
func (b *Batch) iovecs(buffers [][]byte) []unix.Iovec {
	n := len(b.iov)
	b.iov = appendIovecs(b.iov, buffers) // NewBatch made room: no move
	return b.iov[n:]
}

// Recvmmsg is recvmmsg(2). The kernel looks at timeout, unless it is negative, after
// each message only.
func (k *Socket) Recvmmsg(b *Batch, flags int, timeout time.Duration) (int, error) {
	if !k.Acquire() {
		return 0, unix.EBADF
	}
	defer k.Release()
	var left *unix.Timespec
	if timeout >= 0 {
		ts := unix.NsecToTimespec(int64(timeout))
		left = &ts
	}
	b.added = k.addedRecvFlags(flags)
	i := k.begin(unix.SO_RCVTIMEO)
	for {
		n, e := mmsg.Recv(k.fd, b.hdrs, flags|b.added, left)
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			return n, nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// Sendmmsg is sendmmsg(2): the kernel takes no more than MaxMessages.
func (k *Socket) Sendmmsg(b *Batch, flags int) (int, error) {
	if !k.Acquire() {
		return 0, unix.EBADF
	}
	defer k.Release()
	i := k.begin(unix.SO_SNDTIMEO)
	for {
		n, e := mmsg.Send(k.fd, b.hdrs, flags)
		switch e = i.result(e, unix.EAGAIN); e {
		case 0:
			return n, nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}
