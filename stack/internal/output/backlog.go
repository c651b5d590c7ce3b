package output

import (
	"sync"

	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// A backlog is what of a socket's messages counts as sent and has found no room in
// the device: the rest of a message that had begun to leave when its call ended, and
// what came out of waiting for a neighbour or a time when the device was full. The
// stack finishes it, in order and even when the socket is closed. Until then the
// socket sends nothing else: see CaughtUp.
type backlog struct {
	mu     sync.Mutex // held while frames are sent, so that they stay in order
	frames []lateFrame
}

// A lateFrame is a frame of a backlog, in memory of the pool's.
type lateFrame struct {
	link.TxFrame
	to *WayOut
}

// Keep takes frames over, which stay the caller's.
func (s *Sender) Keep(to *WayOut, frames []link.TxFrame) {
	b := &s.backlog
	b.mu.Lock()
	to = s.Own.hold(s, to)
	for _, f := range s.cloneFrames(frames) {
		s.chargeSend(len(f.Data))
		b.frames = append(b.frames, lateFrame{f, to})
	}
	b.mu.Unlock()
	s.Rooms.arm(s, to)
}

// CaughtUp sends the backlog as far as there is room, and reports whether there is
// none left.
func (s *Sender) CaughtUp() bool {
	if s.state.Load()&stateSendBehind == 0 {
		return true
	}
	b := &s.backlog
	b.mu.Lock()
	loss, freed := b.sendLocked(s.Transmitter.Host.Closing)
	behind := len(b.frames) > 0
	if !behind {
		s.state.And(^uint32(stateSendBehind))
	}
	b.mu.Unlock()
	if loss > 0 {
		tx := s.Acquire(s.id)
		tx.Count[s.host.LossCounter()].Add(loss)
		s.Release(tx, s.id)
	}
	for _, f := range freed {
		s.unchargeSend(len(f.Data))
		s.Pool.Put(f.Data)
	}
	return !behind
}

// sendLocked sends frames while there is room, and returns those that have left or
// never will, and how many of them were lost. b.mu is held.
func (b *backlog) sendLocked(closing func() bool) (loss uint64, done []lateFrame) {
	var batch [txBatch]link.TxFrame
	at := 0
	for at < len(b.frames) {
		to, n := b.frames[at].to, 0
		for ; n < txBatch && at+n < len(b.frames) && b.frames[at+n].to == to; n++ {
			batch[n] = b.frames[at+n].TxFrame
		}
		sent, err := to.out.SendBatch(batch[:n])
		at += sent
		if err == nil {
			continue
		}
		if toErrno(err) == unix.EAGAIN && !closing() {
			break
		}
		at++
		loss++
	}
	done = b.frames[:at:at]
	if b.frames = b.frames[at:]; len(b.frames) == 0 {
		b.frames = nil // lets go of what was before it
	}
	return loss, done
}

// BehindOn returns the way out that the backlog waits for, nil if there is none.
func (s *Sender) BehindOn() *WayOut {
	b := &s.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.frames) == 0 {
		return nil
	}
	return b.frames[0].to
}
