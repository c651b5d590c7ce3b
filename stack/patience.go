package stack

import "runtime"

// wait is the patience of one call that waits. Whether it has ended is decided in
// this file: after each turn that brought the call nothing, which turned and idle
// end, and before each sleep, by late.
type wait struct {
	deadline int64 // never: none
	budget   int64 // nanoseconds to spin; never: without end
	began    int64 // when the spinning began, 0: the clock was not read yet
	once     bool  // one look at what there is: MSG_DONTWAIT, or a deadline of the past
	warmed   bool  // see warm.go
	rounds   uint32
	backlog  uint32 // full batches that were others'
}

// maxBacklog is how many full batches of others' a call looks through that does
// not wait: as many frames as most rings hold, so that it finds what has come
// before it.
const maxBacklog = 128

// turned ends a leader's turn. more says that a link may have more frames: a
// backlog keeps nobody longer than his deadline.
func (s *Stack) turned(w *wait, more bool) verdict {
	if !more {
		return s.idle(w, true)
	}
	w.backlog++
	over := s.late(w)
	if w.backlog == 1 && over {
		w.once = true
	}
	if w.once {
		over = w.backlog >= maxBacklog
	}
	if over {
		return expired
	}
	return again
}

// late reports whether the deadline is there.
func (s *Stack) late(w *wait) bool { return w.deadline != never && s.clock.Now() >= w.deadline }

// idle ends one turn that found nothing, and looks at the clock now and then.
func (s *Stack) idle(w *wait, leading bool) verdict {
	w.rounds++
	if w.rounds%clockEvery != 0 {
		if w.budget == 0 {
			return spent
		}
		return again
	}
	var now int64
	if leading && s.lanes.first.rounds%clockEvery == 0 {
		now = s.lanes.first.now
	} else {
		now = s.clock.Now()
	}
	if now >= w.deadline {
		return expired
	}
	if w.began == 0 {
		w.began = now
	}
	if w.budget != never && now-w.began >= w.budget {
		return spent
	}
	return again
}

// mayLead says whether to try for the receive lock: who only wants to lead leaves it
// to those who need it for something else, but for each sixteenth turn. Followers
// too let others run now and then.
func (s *Stack) mayLead(w *wait) bool {
	if s.lanes.first.lock.wanted.Load() > 0 && w.rounds%16 != 0 {
		runtime.Gosched()
		return false
	}
	if w.rounds%makeWayEvery == makeWayEvery-1 {
		runtime.Gosched()
	}
	return true
}

// makeWay lets others run: those who wait for the receive lock, and now and then
// everybody. That may take long, so the clock is looked at next.
func (s *Stack) makeWay(w *wait) {
	if s.lanes.first.lock.makeWay() {
		w.rounds |= clockEvery - 1
	} else if w.rounds%makeWayEvery == 0 {
		runtime.Gosched()
	}
}
