package tpacket

import (
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// The kernel charges a packet socket for each frame until the device has let go of it,
// up to SO_SNDBUF, and says EAGAIN beyond. So that each sender is charged for its own
// frames only, it may have a transmit socket of its own; that of the link is for the
// others. A frame takes the same way in the kernel by either, and order is kept between
// them.

var _ link.Queuer = (*Link)(nil)

const (
	// maxQueues is how many senders can have a socket of their own at a time.
	maxQueues = 256
	// spareQueues is how many sockets are kept for senders to come, since to close one
	// costs a grace period of RCU.
	spareQueues = 8
)

// Queue returns the queue of the link's own transmit sockets.
func (l *Link) Queue() link.TxQueue { return linkQueue{l} }

// A linkQueue is the link's own sockets as a link.TxQueue.
type linkQueue struct{ *Link }

// Queued returns what the device has of all frames that went by the link.
func (q linkQueue) Queued() int {
	s := &q.tx
	if !s.gate.enter() {
		return 0
	}
	defer s.gate.leave()
	n := 0
	for _, fd := range s.fds() {
		if fd >= 0 {
			n += outq(fd)
		}
	}
	return n
}

// Room implements [link.TxQueue].
func (q linkQueue) Room() bool {
	s := &q.tx
	if !s.gate.enter() {
		return true
	}
	defer s.gate.leave()
	return s.room.thereIn(s.fds()...)
}

// RoomFD implements [link.TxQueue].
func (q linkQueue) RoomFD() int { return q.tx.room.fd() }

// SetRoom implements [link.TxQueue].
func (q linkQueue) SetRoom(room func()) { q.tx.room.setTell(room) }

// SetBuffer implements [link.TxQueue].
func (q linkQueue) SetBuffer(bytes int) {
	s := &q.tx
	if !s.gate.enter() {
		return
	}
	defer s.gate.leave()
	for _, fd := range s.fds() {
		if fd >= 0 {
			setCharge(fd, bytes)
		}
	}
}

// Close does nothing: the queue ends with the link.
func (q linkQueue) Close() error { return nil }

// A queue is a transmit socket for one sender.
type queue struct {
	l    *Link
	gate gate
	fd   int // with virtio_net_hdr
	pool *batchPool
	prio prioritySocket // where the kernel does not take priorities as messages
	room room
	open atomic.Bool // it is in use
}

// OpenQueue opens a transmit socket for one sender. ENETDOWN: the link is closed.
// ENOBUFS: too many have one. EPERM: CAP_NET_RAW is gone, or, for a link in another
// network namespace, CAP_SYS_ADMIN. EMFILE, ENFILE: no descriptor is left.
func (l *Link) OpenQueue(buffer int) (link.TxQueue, error) {
	q, err := l.spareQueue()
	if q == nil && err == nil {
		q, err = l.newQueue()
	}
	if err != nil {
		return nil, err
	}
	q.SetBuffer(buffer)
	return q, nil
}

// spareQueue returns a queue that is not in use and whose frames have left, nil if there
// is none.
func (l *Link) spareQueue() (*queue, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return nil, unix.ENETDOWN
	}
	for _, q := range l.queues {
		if !q.open.Load() && outq(q.fd) == 0 {
			q.open.Store(true)
			return q, nil
		}
	}
	if len(l.queues) >= maxQueues {
		return nil, unix.ENOBUFS
	}
	return nil, nil
}

// newQueue opens a queue.
func (l *Link) newQueue() (*queue, error) {
	q := &queue{l: l, fd: -1, pool: &l.tx.marked}
	q.prio.fd = -1
	q.prio.pool.vnet, q.prio.pool.marked = true, true
	q.open.Store(true)
	if !l.tx.gate.enter() { // the namespace is given back with the link
		return nil, unix.ENETDOWN
	}
	err := l.space.Do(func() (err error) {
		info := l.Info()
		ifi := &net.Interface{Index: info.Index, Name: info.Name}
		if q.fd, err = openTx(ifi, true, &l.opts); err == nil && !kernelHasPriorityMessage() {
			q.prio.fd, err = openTx(ifi, true, &l.opts)
		}
		return err
	})
	l.tx.gate.leave()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.closed.Load() {
		err = unix.ENETDOWN
	}
	if err == nil && l.Info().Index != 0 {
		err = q.bind(l.Info().Index) // it may have become another meanwhile
	}
	if err != nil {
		q.shut()
		return nil, err
	}
	l.queues = append(l.queues, q)
	return q, nil
}

// fds returns the queue's sockets.
func (q *queue) fds() []int {
	if q.prio.fd < 0 {
		return []int{q.fd}
	}
	return []int{q.fd, q.prio.fd}
}

// bind binds the queue to a device.
func (q *queue) bind(index int) error {
	for _, fd := range q.fds() {
		if err := bind(fd, 0, index); err != nil {
			return err
		}
	}
	return nil
}

// Send implements [link.TxQueue].
func (q *queue) Send(frame []byte) error {
	one := [1]link.TxFrame{{Data: frame}}
	_, err := q.SendBatch(one[:])
	return err
}

// SendBatch implements [link.TxQueue].
func (q *queue) SendBatch(frames []link.TxFrame) (int, error) {
	if !q.gate.enter() {
		return 0, unix.ENETDOWN
	}
	sent, bytes := 0, 0
	var errno syscall.Errno
	for sent < len(frames) && errno == 0 {
		var n int
		n, errno = q.some(frames[sent:])
		for _, f := range frames[sent : sent+n] {
			bytes += len(f.Data)
		}
		sent += n
	}
	q.gate.leave()
	return q.l.sent(frames, sent, bytes, errno)
}

// some sends the first of frames, and returns how many went and what stopped the next.
func (q *queue) some(frames []link.TxFrame) (n int, errno syscall.Errno) {
	n = min(len(frames), batchSize)
	if q.l.opts.TxMode == TxSendto {
		n = 1
	}
	mtu, fd := q.l.Info().MTU, q.fd
	switch {
	case q.prio.fd >= 0 && marked(&frames[0]):
		fd = q.prio.fd
		n, errno = q.prio.send(frames[:n], mtu)
	case q.prio.fd >= 0:
		if i := slices.IndexFunc(frames[:n], func(f link.TxFrame) bool { return marked(&f) }); i > 0 {
			n = i
		}
		n, errno = q.pool.send(fd, frames[:n], mtu)
	default:
		n, errno = q.pool.send(fd, frames[:n], mtu)
	}
	if errno == unix.EAGAIN {
		q.room.stuck(fd)
	}
	return n, errno
}

// Queued implements [link.TxQueue].
func (q *queue) Queued() int {
	if !q.gate.enter() {
		return 0
	}
	defer q.gate.leave()
	n := 0
	for _, fd := range q.fds() {
		n += outq(fd)
	}
	return n
}

// Room implements [link.TxQueue].
func (q *queue) Room() bool {
	if !q.gate.enter() {
		return true
	}
	defer q.gate.leave()
	return q.room.thereIn(q.fds()...)
}

// RoomFD implements [link.TxQueue].
func (q *queue) RoomFD() int {
	if !q.gate.enter() {
		return -1
	}
	defer q.gate.leave()
	if q.room.full.Load() == 0 {
		q.room.stuck(q.fd)
	}
	return q.room.fd()
}

// SetRoom implements [link.TxQueue].
func (q *queue) SetRoom(room func()) { q.room.setTell(room) }

// SetBuffer implements [link.TxQueue].
func (q *queue) SetBuffer(bytes int) {
	if !q.gate.enter() {
		return
	}
	defer q.gate.leave()
	for _, fd := range q.fds() {
		setCharge(fd, bytes)
	}
}

// Close gives the queue back: to the next sender that wants one, or to the kernel.
func (q *queue) Close() error {
	l := q.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if !q.open.Swap(false) || l.closed.Load() {
		return nil // the link closes it
	}
	q.room.setTell(nil)
	spare := 0
	for _, other := range l.queues {
		if !other.open.Load() {
			spare++
		}
	}
	if spare > spareQueues {
		l.queues = slices.DeleteFunc(l.queues, func(other *queue) bool { return other == q })
		go q.shut()
	}
	return nil
}

// shut closes the queue's sockets, once no send is under way.
func (q *queue) shut() {
	q.gate.shut()
	q.room.close()
	for _, fd := range q.fds() {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// outq returns what a socket is charged with for frames that the device has (SIOCOUTQ).
func outq(fd int) int {
	var n int32
	_, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	runtime.KeepAlive(&n)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// setCharge sets how much a socket may be charged with; the kernel doubles what it is
// told (socket(7)).
func setCharge(fd, bytes int) { setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, bytes/2) }
