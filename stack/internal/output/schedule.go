package output

import (
	"bytes"
	"sync"

	"github.com/outband/outband/internal/heap"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
	"golang.org/x/sys/unix"
)

// Scheduled sending (SO_TXTIME). A datagram with a time of its own is built at
// once and waits in the stack: Linux leaves that to a queueing discipline, and the
// rules are those of etf(8), tc-etf(8).
//
//  1. The sender builds the frames, as of any datagram, and enters them here. What
//     is late already is dropped.
//  2. A timer of the stack's is set to the earliest. Whoever leads when it is due
//     posts the frames to the outbox: within some microseconds if he spins, as
//     soon as the kernel wakes him if he sleeps. Without a leader the housekeeper
//     takes over within half a millisecond, and is one who sleeps.
//  3. The frames that are due leave together. What is later than Config.TxTimeSlack
//     by then has missed its time, and is dropped.

const (
	// scheduledBatch is how many leave in one turn of the timers.
	scheduledBatch = 256
	// defaultTxTimeSlack is Config.TxTimeSlack's default, in nanoseconds.
	defaultTxTimeSlack = 10e6
)

// Later is when a datagram is to leave.
type Later struct {
	Due    int64  // by the stack's clock
	Time   uint64 // by the socket's, as the caller said
	Report bool
}

// scheduled is a frame that waits for its time.
type scheduled struct {
	waitingFrame
	dev   *Device
	frame []byte // the pool's
}

// schedule holds the frames that wait for their time.
type schedule struct {
	timer *drive.Timer

	mu     sync.Mutex // held while the timer is set, so that it is set to the earliest
	frames heap.Queue[*scheduled]
	// purged counts frames that went with their socket; guarded by mu.
	purged uint64
}

// scheduleFrame has a frame of the pool's leave by an interface when its time
// comes, or drops it. fresh says that the call that sends it is under way.
func (t *Transmitter) scheduleFrame(tx *Buffer, d *Device, w waitingFrame, frame []byte, fresh bool) unix.Errno {
	f := &scheduled{waitingFrame: w, dev: d, frame: frame}
	if f.later.Due < t.Clock.Now() {
		if fresh {
			tx.Count[counter.DropTxTimeInvalid].Add(1)
			f.drop(unix.EINVAL, unix.SO_EE_CODE_TXTIME_INVALID_PARAM)
		} else {
			tx.Count[counter.DropTxTimeMissed].Add(1)
			f.drop(unix.ECANCELED, unix.SO_EE_CODE_TXTIME_MISSED)
		}
		return unix.ENOBUFS
	}
	q := &t.schedule
	q.mu.Lock()
	k := f.socket
	if q.frames.Len() >= t.Limits.Scheduled || k.scheduled >= t.Limits.ScheduledPerSocket || k.closed() && f.late(t.Clock.Now()) {
		q.mu.Unlock()
		tx.Count[counter.DropTxTimeFull].Add(1)
		t.Pool.Put(frame)
		return unix.ENOBUFS
	}
	k.scheduled++
	k.chargeSend(len(frame))
	q.frames.Push(f.later.Due, f)
	t.Timers.Set(q.timer, q.frames.Next())
	q.mu.Unlock()
	tx.Count[counter.TxTimeScheduled].Add(1)
	return 0
}

// drop gives a frame up, and tells the socket why if it wants to know
// (report_sock_error in Linux' sch_etf.c).
func (f *scheduled) drop(e unix.Errno, code uint8) {
	if f.later.Report {
		f.socket.host.ErrorArrived(queue.QueuedError{Errno: e, Origin: unix.SO_EE_ORIGIN_TXTIME, Code: code,
			Info: uint32(f.later.Time), Data: uint32(f.later.Time >> 32), Payload: bytes.Clone(f.frame)})
	}
	f.dev.t.Pool.Put(f.frame)
}

// lingerTime is how far ahead datagrams of a closed socket may have their time, in
// nanoseconds: those leave still, as on Linux. Others would be nobody's in the queue.
const lingerTime = 1e9

// late reports whether the frame's time is so far ahead that it goes with its socket.
func (f *scheduled) late(now int64) bool { return f.later.Due > now+lingerTime }

// Unschedule drops what a socket that was closed has scheduled for long after.
func (k *Sender) Unschedule() {
	t := k.Transmitter
	q := &t.schedule
	q.mu.Lock()
	defer q.mu.Unlock()
	if k.scheduled == 0 {
		return
	}
	now := t.Clock.Now()
	q.frames.DeleteFunc(func(f *scheduled) bool {
		if f.socket != k || !f.late(now) {
			return false
		}
		k.scheduled--
		q.purged++
		k.unchargeSend(len(f.frame))
		t.Pool.Put(f.frame)
		return true
	})
	t.Timers.Set(q.timer, q.frames.Next())
}

// scheduleTimer moves the frames that are due to the outbox. The first lane's
// lock is held.
func (t *Transmitter) scheduleTimer(now int64) {
	q, o := &t.schedule, &t.Outbox
	q.mu.Lock()
	o.Mu.Lock()
	for n := 0; n < scheduledBatch && q.frames.Next() <= now; n++ {
		f := q.frames.Pop()
		f.socket.scheduled--
		o.scheduled = append(o.scheduled, f)
	}
	o.Waiting.Store(true)
	o.Mu.Unlock()
	t.Timers.Set(q.timer, max(q.frames.Next(), now+1)) // not in this turn
	q.mu.Unlock()
	t.Host.Posted()
}

// sendScheduled sends frames whose time has come. No lock is held.
func (t *Transmitter) sendScheduled(frames []*scheduled) {
	tx := t.beginOwned()
	latest := t.Clock.Now() - t.Slack
	for _, f := range frames {
		f.socket.unchargeSend(len(f.frame))
		if f.later.Due < latest {
			tx.Count[counter.DropTxTimeMissed].Add(1)
			f.drop(unix.ECANCELED, unix.SO_EE_CODE_TXTIME_MISSED)
			continue
		}
		f.dev.sendStampedFrame(tx, &f.waitingFrame, f.frame)
	}
	t.endOwned(tx)
}

// ScheduledFrames returns how many frames wait for their time.
func (t *Transmitter) ScheduledFrames() int {
	t.schedule.mu.Lock()
	defer t.schedule.mu.Unlock()
	return t.schedule.frames.Len()
}
