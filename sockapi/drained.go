package sockapi

import (
	"sync"
	"sync/atomic"
)

// drains are the functions that are called when something has been received from a
// socket, each with what it is for. The list is replaced, never changed.
type drains struct {
	mu   sync.Mutex // for changing it; a leaf but for stack.Socket's
	list atomic.Pointer[[]drain]
}

type drain struct {
	key any
	f   func()
}

// TellDrained has f called for key whenever something has been received from the
// socket, by the rules of stack.Socket.SetTaken; nil ends that.
func (s *stackSocket) TellDrained(key any, f func()) {
	d := &s.drains
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []drain
	if old := d.list.Load(); old != nil {
		for _, o := range *old {
			if o.key != key {
				list = append(list, o)
			}
		}
	}
	if f != nil {
		list = append(list, drain{key, f})
	}
	d.list.Store(&list)
	if len(list) == 0 {
		s.K.SetTaken(nil)
		return
	}
	s.K.SetTaken(s.drained)
}

func (s *stackSocket) drained() {
	for _, d := range *s.drains.list.Load() {
		d.f()
	}
}
