// Package readiness is how an out-of-band socket tells outside of the stack that it is
// ready: by a descriptor of the kernel's, and by signals.
package readiness

import (
	"sync"
	"sync/atomic"

	"github.com/outband/outband/stack"
)

// A Socket is what is needed of the stack's sockets.
type Socket interface {
	Closed() bool
	Readable() bool
	TakeMissed() bool
	Watch(w *stack.Watch) error
	Unwatch(w *stack.Watch)
	SetTaken(f func())
	WaitElsewhere(on bool)
}

// An Outside is what one socket tells outside of the stack.
type Outside struct {
	k         Socket
	drains    drains
	fd        eventFD
	async     async
	elsewhere atomic.Int32 // see waitElsewhere
}

// Init says whose it is. It is called once, before anything else.
func (t *Outside) Init(k Socket) { t.k = k }

// waitElsewhere counts the ways in which the socket's owner waits for it outside
// of the stack.
func (t *Outside) waitElsewhere(n int32) { t.k.WaitElsewhere(t.elsewhere.Add(n) > 0) }

// drains are the functions that are called when something has been received from a
// socket, each with what it is for. The list is replaced, never changed.
type drains struct {
	mu   sync.Mutex // for changing it; a leaf but for stack.Endpoint's
	list atomic.Pointer[[]drain]
}

type drain struct {
	key any
	f   func()
}

// TellDrained has f called for key whenever something has been received from the
// socket, by the rules of stack.Endpoint.SetTaken; nil ends that.
func (t *Outside) TellDrained(key any, f func()) {
	d := &t.drains
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
		t.k.SetTaken(nil)
		return
	}
	t.k.SetTaken(t.drained)
}

func (t *Outside) drained() {
	for _, d := range *t.drains.list.Load() {
		d.f()
	}
}
