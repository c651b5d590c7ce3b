package fault

import "time"

// before reports whether a leaves the wire before b.
func (a *held) before(b *held) bool {
	return a.due < b.due || a.due == b.due && a.seq < b.seq
}

// pushLocked puts a frame into the heap.
func (w *wire) pushLocked(h held) {
	w.heap = append(w.heap, h)
	i := len(w.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !w.heap[i].before(&w.heap[parent]) {
			break
		}
		w.heap[i], w.heap[parent] = w.heap[parent], w.heap[i]
		i = parent
	}
}

// popLocked takes the first frame that is due from the heap.
func (w *wire) popLocked(now int64) (h held, ok bool) {
	if len(w.heap) == 0 || w.heap[0].due > now {
		return h, false
	}
	h = w.heap[0]
	last := len(w.heap) - 1
	w.heap[0] = w.heap[last]
	w.heap[last] = held{}
	w.heap = w.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && w.heap[child+1].before(&w.heap[child]) {
			child++
		}
		if !w.heap[child].before(&w.heap[i]) {
			break
		}
		w.heap[i], w.heap[child] = w.heap[child], w.heap[i]
		i = child
	}
	return h, true
}

// nextLocked returns when the next held frame is due.
func (w *wire) nextLocked() int64 {
	if len(w.heap) == 0 {
		return never
	}
	return w.heap[0].due
}

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
	w.counters.Discarded += uint64(len(w.heap))
	w.heap = nil
	w.updateBusyLocked()
}
