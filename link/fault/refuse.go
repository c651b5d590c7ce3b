package fault

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// refusals is the state of Faults.Refuse.
type refusals struct {
	full  atomic.Int64 // until when the link is full
	room  atomic.Pointer[func()]
	alarm *time.Timer // tells of room; guarded by the sender's mu
}

// refuseLocked decides whether a frame that is to be sent is refused.
func (l *Link) refuseLocked(now int64) error {
	s := &l.tx
	r := &s.faults.Refuse
	err := error(nil)
	switch {
	case now < l.refusals.full.Load():
		err = unix.EAGAIN
	case s.chance(r.Again):
		l.fillLocked(now, r.RoomAfter)
		err = unix.EAGAIN
	case s.chance(r.NoBufs):
		err = unix.ENOBUFS
	case s.chance(r.Down):
		err = unix.ENETDOWN
	case s.chance(r.TooLong):
		err = unix.EMSGSIZE
	}
	if err != nil {
		s.counters.Refused++
	}
	return err
}

// fillLocked makes the link full for a while.
func (l *Link) fillLocked(now int64, d time.Duration) {
	f := &l.refusals
	f.full.Store(later(now, uint64(d)))
	if f.alarm == nil {
		f.alarm = time.AfterFunc(d, l.tellRoom)
		return
	}
	f.alarm.Reset(d)
}

// tellRoom calls what SetRoom registered, unless the link is full again by a clock
// that a test moves by hand.
func (l *Link) tellRoom() {
	if room := l.refusals.room.Load(); room != nil && !l.closed.Load() {
		(*room)()
	}
}

// Queue implements [link.Queuer]: what Send says, the wrapped link's queue too if it
// has one.
func (l *Link) Queue() link.TxQueue {
	q := &queue{Link: l}
	if inner, ok := l.inner.(link.Queuer); ok {
		q.inner = inner.Queue() // maybe nil
	}
	return q
}

// OpenQueue implements [link.Queuer]: EOPNOTSUPP, since all senders share the wire.
func (l *Link) OpenQueue(int) (link.TxQueue, error) { return nil, unix.EOPNOTSUPP }

// A queue is the link as a link.TxQueue.
type queue struct {
	*Link
	inner link.TxQueue // nil: the wrapped link has none
}

var _ link.TxQueue = (*queue)(nil)

// Queued implements [link.TxQueue].
func (q *queue) Queued() int {
	if q.inner == nil {
		return 0
	}
	return q.inner.Queued()
}

// Room implements [link.TxQueue].
func (q *queue) Room() bool {
	return q.now() >= q.refusals.full.Load() && (q.inner == nil || q.inner.Room())
}

// RoomFD implements [link.TxQueue]: the wrapped link's, but while this one is full.
func (q *queue) RoomFD() int {
	if q.inner == nil || q.now() < q.refusals.full.Load() {
		return -1
	}
	return q.inner.RoomFD()
}

// SetRoom implements [link.TxQueue].
func (q *queue) SetRoom(room func()) {
	q.refusals.room.Store(&room)
	if q.inner != nil {
		q.inner.SetRoom(room)
	}
}

// SetBuffer implements [link.TxQueue].
func (q *queue) SetBuffer(bytes int) {
	if q.inner != nil {
		q.inner.SetBuffer(bytes)
	}
}

// Close implements [link.TxQueue].
func (q *queue) Close() error { return nil }
