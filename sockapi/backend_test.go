package sockapi

import (
	"github.com/outband/outband/sockapi/internal/kernel"
	"github.com/outband/outband/stack"
)

// oobOf returns the stack's socket behind an out-of-band one.
func oobOf(s *Socket) *stack.Endpoint { return stackOf(s).K }

// kernelOf returns the kernel's socket behind an in-band one.
func kernelOf(s *Socket) *kernel.Socket { return s.backend.(*kernelSocket).k }

// stackOf returns what is out-of-band behind a socket.
func stackOf(s *Socket) *stackSocket { return s.backend.(*stackSocket) }

// pollsOf returns how many calls of Poll an Epoll is in the sets of.
func pollsOf(e *Epoll) int { _, _, polls, _ := e.set.State(); return polls }

// sleepersOf returns how many goroutines sleep in an Epoll's Wait.
func sleepersOf(e *Epoll) int { _, _, _, sleepers := e.set.State(); return sleepers }
