package stack

import (
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"golang.org/x/sys/unix"
)

// What becomes of frames that the link would not take. What has left is never sent
// again, and nothing is built twice, so that a datagram keeps its identification:
//
//   - EAGAIN: a socket that shares its way out gets its own, see txqueue.go. If that is
//     full too, a call that may wait does, and the rest goes on behind what left. A
//     call that may not, or whose wait ends, takes back the messages of which
//     nothing has left; of one that has begun the rest goes to the socket's backlog
//     (backlog.go), and the message counts as sent.
//   - ENOBUFS: the message is lost, and counted. As on Linux only a socket with
//     IP_RECVERR is told; for the others it counts as sent.
//   - other errors end the call; of what has not left nothing will.
//
// A call looks after this between two messages, so that there are never more frames
// in a txbuf than a batch and one message have.

// fail notes that n frames of batch have left, and that err stopped the next.
func (tx *txbuf) fail(n int, err error) unix.Errno {
	tx.shift(n)
	if tx.failed = toErrno(err); tx.failed != unix.EAGAIN { // which loses nothing
		tx.count[counter.DropLinkError].Add(1)
	}
	return tx.failed
}

// shift takes the first n frames out of batch, which count as sent.
func (tx *txbuf) shift(n int) {
	for _, f := range tx.ends[:n] {
		if f.message >= 0 {
			tx.sent = int(f.message) + 1
		}
		tx.midway = f.message < 0
	}
	if n == len(tx.batch) {
		tx.empty()
		return
	}
	tx.batch = append(tx.batch[:0], tx.batch[n:]...)
	tx.ends = append(tx.ends[:0], tx.ends[n:]...)
	tx.tapped = max(tx.tapped-n, 0)
}

// first returns how many frames of batch belong to its first message.
func (tx *txbuf) first() int {
	for i, f := range tx.ends {
		if f.message >= 0 {
			return i + 1
		}
	}
	return len(tx.ends)
}

// unit returns how many frames of batch belong to its first datagram.
func (tx *txbuf) unit() int {
	for i, f := range tx.ends {
		if f.message >= 0 || f.datagrams > 0 {
			return i + 1
		}
	}
	return len(tx.ends)
}

// finish is Socket.finish for the call that tx is in.
func (tx *txbuf) finish() unix.Errno {
	if tx.owner == nil {
		tx.flushOwned(nil)
		return 0
	}
	return tx.owner.finish(tx, tx.flags, tx.deadline)
}

// finish sends what was built, whatever it takes. What it returns ends the call.
func (s *sender) finish(tx *txbuf, flags int, deadline int64) unix.Errno {
	tx.flush()
	for tx.failed != 0 {
		if e := s.carryOn(tx, flags, deadline); e != 0 {
			return e
		}
		tx.flush()
	}
	return 0
}

// carryOn decides what becomes of the frames that stopped at an error. 0: tx may be
// flushed and built in again.
func (s *sender) carryOn(tx *txbuf, flags int, deadline int64) unix.Errno {
	e := tx.failed
	switch {
	case e == unix.EAGAIN && s.moveAside(tx):
		tx.failed = 0
		return 0
	case e == unix.EAGAIN && s.awaitRoom(tx.to, flags, deadline):
		tx.failed = 0
		return 0
	case e == unix.EAGAIN:
		return s.giveUp(tx)
	case e == unix.ENOBUFS:
		n := tx.unit()
		tx.count[s.kind.lossCounter()].Add(uint64(max(tx.ends[n-1].datagrams, 1)))
		if s.kind.forgivesLoss() {
			s.uncount(tx, tx.ends[:n])
			tx.shift(n)
			tx.failed = 0
			return 0
		}
	}
	s.takeBack(tx)
	return e
}

// giveUp ends a call that does not wait any longer. It returns 0 if nothing is left
// of it to do.
func (s *sender) giveUp(tx *txbuf) unix.Errno {
	if tx.midway {
		n := tx.first()
		s.keep(tx.to, tx.batch[:n])
		tx.shift(n)
		if len(tx.batch) == 0 {
			tx.failed = 0
			return 0
		}
	}
	to := tx.to
	s.takeBack(tx)
	s.noRoom(to)
	return unix.EAGAIN
}

// takeBack forgets all that was built and has not left. Something was built.
func (s *sender) takeBack(tx *txbuf) {
	s.uncount(tx, tx.ends)
	tx.empty()
	tx.failed, tx.midway = 0, false
}

// count counts a datagram that was built, whose last frame is the last in tx unless it
// was queued.
func (s *sender) count(tx *txbuf, queued bool) {
	for _, c := range s.kind.counters() {
		tx.count[c].Add(1)
	}
	if n := len(tx.ends); n > 0 && !queued && tx.ends[n-1].datagrams == 0 {
		tx.ends[n-1].datagrams = 1
	}
}

// uncount takes back what count did for datagrams that have not left.
func (s *sender) uncount(tx *txbuf, ends []frameEnd) {
	n := uint64(0)
	for _, f := range ends {
		n += uint64(f.datagrams)
	}
	if n > 0 {
		for _, c := range s.kind.counters() {
			tx.count[c].Add(-n)
		}
	}
}

// flushOwned sends what the stack has built for s, nil for itself, outside of a call
// of its socket's. What there is no room for goes to the backlog of s.
func (tx *txbuf) flushOwned(s *sender) {
	tx.flush()
	for tx.failed != 0 {
		switch {
		case tx.failed == unix.EAGAIN && s.moveAside(tx):
		case tx.failed == unix.EAGAIN && s != nil:
			s.keep(tx.to, tx.batch)
			tx.empty()
		case tx.failed == unix.ENOBUFS && len(tx.batch) > 1:
			tx.shift(1)
		default:
			tx.empty()
		}
		tx.failed, tx.midway = 0, false
		tx.flush()
	}
}

// awaitRoom waits until there is room in q again. False: the call ends instead.
func (s *sender) awaitRoom(q *txQueue, flags int, deadline int64) bool {
	if flags&unix.MSG_DONTWAIT != 0 || s.state.Load()&stateSendEnds != 0 || s.over(deadline) {
		return false
	}
	s.sleepForRoom(q, deadline)
	return true
}

// cloneFrames copies frames to memory of the pool's.
func (t *transmitter) cloneFrames(frames []link.TxFrame) []link.TxFrame {
	out := make([]link.TxFrame, len(frames))
	for i, f := range frames {
		b := t.pool.Get(len(f.Data))
		copy(b, f.Data)
		f.Data = b
		out[i] = f
	}
	return out
}
