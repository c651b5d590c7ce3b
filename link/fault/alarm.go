package fault

import (
	"time"

	"github.com/outband/outband/internal/heap"
)

// popLocked takes the first frame that is due from the wire.
func (w *wire) popLocked(now int64) (h held, ok bool) {
	if w.frames.Next() > now {
		return h, false
	}
	return w.frames.Pop(), true
}

// nextLocked returns when the next held frame is due.
func (w *wire) nextLocked() int64 { return w.frames.Next() }

// setAlarmLocked makes ring be called at the given time at the latest. It may be
// called early: ring sets the alarm again.
func (w *wire) setAlarmLocked(at, now int64) {
	if w.closed || at >= w.alarmAt {
		return
	}
	d := time.Duration(max(0, at-now))
	switch {
	case w.alarmAt == never:
		w.alarms.Add(1)
		if w.alarm == nil {
			w.alarm = time.AfterFunc(d, func() {
				defer w.alarms.Done()
				w.ring()
			})
		} else {
			w.alarm.Reset(d)
		}
	case w.alarm.Stop():
		w.alarm.Reset(d)
	default:
		return // it is about to ring, and will look what is due
	}
	w.alarmAt = at
}

// shut stops the alarm and drops what is held. The caller waits for alarms.
func (w *wire) shut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.alarmAt != never && w.alarm.Stop() {
		w.alarms.Done()
		w.alarmAt = never
	}
	w.counters.Discarded += uint64(w.frames.Len())
	w.frames = heap.Queue[held]{}
	w.updateBusyLocked()
}
