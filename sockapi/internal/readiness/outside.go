// Package readiness is how an out-of-band socket tells outside of the stack that it is
// ready: by a descriptor of the kernel's, and by signals.
package readiness

import (
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
	WaitElsewhere(on bool)
}

// An Outside is what one socket tells outside of the stack.
type Outside struct {
	k         Socket
	fd        eventFD
	async     async
	elsewhere atomic.Int32 // see waitElsewhere
}

// Init says whose it is. It is called once, before anything else.
func (t *Outside) Init(k Socket) { t.k = k }

// waitElsewhere counts the ways in which the socket's owner waits for it outside
// of the stack.
func (t *Outside) waitElsewhere(n int32) { t.k.WaitElsewhere(t.elsewhere.Add(n) > 0) }
