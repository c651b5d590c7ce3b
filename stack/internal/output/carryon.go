package output

import (
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"golang.org/x/sys/unix"
)

// What becomes of frames that the link would not take. What has left is never sent
// again, and nothing is built twice, so that a datagram keeps its identification:
//
//   - EAGAIN: a socket that shares its way out gets its own, see wayout.go. If that is
//     full too, a call that may wait does, and the rest goes on behind what left. A
//     call that may not, or whose wait ends, takes back the messages of which
//     nothing has left; of one that has begun the rest goes to the socket's backlog
//     (backlog.go), and the message counts as sent.
//   - ENOBUFS: the message is lost, and counted. As on Linux only a socket with
//     IP_RECVERR is told; for the others it counts as sent.
//   - other errors end the call; of what has not left nothing will.
//
// A call looks after this between two messages, so that there are never more frames
// in a Buffer than a batch and one message have.

// fail notes that n frames of batch have left, and that err stopped the next.
func (tx *Buffer) fail(n int, err error) unix.Errno {
	tx.shift(n)
	if tx.Failed = toErrno(err); tx.Failed != unix.EAGAIN { // which loses nothing
		tx.Count[counter.DropLinkError].Add(1)
	}
	return tx.Failed
}

// shift takes the first n frames out of batch, which count as sent.
func (tx *Buffer) shift(n int) {
	for _, f := range tx.Ends[:n] {
		if f.message >= 0 {
			tx.Sent = int(f.message) + 1
		}
		tx.Midway = f.message < 0
	}
	if n == len(tx.Batch) {
		tx.empty()
		return
	}
	tx.Batch = append(tx.Batch[:0], tx.Batch[n:]...)
	tx.Ends = append(tx.Ends[:0], tx.Ends[n:]...)
	tx.Tapped = max(tx.Tapped-n, 0)
}

// first returns how many frames of batch belong to its first message.
func (tx *Buffer) first() int {
	for i, f := range tx.Ends {
		if f.message >= 0 {
			return i + 1
		}
	}
	return len(tx.Ends)
}

// unit returns how many frames of batch belong to its first datagram.
func (tx *Buffer) unit() int {
	for i, f := range tx.Ends {
		if f.message >= 0 || f.Datagrams > 0 {
			return i + 1
		}
	}
	return len(tx.Ends)
}

// Finish is Sender.Finish for the call that tx is in.
func (tx *Buffer) Finish() unix.Errno {
	if tx.Owner == nil {
		tx.flushOwned(nil)
		return 0
	}
	return tx.Owner.Finish(tx, tx.Flags, tx.Deadline)
}

// Finish sends what was built, whatever it takes. What it returns ends the call.
func (s *Sender) Finish(tx *Buffer, flags int, deadline int64) unix.Errno {
	tx.Flush()
	for tx.Failed != 0 {
		if e := s.carryOn(tx, flags, deadline); e != 0 {
			return e
		}
		tx.Flush()
	}
	return 0
}

// carryOn decides what becomes of the frames that stopped at an error. 0: tx may be
// flushed and built in again.
func (s *Sender) carryOn(tx *Buffer, flags int, deadline int64) unix.Errno {
	e := tx.Failed
	switch {
	case e == unix.EAGAIN && s.moveAside(tx):
		tx.Failed = 0
		return 0
	case e == unix.EAGAIN && s.awaitRoom(tx.To, flags, deadline):
		tx.Failed = 0
		return 0
	case e == unix.EAGAIN:
		return s.giveUp(tx)
	case e == unix.ENOBUFS:
		n := tx.unit()
		tx.Count[s.host.LossCounter()].Add(uint64(max(tx.Ends[n-1].Datagrams, 1)))
		if s.host.LossIsSent() {
			s.uncount(tx, tx.Ends[:n])
			tx.shift(n)
			tx.Failed = 0
			return 0
		}
	}
	s.TakeBack(tx)
	return e
}

// giveUp ends a call that does not wait any longer. It returns 0 if nothing is left
// of it to do.
func (s *Sender) giveUp(tx *Buffer) unix.Errno {
	if tx.Midway {
		n := tx.first()
		s.Keep(tx.To, tx.Batch[:n])
		tx.shift(n)
		if len(tx.Batch) == 0 {
			tx.Failed = 0
			return 0
		}
	}
	to := tx.To
	s.TakeBack(tx)
	s.noRoom(to)
	return unix.EAGAIN
}

// TakeBack forgets all that was built and has not left. Something was built.
func (s *Sender) TakeBack(tx *Buffer) {
	s.uncount(tx, tx.Ends)
	tx.empty()
	tx.Failed, tx.Midway = 0, false
}

// Count counts a datagram that was built, whose last frame is the last in tx unless it
// was queued.
func (s *Sender) Count(tx *Buffer, queued bool) {
	for _, c := range s.host.OutCounters() {
		tx.Count[c].Add(1)
	}
	if n := len(tx.Ends); n > 0 && !queued && tx.Ends[n-1].Datagrams == 0 {
		tx.Ends[n-1].Datagrams = 1
	}
}

// uncount takes back what count did for datagrams that have not left.
func (s *Sender) uncount(tx *Buffer, ends []frameEnd) {
	n := uint64(0)
	for _, f := range ends {
		n += uint64(f.Datagrams)
	}
	if n > 0 {
		for _, c := range s.host.OutCounters() {
			tx.Count[c].Add(-n)
		}
	}
}

// flushOwned sends what the stack has built for s, nil for itself, outside of a call
// of its socket's. What there is no room for goes to the backlog of s.
func (tx *Buffer) flushOwned(s *Sender) {
	tx.Flush()
	for tx.Failed != 0 {
		switch {
		case tx.Failed == unix.EAGAIN && s.moveAside(tx):
		case tx.Failed == unix.EAGAIN && s != nil:
			s.Keep(tx.To, tx.Batch)
			tx.empty()
		case tx.Failed == unix.ENOBUFS:
			tx.shift(1)
		default:
			tx.empty()
		}
		tx.Failed, tx.Midway = 0, false
		tx.Flush()
	}
}

// awaitRoom waits until there is room in q again. False: the call ends instead.
func (s *Sender) awaitRoom(q *WayOut, flags int, deadline int64) bool {
	if flags&unix.MSG_DONTWAIT != 0 || s.state.Load()&stateSendEnds != 0 || s.over(deadline) {
		return false
	}
	s.sleepForRoom(q, deadline)
	return true
}

// cloneFrames copies frames to memory of the pool's.
func (t *Transmitter) cloneFrames(frames []link.TxFrame) []link.TxFrame {
	out := make([]link.TxFrame, len(frames))
	for i, f := range frames {
		b := t.Pool.Get(len(f.Data))
		copy(b, f.Data)
		f.Data = b
		out[i] = f
	}
	return out
}
