package fault

import "github.com/outband/outband/link"

// A receiver is the wire of the received frames.
type receiver struct {
	wire

	// The rest belongs to the goroutine that is in Receive or Release.
	pulled [64]link.Frame
	out    [][]byte // buffers handed out
	passed bool     // what is out is the wrapped link's own
}

// maxPull is how many frames one Receive takes from the wrapped link at most, so that
// it ends under a flood.
const maxPull = 1 << 14

// Receive implements [link.Link].
func (l *Link) Receive(frames []link.Frame) int {
	r := &l.rx
	if l.closed.Load() {
		return 0
	}
	if !r.busy.Load() {
		r.passed = true
		return l.inner.Receive(frames)
	}
	r.passed = false
	now := l.now()
	more := l.pull(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(frames) {
		h, ok := r.popLocked(now)
		if !ok {
			break
		}
		frames[n] = h.Frame
		r.out = append(r.out, h.Data)
		n++
	}
	next := r.nextLocked()
	if more {
		next = now // look again: the wrapped link may not tell
	}
	if next != never && n < max(1, len(frames)) {
		r.setAlarmLocked(next, now)
	}
	r.updateBusyLocked()
	return n
}

// pull takes what waits on the wrapped link. It returns true if more may wait there.
func (l *Link) pull(now int64) bool {
	r := &l.rx
	for range maxPull / len(r.pulled) {
		room := r.room(now)
		if room == 0 {
			return true
		}
		n := l.inner.Receive(r.pulled[:room])
		r.mu.Lock()
		for i := range r.pulled[:n] {
			r.acceptLocked(&held{Frame: r.pulled[i]}, now)
		}
		r.mu.Unlock()
		l.inner.Release()
		if n < room {
			return false
		}
	}
	return true
}

// room returns how many frames to take at once. At the limit it is none while there
// are frames to hand out: then the rest is better off on the wrapped link. If all
// that is held is still to come, the wire is full, and drops what arrives.
func (r *receiver) room(now int64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.faults.Limit - r.frames.Len()
	if room <= 0 && r.nextLocked() > now {
		room = len(r.pulled)
	}
	return min(max(room, 0), len(r.pulled))
}

// Release implements [link.Link].
func (l *Link) Release() {
	r := &l.rx
	if r.passed {
		r.passed = false
		l.inner.Release()
		return
	}
	if len(r.out) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range r.out {
		r.pool.Put(b)
		r.out[i] = nil
	}
	r.out = r.out[:0]
}

// rxDue is the receiver's alarm: it tells the sleeper, if it did not ring early.
func (l *Link) rxDue() {
	r := &l.rx
	now := l.now()
	r.mu.Lock()
	r.alarmAt = never
	next := r.nextLocked()
	early := next != never && next > now
	if early {
		r.setAlarmLocked(next, now)
	}
	closed := r.closed
	r.mu.Unlock()
	if !early && !closed {
		l.innerReadable()
	}
}
