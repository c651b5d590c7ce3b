package fault

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

// A sender is the wire of the sent frames.
type sender struct {
	wire

	// one belongs to the goroutine that hands due frames to the wrapped link,
	// which it does without the lock. There is one such at a time (draining), or
	// frames would overtake each other.
	one [1]link.TxFrame
}

// Send implements [link.Link].
func (l *Link) Send(frame []byte) error {
	if !l.tx.busy.Load() {
		return l.inner.Send(frame)
	}
	f := link.TxFrame{Data: frame}
	return l.send(&f)
}

// SendBatch implements [link.Link].
func (l *Link) SendBatch(frames []link.TxFrame) (int, error) {
	if !l.tx.busy.Load() {
		return l.inner.SendBatch(frames)
	}
	for i := range frames {
		if err := l.send(&frames[i]); err != nil {
			return i, err
		}
	}
	return len(frames), nil
}

// send decides what becomes of a frame, and sends what is due.
func (l *Link) send(f *link.TxFrame) error {
	if err := l.check(f); err != nil {
		// The wrapped link's error, and its counters, if it agrees.
		if _, innerErr := l.inner.SendBatch([]link.TxFrame{*f}); innerErr != nil {
			return innerErr
		}
		return nil
	}
	h := held{Frame: link.Frame{Data: f.Data, Meta: link.Meta{WireLen: len(f.Data), Device: f.Device, ByLoopback: f.ByLoopback}},
		priority: f.Priority, mark: f.Mark}
	if f.PartialChecksum {
		h.Checksum, h.csumStart, h.csumOffset = link.ChecksumPartial, f.CsumStart, f.CsumOffset
	}
	if f.GSOSize != 0 {
		h.GSO, h.GSOSize = link.GSOUDP, f.GSOSize
	}
	s := &l.tx
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return unix.ENETDOWN
	}
	if err := l.refuseLocked(l.now()); err != nil {
		return err
	}
	first := s.seq
	s.acceptLocked(&h, l.now())
	if s.draining {
		return nil // the goroutine that drains takes it along
	}
	return l.drainLocked(first, maxDrain)
}

// check returns the error that a frame must meet whatever its fate would be.
func (l *Link) check(f *link.TxFrame) error {
	if l.closed.Load() {
		return unix.ENETDOWN
	}
	info := l.info.Load()
	if info == nil {
		info = l.refresh()
	}
	if !info.State.Enabled() {
		return unix.ENETDOWN
	}
	return memory.CheckTx(f, info.Caps, info.MTU)
}

// refresh asks the wrapped link what it is.
func (l *Link) refresh() *link.Info {
	changes := l.changes.Load()
	info := l.inner.Info()
	l.info.Store(&info)
	if l.changes.Load() != changes {
		l.info.Store(nil) // it changed meanwhile: ask again next time
	}
	return &info
}

// maxDrain is how many frames a sender hands over at most, its own and others'.
// The rest is the alarm's.
const maxDrain = 64

// drainLocked hands what is due to the wrapped link, at most limit frames, and sets
// the alarm for the rest. It lets go of the lock while it sends. It returns the first
// error of the frames accepted last, from the sequence number mine on; errors of
// others are counted.
func (l *Link) drainLocked(mine uint64, limit int) (err error) {
	s := &l.tx
	s.draining = true
	end := s.seq
	now := l.now()
	for range limit {
		h, ok := s.popLocked(now)
		if !ok {
			break
		}
		s.mu.Unlock()
		sendErr := l.forward(&h)
		now = l.now()
		s.mu.Lock()
		s.pool.Put(h.Data)
		switch {
		case sendErr == nil:
		case h.seq < mine || h.seq >= end:
			s.counters.SendErrors++
		case err == nil:
			err = sendErr
		}
	}
	s.draining = false
	if next := s.nextLocked(); next != never {
		s.setAlarmLocked(next, now)
	}
	s.updateBusyLocked()
	return err
}

// forward sends one frame on the wrapped link.
func (l *Link) forward(h *held) error {
	if h.Checksum != link.ChecksumPartial && h.priority|h.mark == 0 && h.Device == 0 && !h.ByLoopback {
		return l.inner.Send(h.Data)
	}
	tx := &l.tx.one[0]
	*tx = link.TxFrame{Data: h.Data, Priority: h.priority, Mark: h.mark, Device: h.Device, ByLoopback: h.ByLoopback}
	if h.Checksum == link.ChecksumPartial {
		tx.PartialChecksum, tx.CsumStart, tx.CsumOffset = true, h.csumStart, h.csumOffset
	}
	if h.GSO == link.GSOUDP {
		tx.GSOSize = h.GSOSize // one that could not be cut
	}
	_, err := l.inner.SendBatch(l.tx.one[:])
	tx.Data = nil
	return err
}

// txDue is the sender's alarm.
func (l *Link) txDue() {
	s := &l.tx
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarmAt = never
	if !s.closed && !s.draining {
		l.drainLocked(never, math.MaxInt)
	}
}
